"""A user's Keras model: read it, say what it takes, run it in float32 and in float64."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.errors import UsageError, one_line
from harness.core.schema import Array, Arrays
from harness.subjects.described import Described

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import tensorflow as tf

from harness.frameworks.keras_float64 import float64, from_config, narrows
from harness.frameworks.keras_twin import _every_step_at_once

FRAMEWORK = "keras"


def recognises(made: object) -> bool:
    """Whether what a factory made is a Keras model."""
    return isinstance(made, keras.Model)


def read(path: Path) -> keras.Model:
    """The model in a ``.keras`` file; UsageError where it holds none, or code."""
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        text = str(error)
        if "Lambda" in text or "unsafe deserialization" in text:
            raise UsageError(
                f"{path} has a Lambda layer, which is code that a file must not run; build the"
                " model in FILE.py:factory, with --weights for its weights"
            ) from None
        if "Could not locate class" in text or "registered" in text.lower():
            told = text.split("Make sure")[0].strip().splitlines()[0]
            raise UsageError(
                f"{path} needs a class that is not here ({told}); build the model in"
                " FILE.py:factory"
            ) from None
        raise UsageError(f"{path} is no readable .keras file: {one_line(error)}") from None


class KerasModel:
    """A Keras model and its float64 copy; ``again`` makes another one where config cannot."""

    framework = FRAMEWORK

    def __init__(
        self,
        made: keras.Model,
        weights: Path | None = None,
        again: Callable[[], keras.Model] | None = None,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise UsageError(f"Keras runs on {keras.backend.backend()}; expected tensorflow")
        for layer in made._flatten_layers():
            if (dtype := getattr(layer, "compute_dtype", "float32")) not in ("float32", None):
                told = f"computes in {dtype}; export float32"
                raise UsageError(f"{made.name}: layer {layer.name!r} {told}")
        self.model = made
        self._again = again
        self._wide: keras.Model | None = None
        self._weights_file = weights
        self._functions: dict[bool, Any] = {}
        self._names: tuple[str, ...] = ()
        if made.built and weights is not None:
            _load(made, weights)
        self._start = list(made.get_weights()) if made.built else []

    @property
    def class_name(self) -> str:
        return type(self.model).__name__

    def inputs(self) -> list[Described]:
        """Every input that a functional or Sequential model has, with what its layers say of it."""
        struct = getattr(self.model, "inputs", None)
        if not struct:
            names = [p.name for p in _call_parameters(self.model) if p.default is p.empty]
            return [Described(name) for name in names]
        nested = getattr(self.model, "input", None)
        named = nested.items() if isinstance(nested, Mapping) else ()
        keys = {id(tensor): key for key, tensor in named}
        found = {}
        for tensor in struct:
            name = str(keys.get(id(tensor), tensor._keras_history.operation.name))
            found[tensor.name] = Described(name, str(tensor.dtype), tuple(tensor.shape))
        for layer in self.model.layers:
            source = _fed_by(layer)
            if source in found:
                found[source] = _said_by(layer, found[source])
        return list(found.values())

    def arrange(self, names: Sequence[str]) -> list[str]:
        """``names`` in the order in which the model takes them; UsageError where it has no such."""
        there = [one.name for one in self.inputs()]
        if getattr(self.model, "inputs", None):
            if set(names) != set(there):
                told = f"it takes: {', '.join(there)}"
                raise UsageError(f"{self.model.name} has no inputs {', '.join(names)}; {told}")
            self._names = tuple(there)
        else:
            self._names = tuple(names)
        return list(self._names)

    def run(self, inputs: Arrays, wide: bool) -> list[tuple[str, Array]]:
        """The outputs, with names where the model has some, else ``""``; float64 where ``wide``."""
        with tf.device("CPU"), _own_words():
            result = self._function(inputs, wide)(*self._given(inputs, wide))
        named = self._named(result)
        if wide and any(v.dtype == tf.float32 for _, v in named):
            raise UsageError(f"{self.model.name} gives float32 for a float64 input")
        return [(name, np.asarray(value)) for name, value in named]

    def parameters(self) -> Arrays:
        return {
            variable.path: np.asarray(value)
            for variable, value in zip(self.model.weights, self._start, strict=True)
        }

    def move(self, change: Callable[[Arrays], Arrays]) -> None:
        """Set the floating-point parameters to ``change`` of the first ones, in both precisions."""
        first = {str(n): v for n, v in enumerate(self._start)}
        floats = {n: v for n, v in first.items() if v.dtype == np.float32}
        moved = [{**first, **change(floats)}[str(n)] for n in range(len(self._start))]
        self.model.set_weights(moved)
        if self._wide is not None:
            self._wide.set_weights(moved)

    def _given(self, inputs: Arrays, wide: bool) -> list[Any]:
        arrays = [inputs[name] for name in self._names]
        return [
            tf.convert_to_tensor(a.astype(np.float64) if wide and a.dtype == np.float32 else a)
            for a in arrays
        ]

    def _function(self, inputs: Arrays, wide: bool) -> Any:
        """The model as one TensorFlow function of its inputs, for any batch and length."""
        if wide not in self._functions:
            if not self.model.built:
                self._invoke(self.model, self._given(inputs, False))
                if self._weights_file is not None:
                    _load(self.model, self._weights_file)
                self._start = list(self.model.get_weights())
            model = self._widened(inputs) if wide else self.model
            given = self._given(inputs, wide)
            ranks = [[None] * len(g.shape) for g in given]
            for place, tensor in enumerate(getattr(self.model, "inputs", None) or []):
                ranks[place] = list(tensor.shape)
            signature = [tf.TensorSpec(r, g.dtype) for r, g in zip(ranks, given, strict=True)]
            function = tf.function(
                lambda *tensors: self._invoke(model, list(tensors)),
                input_signature=signature,
                autograph=False,
            )
            with _every_step_at_once():
                traced = function.get_concrete_function()
            if wide and narrows(traced.graph.as_graph_def()):
                told = "its own code casts to float32, so that it cannot be run in float64"
                raise UsageError(f"{self.model.name}: {told}; cast to x.dtype instead")
            self._functions[wide] = function
        return self._functions[wide]

    def _invoke(self, model: keras.Model, tensors: list[Any]) -> Any:
        if getattr(self.model, "inputs", None):
            nested = getattr(self.model, "input", self.model.inputs[0])
            return model(keras.tree.pack_sequence_as(nested, tensors), training=False)
        names = [p.name for p in _call_parameters(model)]
        given = dict(zip(self._names, tensors, strict=True))
        trains = "training" in inspect.signature(model.call).parameters
        takes = {"training": False} if trains else {}
        if set(given) <= set(names):
            return model(**given, **takes)
        return model(tensors[0] if len(tensors) == 1 else tensors, **takes)

    def _named(self, result: Any) -> list[tuple[str, Any]]:
        if isinstance(result, Mapping):
            return [(str(name), value) for name, value in result.items()]
        leaves = keras.tree.flatten(result)
        names = getattr(self.model, "output_names", None) or [""] * len(leaves)
        if len(set(names)) < len(leaves):
            names = [""] * len(leaves)
        return list(zip(names, leaves, strict=True))

    def _widened(self, inputs: Arrays) -> keras.Model:
        """The model in float64, from its configuration, else by its factory."""
        if self._wide is None:
            told = ""
            for make in (lambda: from_config(self.model), self._again or type(self.model)):
                try:
                    with float64():
                        wide = make()
                        if not wide.built:
                            self._invoke(wide, self._given(inputs, True))
                    wide.set_weights(self._start)
                    self._wide = wide
                    break
                except Exception as error:
                    told = one_line(error)
            else:
                raise UsageError(
                    f"{self.model.name} cannot be made in float64 from its get_config ({told});"
                    " give FILE.py:factory, or make get_config complete"
                )
        return self._wide


def _fed_by(layer: Any) -> str | None:
    """The name of the one tensor that a layer reads; None where there are several."""
    try:
        return str(layer.input.name)
    except (AttributeError, ValueError):
        return None


def _said_by(layer: Any, known: Described) -> Described:
    if isinstance(layer, keras.layers.Embedding):
        padding = 0.0 if layer.mask_zero else None
        whole = known.dtype == "float32"
        return replace(
            known, low=0.0, high=float(layer.input_dim - 1), padding=padding, whole=whole
        )
    if isinstance(layer, keras.layers.Masking):
        return replace(known, padding=float(layer.mask_value))
    return known


def _call_parameters(model: keras.Model) -> list[inspect.Parameter]:
    odd = ("training", "mask", "self")
    kept = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    found = inspect.signature(model.call).parameters.values()
    return [p for p in found if p.name not in odd and p.kind in kept]


@contextmanager
def _own_words() -> Iterator[None]:
    """Errors as they were raised, where Keras would put a sentence of its own before them."""
    filtered = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        if filtered:
            keras.config.enable_traceback_filtering()


def _load(model: keras.Model, path: Path) -> None:
    try:
        model.load_weights(path)
    except Exception as error:
        raise UsageError(f"{path} cannot be loaded into {model.name}: {one_line(error)}") from None
