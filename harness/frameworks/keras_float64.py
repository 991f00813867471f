"""A user's Keras model in float64, built again from its configuration."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import keras
import numpy as np
import tensorflow as tf


def from_config(model: keras.Model) -> keras.Model:
    """Return a model of the same configuration in float64, its weights yet to be set."""
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    kinds = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}
    own = {n: kind for n, kind in kinds.items() if not kind.__module__.startswith("keras.")}
    with keras.saving.custom_object_scope({**_named_in(config), **own}):
        return keras.saving.deserialize_keras_object(_wider(config), safe_mode=False)


def carry(model: keras.Model, wide: keras.Model) -> None:
    """Give a float64 copy what the layers of a model hold beside their weights and configuration.

    That is assets, such as a vocabulary, and attributes that are numbers: an adapted mean.
    """
    for layer, copy in zip(model._flatten_layers(), wide._flatten_layers(), strict=False):
        if hasattr(layer, "save_assets") and hasattr(copy, "load_assets"):
            with tempfile.TemporaryDirectory() as folder:
                layer.save_assets(folder)
                copy.load_assets(folder)
        for name, value in vars(layer).items():
            if (
                not name.startswith("_self_")
                and _numbers(value)
                and not _same(value, vars(copy).get(name))
            ):
                setattr(copy, name, _widened(value))
        if isinstance(copy, keras.layers.MelSpectrogram):
            _widen_spectrogram(copy)


def _widen_spectrogram(layer: keras.layers.MelSpectrogram) -> None:
    """Give a float64 layer a float64 matrix and reference, which are float32 whatever its dtype."""
    layer.linear_to_mel_weight_matrix = partial(layer.linear_to_mel_weight_matrix, dtype="float64")
    layer.ref_power = np.float64(layer.ref_power)


def departing(model: keras.Model, wide: keras.Model, tensors: Any, wider: Any) -> str:
    """Return the first layer of a functional model whose float64 outputs are others; or nothing."""
    layers = [
        (one, other)
        for one, other in zip(model.layers, wide.layers, strict=False)
        if len(one._inbound_nodes) == 1
    ]
    pairs = [
        (one.name, a, b)
        for one, other in layers
        for a, b in zip(
            keras.tree.flatten(one.output), keras.tree.flatten(other.output), strict=True
        )
    ]
    narrow = keras.Model(model.inputs, [a for _, a, _ in pairs])(tensors, training=False)
    exact = keras.Model(wide.inputs, [b for _, _, b in pairs])(wider, training=False)
    for (name, _, _), a, b in zip(pairs, narrow, exact, strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        if not np.allclose(a, b, rtol=0, atol=1e-3 * float(np.abs(b).max(initial=0.0))):
            return str(name)
    return ""


def _numbers(value: Any) -> bool:
    """Return whether an attribute is a number, an array, a tensor, or a list of such."""
    if isinstance(value, list | tuple):
        return bool(value) and all(map(_numbers, value))
    if isinstance(value, np.ndarray | tf.Tensor):
        return bool(np.issubdtype(np.asarray(value).dtype, np.number))
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def _same(value: Any, other: Any) -> bool:
    try:
        return np.array_equal(np.asarray(value, np.float64), np.asarray(other, np.float64))
    except (TypeError, ValueError):
        return value is other


def _widened(value: Any) -> Any:
    if isinstance(value, list | tuple):
        items = [_widened(item) for item in value]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, tf.Tensor) and value.dtype == tf.float32:
        return tf.cast(value, tf.float64)
    if isinstance(value, np.ndarray | np.generic) and value.dtype == np.float32:
        return value.astype(np.float64)
    return value


@contextmanager
def wide_casts() -> Iterator[None]:
    """Let TensorFlow's ``cast``, and Keras' with it, leave float64 where float32 is asked for."""
    cast = tf.cast

    def wide(x: Any, dtype: Any, name: str | None = None) -> Any:
        exact = getattr(x, "dtype", None) == tf.float64 and tf.as_dtype(dtype) == tf.float32
        return cast(x, tf.float64 if exact else dtype, name)

    with patch.object(tf, "cast", wide):
        yield


def narrows(graph: Any) -> bool:
    """Return whether a graph, or a function that it calls, casts float64 to float32."""
    nodes = [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]
    narrow = tf.float64.as_datatype_enum, tf.float32.as_datatype_enum
    return any(
        node.op == "Cast" and (node.attr["SrcT"].type, node.attr["DstT"].type) == narrow
        for node in nodes
    )


def _named_in(config: Any) -> dict[str, Any]:
    """Return the classes and functions of the user's modules that a serialised object names."""
    if isinstance(config, list | tuple):
        return {name: value for item in config for name, value in _named_in(item).items()}
    if not isinstance(config, dict):
        return {}
    objects = _named_in(list(config.values()))
    module, name = config.get("module"), config.get("class_name")
    name = config.get("config") if name == "function" else name
    if isinstance(module, str) and isinstance(name, str) and not module.startswith("keras"):
        value = getattr(sys.modules.get(module), name, None)
        objects |= {} if value is None else {name: value}
    return objects


def _wider(config: Any) -> Any:
    """Return a serialised object whose float32 policies and inputs are float64."""
    if isinstance(config, list | tuple):
        return type(config)(_wider(item) for item in config)
    if not isinstance(config, dict):
        return config
    if config.get("class_name") == "DTypePolicy":
        policy = {**config["config"], "name": "float64"}
        return {**config, "config": policy} if config["config"]["name"] == "float32" else config
    return {
        key: "float64" if key == "dtype" and value == "float32" else _wider(value)
        for key, value in config.items()
    }
