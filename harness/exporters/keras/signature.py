"""The mapping of a specification's inputs and outputs to a Keras model's: by name or position."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import tensorflow as tf

from harness.core.errors import ExportError
from harness.core.schema import TensorSpec
from harness.exporters.keras.tf_graph import Tensor


def tensor_specs(specs: Sequence[TensorSpec]) -> list[tf.TensorSpec]:
    """Return TensorFlow's specification of tensors, with an unknown size for every named axis."""
    return [
        tf.TensorSpec([a if isinstance(a, int) else None for a in t.axes], t.dtype, t.name)
        for t in specs
    ]


def bind_inputs(
    model: keras.Model, specs: Sequence[TensorSpec], tensors: Sequence[Tensor]
) -> tuple[list[Any], dict[str, Any]]:
    """Return the positional and keyword arguments of the model's call.

    A functional or Sequential model takes its inputs by their names, a list by position where the
    names differ. A subclassed model takes them by the parameters of its ``call``; a single
    parameter takes the one tensor, or all of them as it was built with: a list, or else a dict.
    """
    by_name = dict(zip((t.name for t in specs), tensors, strict=True))
    struct = _struct(model)
    if struct is None:
        return _bind_call(model, by_name)
    names = [name for name, _ in _leaves(struct)]
    if sorted(names) != sorted(by_name):
        if _has_dict(struct) or len(names) != len(by_name):
            raise _mismatch("inputs", names, by_name)
        by_name = dict(zip(names, tensors, strict=True))
    return [_filled(struct, by_name)], {}


def flat_outputs(result: Any, specs: Sequence[TensorSpec]) -> list[Tensor]:
    """Return the outputs in the specification's order: a dict's by name, others by position."""
    leaves = list(_leaves(result))
    names = [name for name, _ in leaves]
    if len(leaves) != len(specs):
        raise _mismatch("outputs", names, [t.name for t in specs])
    if not isinstance(result, Mapping):
        return [leaf for _, leaf in leaves]
    by_name = dict(leaves)
    if sorted(by_name) != sorted(t.name for t in specs):
        raise _mismatch("outputs", names, [t.name for t in specs])
    return [by_name[t.name] for t in specs]


def _struct(model: keras.Model) -> Any:
    """Return a functional or Sequential model's nested inputs; None for a subclassed one."""
    try:
        return model.input
    except AttributeError:
        return None


def _bind_call(model: keras.Model, inputs: dict[str, Tensor]) -> tuple[list[Any], dict[str, Any]]:
    parameters = inspect.signature(model.call).parameters
    if all(name in parameters for name in inputs):
        return [], inputs
    takers = [p for p in parameters if p not in ("training", "mask")]
    if len(takers) == 1 < len(inputs):
        shapes = next(iter((model._build_shapes_dict or {}).values()), None)
        return [list(inputs.values()) if isinstance(shapes, list | tuple) else inputs], {}
    if len(inputs) == 1 or len(takers) >= len(inputs):
        return list(inputs.values()), {}
    raise _mismatch("inputs", takers, inputs)


def _leaves(struct: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the name and the value of each leaf of a nested structure, in its own order."""
    if isinstance(struct, Mapping):
        for key, value in struct.items():
            yield from _leaves(value, str(key))
    elif isinstance(struct, list | tuple):
        for value in struct:
            yield from _leaves(value)
    else:
        yield name or getattr(struct, "name", ""), struct


def _filled(struct: Any, tensors: Mapping[str, Tensor], name: str = "") -> Any:
    """Return a nested structure with ``tensors`` in the place of its leaves, by their names."""
    if isinstance(struct, Mapping):
        return {key: _filled(value, tensors, str(key)) for key, value in struct.items()}
    if isinstance(struct, list | tuple):
        return [_filled(value, tensors) for value in struct]
    return tensors[name or struct.name]


def _has_dict(struct: Any) -> bool:
    return isinstance(struct, Mapping) or (
        isinstance(struct, list | tuple) and any(_has_dict(value) for value in struct)
    )


def _mismatch(kind: str, own: Iterable[str], specified: Iterable[str]) -> ExportError:
    return ExportError(
        f"the model's {kind} are {', '.join(own)}; its specification has {', '.join(specified)}"
    )
