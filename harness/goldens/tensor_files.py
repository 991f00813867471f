"""Files of tensors: ``NAME.safetensors``, which many tools read, or ``NAME.packed``, smaller."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from harness.core.errors import GoldenError, UsageError, one_line
from harness.core.reading import TENSOR_BYTES, check_file, check_inside, read_bytes
from harness.core.schema import Arrays
from harness.goldens.packing import packed, unpacked

PACKED = ".packed"


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
