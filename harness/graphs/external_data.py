"""Data that a model keeps in other files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import Error as ProtobufError  # type: ignore[import-untyped]
from onnx import TensorProto

from harness.core.errors import UsageError

_KEY = b"location"


def check_own_data(path: Path, data: bytes) -> None:
    """Raise UsageError where the model in ``data`` keeps a tensor in a file beside ``path``.

    What is no model is left to those who read it.
    """
    if _KEY not in data:
        return
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except (ProtobufError, ValueError):
        return
    for tensor in tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            places = [entry.value for entry in tensor.external_data if entry.key == "location"]
            raise UsageError(
                f"{path} keeps {tensor.name!r} in another file, {', '.join(places) or 'unnamed'!r},"
                " which its SHA-256 does not cover; a bundle's model holds its own data"
            )


def tensors(message: Any) -> Iterator[Any]:
    """Yield every tensor of a message at any depth: initializers, attributes, functions."""
    waiting = [message]
    while waiting:
        inner = waiting.pop()
        if isinstance(inner, TensorProto):
            yield inner
            continue
        for field, value in inner.ListFields():
            if field.message_type is not None:
                waiting.extend(value if field.is_repeated else [value])
