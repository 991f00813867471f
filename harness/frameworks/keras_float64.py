"""A user's Keras model in float64, built again from its configuration."""

from __future__ import annotations

import sys
from typing import Any

import keras
import tensorflow as tf


def from_config(model: keras.Model) -> keras.Model:
    """Return a model of the same configuration in float64, its weights yet to be set."""
    config = keras.saving.serialize_keras_object(model)
    config.pop("compile_config", None)
    kinds = {type(layer).__name__: type(layer) for layer in model._flatten_layers()}
    own = {n: kind for n, kind in kinds.items() if not kind.__module__.startswith("keras.")}
    with keras.saving.custom_object_scope({**_named_in(config), **own}):
        return keras.saving.deserialize_keras_object(_wider(config), safe_mode=False)


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
