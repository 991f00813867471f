"""A specification for any small Keras model, and inputs with masks of every kind for it."""

import keras
import numpy as np

from harness.core.schema import ModelSpec, Raggedness, TensorSpec

MASKS = (Raggedness.NONE, Raggedness.RIGHT, Raggedness.LEFT, Raggedness.GAPPED, Raggedness.EMPTY)


def tensor(name, shape, dtype, length="sequence"):
    axes = tuple(
        ("batch", length)[i] if size is None or i == 0 else size for i, size in enumerate(shape)
    )
    return TensorSpec(name, dtype, axes, 0, 11)


def model_spec(name, inputs, outputs):
    return ModelSpec(name, "", tuple(inputs), tuple(outputs), name)


def spec_of(model, name="model"):
    """Inputs and outputs of a functional or Sequential model, in the order they are written."""
    try:
        struct, out = model.input, model.output
    except AttributeError:  # a Sequential model has only the flat ones
        struct, out = model.inputs, model.outputs
    flat = [(t.name, t) for t in keras.tree.flatten(struct)]
    inputs = list(struct.items()) if isinstance(struct, dict) else flat
    numbered = [(f"out_{i}", t) for i, t in enumerate(keras.tree.flatten(out))]
    outputs = list(out.items()) if isinstance(out, dict) else numbered
    several = len([t for _, t in inputs if len(t.shape) > 2]) > 1
    return model_spec(
        name,
        [tensor(n, t.shape, t.dtype, f"{n}_length" if several else "sequence") for n, t in inputs],
        [tensor(n, t.shape, t.dtype) for n, t in outputs],
    )


def valid_steps(rng, batch, steps, mask):
    """[batch, steps] bool: every row with its own padding of one kind."""
    valid = np.ones((batch, steps), bool)
    for row in range(batch):
        some = int(rng.integers(1, steps + 1))
        if mask is Raggedness.RIGHT:
            valid[row, some:] = False
        elif mask is Raggedness.LEFT:
            valid[row, :-some] = False
        elif mask is not Raggedness.NONE:
            valid[row] = rng.random(steps) < 0.5
    if mask is Raggedness.EMPTY:
        valid[0] = False
    return valid


def draw(spec, rng, batch, steps, mask):
    """Inputs by name; a masked step is all zeros."""
    inputs = {}
    for index, t in enumerate(spec.inputs):
        lengths = {axis: steps + 2 * index for axis in t.axes if isinstance(axis, str)}
        shape = t.shape(batch, {**lengths, "batch": batch})
        if t.dtype == "int32":
            value = rng.integers(1, 11, shape).astype(np.int32)
        else:
            value = rng.normal(0, 1, shape).astype(np.float32)
        if len(shape) > 2 or t.dtype == "int32":
            valid = valid_steps(rng, batch, shape[1], mask)
            value *= valid.reshape(*valid.shape, *[1] * (value.ndim - 2)).astype(value.dtype)
        inputs[t.name] = value
    return inputs


def randomise(model, rng, scale):
    """Random weights, biases included."""
    for variable in model.weights:
        if variable.dtype.startswith("float") and "variance" not in variable.path:
            variable.assign(rng.normal(0, scale, variable.shape))
