"""Keras 3 on TensorFlow: build a twin, move parameters in and out, run it, train it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from harness.schema import Arrays, ModelSpec

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import tensorflow as tf

Report = Callable[[int, float], None]
_CELLS = {"lstm_cell", "gru_cell", "simple_rnn_cell"}


def build(
    twin: ModuleType, spec: ModelSpec, parameters: Arrays | None, dtype: str = "float32"
) -> keras.Model:
    """The twin's model, with ``parameters`` loaded if given.

    KeyError names a parameter that the model has and ``parameters`` lacks.
    """
    before = keras.config.floatx()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        model: keras.Model = twin.build(spec.name)
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(before)
    if parameters is not None:
        for name, variable in _named(model):
            variable.assign(parameters[name])
    return model


def parameters(model: keras.Model) -> Arrays:
    """Every parameter of the model, in the shared layout."""
    return {name: np.asarray(variable) for name, variable in _named(model)}


def run(model: keras.Model, spec: ModelSpec, inputs: Arrays) -> Arrays:
    """Outputs by name; float inputs are cast to the model's dtype."""
    dtype = model.variables[0].dtype
    tensors = {
        t.name: tf.convert_to_tensor(
            inputs[t.name].astype(dtype) if t.dtype == "float32" else inputs[t.name]
        )
        for t in spec.inputs
    }
    return {
        name: np.asarray(value) for name, value in _forward(model, spec, dtype)(tensors).items()
    }


def fit(twin: ModuleType, spec: ModelSpec, task: Any, seed: int, report: Report) -> keras.Model:
    """Train a fresh twin on ``task`` with Adam, a cosine schedule and clipped gradients."""
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
            losses = _loss(task.loss, output, target)
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


def _loss(kind: str, output: Any, target: Any) -> Any:
    if kind == "binary":
        truth = tf.cast(target, output.dtype)
        clipped = tf.clip_by_value(output, 1e-7, 1 - 1e-7)
        return -truth * tf.math.log(clipped) - (1 - truth) * tf.math.log(1 - clipped)
    if kind == "categorical_logits":
        scores = tf.nn.log_softmax(output)
    else:
        scores = tf.math.log(tf.maximum(output, 1e-9))
    return -tf.gather(scores, tf.cast(target, tf.int32), batch_dims=target.shape.rank, axis=-1)


def _forward(model: keras.Model, spec: ModelSpec, dtype: str) -> Any:
    """The model as a TensorFlow function traced once for all sizes, kept on the model."""
    if not hasattr(model, "_harness_forward"):
        signature = {
            t.name: tf.TensorSpec(
                [a if isinstance(a, int) else None for a in t.axes],
                dtype if t.dtype == "float32" else t.dtype,
            )
            for t in spec.inputs
        }
        model._harness_forward = tf.function(
            lambda inputs: model(inputs, training=False), input_signature=[signature]
        )
    return model._harness_forward


def _named(model: keras.Model) -> Iterator[tuple[str, Any]]:
    """(shared name, variable) of every trained variable."""
    for variable in model.trainable_variables:
        parts = variable.path.split("/")
        owner = parts[-3] if parts[-2] in _CELLS else parts[-2]
        yield f"{owner}.{'table' if parts[-1] == 'embeddings' else parts[-1]}", variable
