"""Files of tensors and texts as other tools read them, or packed ones in their place."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from harness.core.errors import GoldenError, UsageError, one_line
from harness.core.reading import JSON_BYTES, TENSOR_BYTES, check_file, check_inside, read_bytes
from harness.core.schema import Arrays
from harness.goldens.packing import packed, unpacked

PACKED = ".packed"
_TEXT = "text"
"""The one tensor of a packed text: its bytes."""


def present(path: Path) -> Path:
    """Return ``path``, or the packed file that lies in its place.

    GoldenError where both are there: they could differ.
    """
    other = path.with_suffix(PACKED)
    if not other.exists():
        return path
    if path.exists():
        raise GoldenError(f"{path} and {other.name} are both there; expected one of them")
    return other


def read_tensors(path: Path, folder: Path) -> Arrays:
    """Return the tensors of a safetensors file in ``folder``, or of the packed one in its place.

    GoldenError where there is none, or it is of another form.
    """
    path = present(path)
    if not path.exists():
        raise GoldenError(f"{path} is missing")
    try:
        check_inside(path, folder)
        if path.suffix == PACKED:
            return unpacked(read_bytes(path, TENSOR_BYTES), path, TENSOR_BYTES)
        check_file(path, TENSOR_BYTES)
        tensors: Arrays = load_file(path)
    except UsageError as error:
        raise GoldenError(str(error)) from None
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise GoldenError(f"{path} is not a file of tensors: {one_line(error)}") from None
    return tensors


def write_tensors(path: Path, tensors: Arrays, pack: bool = False) -> None:
    """Write tensors to a safetensors file or, with ``pack``, to a packed one in its place."""
    if pack:
        path.with_suffix(PACKED).write_bytes(packed(tensors))
    else:
        path.write_bytes(save(tensors))


def read_text(path: Path, folder: Path) -> bytes:
    """Return the bytes of a text in ``folder``, or of the packed one in its place.

    UsageError where there is none, or it is of another form.
    """
    file = present(path)
    check_inside(file, folder)
    data = read_bytes(file, JSON_BYTES)
    if file == path:
        return data
    tensors = unpacked(data, file, JSON_BYTES)
    text = tensors.get(_TEXT)
    if len(tensors) != 1 or text is None or text.dtype != np.uint8 or text.ndim != 1:
        raise UsageError(f"{file} is a packed file of other things than one text")
    return text.tobytes()


def write_text(path: Path, text: str, pack: bool = False) -> None:
    """Write a text or, with ``pack``, a packed one in its place."""
    if pack:
        data = np.frombuffer(text.encode(), np.uint8)
        path.with_suffix(PACKED).write_bytes(packed({_TEXT: data}))
    else:
        path.write_text(text, "utf-8")
