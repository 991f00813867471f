"""A user's Keras model: read it, describe its inputs, run it in float32 and in float64."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from harness.core import places
from harness.core.errors import UsageError, clipped, one_line
from harness.core.names import visible
from harness.core.places import at
from harness.core.schema import Array, Arrays
from harness.subjects.description import InputDescription

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import tensorflow as tf
from keras.src.saving.serialization_lib import SafeModeScope

from harness.frameworks import keras_archive
from harness.frameworks.float32_limits import limits_of_float32
from harness.frameworks.keras_float64 import carry, departing, from_config, narrows, wide_casts
from harness.frameworks.keras_twin import every_step_at_once, precision

FRAMEWORK = "keras"


def read(path: Path) -> keras.Model:
    """Return the model in a ``.keras`` file; UsageError where it holds none, or code.

    Keras' setting that allows code in files does not count.
    """
    keras_archive.check(path)
    try:
        with SafeModeScope(True):
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:
        text = str(error)
        if "Could not locate class" in text or "registered" in text.lower():
            reason = visible(clipped(text.split("Make sure")[0].strip().splitlines()[0]))
            raise UsageError(
                f"{path} needs a class that is not here ({reason}); build the model in"
                " FILE.py:factory"
            ) from None
        raise UsageError(visible(f"{path} is no readable .keras file: {one_line(error)}")) from None


class KerasModel:
    """A Keras model and its float64 copy, which ``again`` builds where its config cannot."""

    framework = FRAMEWORK

    def __init__(
        self,
        model: keras.Model,
        weights: Path | None = None,
        again: Callable[[], keras.Model] | None = None,
    ) -> None:
        if keras.backend.backend() != "tensorflow":
            raise UsageError(
                f"Keras runs on {keras.backend.backend()}; expected tensorflow: set KERAS_BACKEND="
                "tensorflow, or save the model as .keras, which every backend reads"
            )
        for layer in model._flatten_layers():
            if (dtype := getattr(layer, "compute_dtype", "float32")) not in ("float32", None):
                raise UsageError(
                    f"{model.name}: layer {layer.name!r} computes in {dtype}; export float32"
                )
        self.model = model
        self._again = again
        self._wide: keras.Model | None = None
        self._weights_file = weights
        self._functions: dict[bool, Any] = {}
        self._names: tuple[str, ...] = ()
        if model.built and weights is not None:
            _load(model, weights)
        self._start = list(model.get_weights()) if model.built else []

    @property
    def class_name(self) -> str:
        return type(self.model).__name__

    def inputs(self) -> list[InputDescription]:
        """Return every input; a functional or Sequential model's with what its layers say of it."""
        struct = getattr(self.model, "inputs", None)
        if not struct:
            names = [p.name for p in _call_parameters(self.model) if p.default is p.empty]
            return [InputDescription(name) for name in names]
        nested = getattr(self.model, "input", None)
        named = nested.items() if isinstance(nested, Mapping) else ()
        keys = {id(tensor): key for key, tensor in named}
        inputs = {}
        for tensor in struct:
            name = str(keys.get(id(tensor), tensor._keras_history.operation.name))
            inputs[tensor.name] = InputDescription(name, str(tensor.dtype), tuple(tensor.shape))
        for layer in self.model.layers:
            source = _fed_by(layer)
            if source in inputs:
                inputs[source] = _described_by(layer, inputs[source])
        return list(inputs.values())

    def arrange(self, names: Sequence[str]) -> list[str]:
        """Set and return the order of inputs; UsageError where ``names`` are not the model's."""
        self._names = tuple(names)
        if getattr(self.model, "inputs", None):
            self._names = tuple(described.name for described in self.inputs())
            takes = f"it takes: {', '.join(self._names)}"
            if unknown := [name for name in names if name not in self._names]:
                raise UsageError(f"{self.model.name} has no input {unknown[0]!r}; {takes}")
            if set(names) != set(self._names):
                raise UsageError(f"{self.model.name}: only {', '.join(names)} described; {takes}")
        return list(self._names)

    def run(self, inputs: Arrays, wide: bool) -> list[tuple[str, Array]]:
        """Return the outputs, named as the model does, else ``""``; float64 where ``wide``."""
        try:
            with tf.device("CPU"), _unfiltered_errors():
                result = self._function(inputs, wide)(*self._tensors(inputs, wide))
        except tf.errors.OperatorNotAllowedInGraphError as error:
            raise UsageError(
                f"{self.model.name}: a Python branch or loop (if, while, for) asks for the value of"
                f" a tensor{at(places.of_error(error))}, which no graph has; use keras.ops.where,"
                " cond or scan"
            ) from None
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
        """Set the float32 parameters to ``change(initial ones)``; those in float64 stay."""
        first = {str(n): v for n, v in enumerate(self._start)}
        floats = {n: v for n, v in first.items() if v.dtype == np.float32}
        moved = [{**first, **change(floats)}[str(n)] for n in range(len(self._start))]
        self.model.set_weights(moved)

    def departing_layer(self, inputs: Arrays) -> str:
        """Return the first layer whose float64 copy gives other outputs; empty where none shows."""
        try:
            with tf.device("CPU"):
                return departing(
                    self.model,
                    self._widened(inputs),
                    *(self._nested(self._tensors(inputs, wide)) for wide in (False, True)),
                )
        except Exception:
            return ""

    def _tensors(self, inputs: Arrays, wide: bool) -> list[Any]:
        arrays = [inputs[name] for name in self._names]
        return [
            tf.convert_to_tensor(a.astype(np.float64) if wide and a.dtype == np.float32 else a)
            for a in arrays
        ]

    def _function(self, inputs: Arrays, wide: bool) -> Any:
        """Return the model as one TensorFlow function of its inputs, for any batch and length."""
        if wide not in self._functions:
            if not self.model.built:
                self._invoke(self.model, self._tensors(inputs, False))
                if self._weights_file is not None:
                    _load(self.model, self._weights_file)
                self._start = list(self.model.get_weights())
            model = self._widened(inputs) if wide else self.model
            tensors = self._tensors(inputs, wide)
            shapes = [[None] * len(tensor.shape) for tensor in tensors]
            for place, tensor in enumerate(getattr(self.model, "inputs", None) or []):
                shapes[place] = list(tensor.shape)
            signature = [tf.TensorSpec(s, t.dtype) for s, t in zip(shapes, tensors, strict=True)]
            function = tf.function(
                lambda *arguments: self._invoke(model, list(arguments)),
                input_signature=signature,
                autograph=False,
            )
            with every_step_at_once(), _as_if_float32() if wide else nullcontext():
                traced = function.get_concrete_function()
            if wide and narrows(traced.graph.as_graph_def()):
                raise UsageError(
                    f"{self.model.name}: its own code casts to float32, so that it cannot be run in"
                    " float64; cast to x.dtype instead"
                )
            self._functions[wide] = function
        return self._functions[wide]

    def _invoke(self, model: keras.Model, tensors: list[Any]) -> Any:
        if getattr(self.model, "inputs", None):
            return model(self._nested(tensors), training=False)
        names = {p.name for p in _call_parameters(model)}
        trains = "training" in inspect.signature(model.call).parameters
        training = {"training": False} if trains else {}
        if set(self._names) <= names:
            return model(**dict(zip(self._names, tensors, strict=True)), **training)
        return model(tensors[0] if len(tensors) == 1 else tensors, **training)

    def _nested(self, tensors: list[Any]) -> Any:
        """Return the inputs in the structure that a functional model has them in."""
        nested = getattr(self.model, "input", self.model.inputs[0])
        return keras.tree.pack_sequence_as(nested, tensors)

    def _named(self, result: Any) -> list[tuple[str, Any]]:
        if isinstance(result, Mapping):
            return [(str(name), value) for name, value in result.items()]
        leaves = keras.tree.flatten(result)
        names = getattr(self.model, "output_names", None) or [""] * len(leaves)
        if len(set(names)) < len(leaves):
            names = [""] * len(leaves)
        return list(zip(names, leaves, strict=True))

    def _widened(self, inputs: Arrays) -> keras.Model:
        """Return the model in float64, from its configuration, else by its factory."""
        if self._wide is None:
            reason = ""
            for make in (lambda: from_config(self.model), self._again or type(self.model)):
                try:
                    with precision("float64"), wide_casts():
                        wide = make()
                        if not wide.built:
                            self._invoke(wide, self._tensors(inputs, True))
                    wide.set_weights(self._start)
                    carry(self.model, wide)
                    self._wide = wide
                    break
                except Exception as error:
                    reason = one_line(error)
            else:
                raise UsageError(
                    f"{self.model.name} cannot be made in float64 from its get_config ({reason});"
                    " give FILE.py:factory, or make get_config complete"
                )
        return self._wide


