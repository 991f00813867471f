"""How a specification's inputs and outputs map to a Keras model's own: by name, else by place."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras

from harness.core.errors import ExportError
from harness.core.schema import TensorSpec
from harness.exporters.keras.tf_graph import Tensor


def bind_inputs(
    model: keras.Model, specs: Sequence[TensorSpec], tensors: Sequence[Tensor]
) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments for the model's call.

    A functional or Sequential model takes its inputs by the names of its own, a list by place
    where the names differ. A subclassed model takes them as its ``call`` names its parameters; a
    single parameter takes the one tensor, or all of them in the form it was built with: a list,
    or else a dict.
    """
    given = dict(zip((t.name for t in specs), tensors, strict=True))
    struct = _struct(model)
    if struct is None:
        return _bind_call(model, given)
    names = [name for name, _ in _leaves(struct)]
    if sorted(names) != sorted(given):
        if _has_dict(struct) or len(names) != len(given):
            raise _mismatch("inputs", names, given)
        given = dict(zip(names, tensors, strict=True))
    return [_filled(struct, given)], {}


def flat_outputs(result: Any, specs: Sequence[TensorSpec]) -> list[Tensor]:
    """The model's outputs in the specification's order: a dict's by name, others by place."""
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
    """The nested symbolic inputs of a functional or Sequential model; None for a subclassed one."""
    try:
        return model.input
    except AttributeError:
        return None


def _bind_call(model: keras.Model, given: Mapping[str, Tensor]) -> tuple[list[Any], dict[str, Any]]:
    parameters = inspect.signature(model.call).parameters
    if all(name in parameters for name in given):
        return [], dict(given)
    takers = [p for p in parameters if p not in ("training", "mask")]
    if len(given) == 1:
        return list(given.values()), {}
    if len(takers) == 1:
        shapes = next(iter((model._build_shapes_dict or {}).values()), None)
        nested = isinstance(shapes, list | tuple)
        return [list(given.values()) if nested else dict(given)], {}
    if len(takers) >= len(given):
        return list(given.values()), {}
    raise _mismatch("inputs", takers, given)


def _leaves(struct: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(name, tensor) of a nested structure, in the order in which it was written."""
    if isinstance(struct, Mapping):
        for key, value in struct.items():
            yield from _leaves(value, str(key))
    elif isinstance(struct, list | tuple):
        for value in struct:
            yield from _leaves(value)
    else:
        yield name or getattr(struct, "name", ""), struct


def _filled(struct: Any, given: Mapping[str, Tensor], name: str = "") -> Any:
    if isinstance(struct, Mapping):
        return {key: _filled(value, given, str(key)) for key, value in struct.items()}
    if isinstance(struct, list | tuple):
        return [_filled(value, given) for value in struct]
    return given[name or struct.name]


def _has_dict(struct: Any) -> bool:
    return isinstance(struct, Mapping) or (
        isinstance(struct, list | tuple) and any(_has_dict(value) for value in struct)
    )


def _mismatch(kind: str, names: Iterable[str], wanted: Iterable[str]) -> ExportError:
    return ExportError(
        f"the model's {kind} are {', '.join(names)}; its specification has {', '.join(wanted)}"
    )
