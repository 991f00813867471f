"""A model as the bytes of a file, made weight by weight.

Protobuf itself makes them at once, and twice: that takes three times the memory of the model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from onnx import GraphProto, ModelProto

_GRAPH = ModelProto.GRAPH_FIELD_NUMBER
_WEIGHTS = GraphProto.INITIALIZER_FIELD_NUMBER
_WITH_LENGTH = 2
"""The wire type of messages, of which the length stands first."""


def write(model: ModelProto, path: Path) -> None:
    """Write what ``model.SerializeToString()`` gives."""
    with path.open("wb") as file:
        file.writelines(serialized(model))


def serialized(model: ModelProto) -> Iterator[bytes]:
    """Yield the parts of what ``model.SerializeToString()`` gives: fields come by their numbers."""
    before = _fields(model.graph, lambda number: number < _WEIGHTS)
    after = _fields(model.graph, lambda number: number > _WEIGHTS)
    weights = [(_start(_WEIGHTS, t.ByteSize()), t) for t in model.graph.initializer]
    size = sum(len(start) + tensor.ByteSize() for start, tensor in weights)
    yield _fields(model, lambda number: number < _GRAPH)
    if model.HasField("graph"):
        yield _start(_GRAPH, len(before) + size + len(after))
    yield before
    for start, tensor in weights:
        yield start
        yield tensor.SerializeToString()
    yield after
    yield _fields(model, lambda number: number > _GRAPH)


def copy_fields(source: Any, target: Any, keep: Callable[[int], bool]) -> None:
    """Copy the fields of a message whose numbers are to ``keep`` to another that is empty."""
    for field, value in source.ListFields():
        if not keep(field.number):
            continue
        if field.is_repeated:
            getattr(target, field.name).extend(value)
        elif field.message_type is not None:
            getattr(target, field.name).CopyFrom(value)
        else:
            setattr(target, field.name, value)


def _fields(message: Any, keep: Callable[[int], bool]) -> bytes:
    part = type(message)()
    copy_fields(message, part, keep)
    return bytes(part.SerializeToString())


def _start(number: int, length: int) -> bytes:
    """Return what stands before a message: its field's number and wire type, and its length."""
    return _varint(number << 3 | _WITH_LENGTH) + _varint(length)


def _varint(number: int) -> bytes:
    """Return a number in groups of seven bits, the lowest first, each but the last marked."""
    groups = bytearray()
    while number > 0x7F:
        groups.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*groups, number])
