"""Keras 3 on TensorFlow: build a twin, move parameters in and out, run it, train it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from harness.core.schema import Arrays, ModelSpec, TensorSpec

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import tensorflow as tf

tf.get_logger().setLevel("ERROR")

Report = Callable[[int, float], None]
_CELLS = {"lstm_cell", "gru_cell", "simple_rnn_cell"}


def build(
    twin: ModuleType, spec: ModelSpec, parameters: Arrays | None, dtype: str = "float32"
) -> keras.Model:
    """Return the twin's model, with ``parameters`` unless they are None."""
    with precision(dtype):
        model: keras.Model = twin.build(spec.name)
    if parameters is not None:
        load(model, parameters)
    return model


@contextlib.contextmanager
def precision(dtype: str) -> Iterator[None]:
    """Make ``dtype`` that of new layers and variables which name none."""
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(before)


def load(model: keras.Model, parameters: Arrays) -> None:
    """Set every parameter of the model; KeyError names one that ``parameters`` lacks."""
    for names, variable in _named(model):
        values = [parameters[name] for name in names]
        variable.assign(values[0] if len(names) == 1 else np.stack(values))


def parameters(model: keras.Model) -> Arrays:
    """Return every parameter of the model, in the shared layout."""
    result: Arrays = {}
    for names, variable in _named(model):
        value = np.asarray(variable)
        result |= zip(names, [value] if len(names) == 1 else value, strict=True)
    return result


def run(model: keras.Model, spec: ModelSpec, inputs: Arrays) -> Arrays:
    """Return the outputs by name; float inputs are cast to the model's dtype."""
    tensors = {
        t.name: tf.convert_to_tensor(inputs[t.name].astype(_dtype(model, t))) for t in spec.inputs
    }
    return {name: np.asarray(value) for name, value in forward(model, spec)(tensors).items()}


def fit(twin: ModuleType, spec: ModelSpec, task: Any, seed: int, report: Report) -> keras.Model:
    """Train and return a new twin: ``task``, Adam, a cosine schedule, clipped gradients."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    model = build(twin, spec, None)
    optimizer = keras.optimizers.Adam(
        keras.optimizers.schedules.CosineDecay(task.learning_rate, task.steps), global_clipnorm=1.0
    )
    optimizer.build(model.trainable_variables)

    @tf.function(reduce_retracing=True)  # type: ignore[untyped-decorator]
    def step(inputs: Any, target: Any, weight: Any) -> Any:
        with tf.GradientTape() as tape:
            output = model(inputs, training=True)[task.output]
            losses = _loss(task.loss, output, target, weight)
            loss = tf.reduce_sum(losses * weight) / tf.reduce_sum(weight * tf.ones_like(losses))
        variables = model.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))
        return loss

    for number in range(task.steps):
        batch = task.batch(rng)
        weight = np.ones((), np.float32) if batch.weight is None else batch.weight
        loss = step(
            {name: tf.convert_to_tensor(value) for name, value in batch.inputs.items()},
            tf.convert_to_tensor(batch.target),
            tf.convert_to_tensor(weight.astype(np.float32)),
        )
        report(number + 1, float(loss))
    return model


def _loss(kind: str, output: Any, target: Any, weight: Any) -> Any:
    if kind == "binary":
        truth = tf.cast(target, output.dtype)
        clipped = tf.clip_by_value(output, 1e-7, 1 - 1e-7)
        return -truth * tf.math.log(clipped) - (1 - truth) * tf.math.log(1 - clipped)
    if kind == "ctc":
        labels = tf.math.count_nonzero(target, axis=1, dtype="int32")
        frames = tf.cast(weight, "int32")
        return keras.ops.ctc_loss(tf.cast(target, "int32"), output, labels, frames, mask_index=0)
    if kind == "categorical_logits":
        scores = tf.nn.log_softmax(output)
    else:
        scores = tf.math.log(tf.maximum(output, 1e-9))
    return -tf.gather(scores, tf.cast(target, tf.int32), batch_dims=target.shape.rank, axis=-1)


def forward(model: keras.Model, spec: ModelSpec) -> Any:
    """Return the model as a TensorFlow function for any batch and length, traced once per model."""
    if not hasattr(model, "_harness_forward"):
        signature = {
            t.name: tf.TensorSpec(
                [a if isinstance(a, int) else None for a in t.axes], _dtype(model, t)
            )
            for t in spec.inputs
        }
        model._harness_forward = tf.function(
            lambda inputs: model(inputs, training=False), input_signature=[signature]
        )
        with every_step_at_once():
            model._harness_forward.get_concrete_function()
    return model._harness_forward


def _dtype(model: keras.Model, tensor: TensorSpec) -> str:
    """Return the dtype in which the model takes an input: its own for float inputs."""
    return str(model.trainable_variables[0].dtype) if tensor.dtype == "float32" else tensor.dtype


@contextlib.contextmanager
def every_step_at_once() -> Iterator[None]:
    """Trace ``TimeDistributed`` as its layer on all steps of all rows at once.

    Keras 3.15 takes the batch for the time where the length is unknown when traced, and traces
    each step separately where it is known.
    """
    keras_call = keras.layers.TimeDistributed.call

    def call(self: Any, inputs: Any, training: Any = None, mask: Any = None) -> Any:
        sizes = keras.ops.shape(inputs)
        outputs = self.layer(keras.ops.reshape(inputs, (-1, *sizes[2:])), training=training)
        return keras.ops.reshape(outputs, (*sizes[:2], *keras.ops.shape(outputs)[1:]))

    keras.layers.TimeDistributed.call = call
    try:
        yield
    finally:
        keras.layers.TimeDistributed.call = keras_call


def _named(model: keras.Model) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the shared names and the variable of every trained variable.

    A variable with several names holds one parameter in each of its rows, as does the bias of a
    GRU whose reset gate comes after.
    """
    two_ways = {
        layer.name
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Bidirectional)
    }
    for variable in model.trainable_variables:
        *owners, parameter = variable.path.split("/")
        if owners[-1] in _CELLS:
            owners.pop()
        owner = owners[-1]
        if len(owners) > 1 and owners[-2] in two_ways:
            owner = f"{owners[-2]}_{owner.split('_')[0]}"
        if parameter == "bias" and len(variable.shape) == 2:
            yield (f"{owner}.bias", f"{owner}.recurrent_bias"), variable
        else:
            yield (f"{owner}.{'table' if parameter == 'embeddings' else parameter}",), variable