@contextmanager
def _as_if_float32() -> Iterator[None]:
    """Let code that names float32, or reads its limits, run in float64."""
    with limits_of_float32(np), wide_casts():
        yield


def _fed_by(layer: Any) -> str | None:
    """Return the name of the only tensor that a layer reads; None where there are several."""
    try:
        return str(layer.input.name)
    except (AttributeError, ValueError):
        return None


def _described_by(layer: Any, described: InputDescription) -> InputDescription:
    """Return the description with what a layer that reads the input says of it."""
    if isinstance(layer, keras.layers.Embedding):
        return replace(
            described,
            low=0.0,
            high=float(layer.input_dim - 1),
            padding=0.0 if layer.mask_zero else None,
            whole=described.dtype == "float32",
        )
    if isinstance(layer, keras.layers.Masking):
        return replace(described, padding=float(layer.mask_value))
    return described


def _call_parameters(model: keras.Model) -> list[inspect.Parameter]:
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    parameters = inspect.signature(model.call).parameters.values()
    return [p for p in parameters if p.name not in ("training", "mask", "self") and p.kind in kinds]


@contextmanager
def _unfiltered_errors() -> Iterator[None]:
    """Raise errors as they are: Keras' filter puts a sentence of its own before them."""
    filtered = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        if filtered:
            keras.config.enable_traceback_filtering()


def _load(model: keras.Model, path: Path) -> None:
    keras_archive.check_weights(path)
    try:
        model.load_weights(path)
    except Exception as error:
        reason = visible(one_line(error))
        raise UsageError(f"{path} cannot be loaded into {model.name}: {reason}") from None
