"""A Keras model of a user's own in float64, made anew from its configuration."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import tensorflow as tf


def from_config(model: keras.Model) -> keras.Model:
    """A model of the same configuration in float64, its weights yet to be set."""
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    own = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}
    own = {name: kind for name, kind in own.items() if not kind.__module__.startswith("keras.")}
    with keras.saving.custom_object_scope({**_named_in(config), **own}):
        return keras.saving.deserialize_keras_object(_wider(config), safe_mode=False)


def narrows(graph: Any) -> bool:
    """Whether a graph, or a function it calls, casts float64 to float32."""
    nodes = [*graph.node, *(node for inner in graph.library.function for node in inner.node_def)]
    narrow = tf.float64.as_datatype_enum, tf.float32.as_datatype_enum
    return any(
        node.op == "Cast" and (node.attr["SrcT"].type, node.attr["DstT"].type) == narrow
        for node in nodes
    )


@contextmanager
def float64() -> Iterator[None]:
    """Layers and variables made within are float64, where nothing else is said of them."""
    before = keras.config.floatx()
    keras.config.set_floatx("float64")
    keras.config.set_dtype_policy("float64")
    try:
        yield
    finally:
        keras.config.set_floatx(before)
        keras.config.set_dtype_policy(before)


def _named_in(config: Any) -> dict[str, Any]:
    """The classes and functions of the user's own modules that a serialised object names."""
    if isinstance(config, list | tuple):
        return {name: value for item in config for name, value in _named_in(item).items()}
    if not isinstance(config, dict):
        return {}
    found = _named_in(list(config.values()))
    module, name = config.get("module"), config.get("class_name")
    name = config.get("config") if name == "function" else name
    if isinstance(module, str) and isinstance(name, str) and not module.startswith("keras"):
        value = getattr(sys.modules.get(module), name, None)
        found |= {} if value is None else {name: value}
    return found


def _wider(config: Any) -> Any:
    """A serialised object whose float32 policies and inputs are float64."""
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
