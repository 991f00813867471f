"""Frames between a runtime and the process that it runs in.

A frame is ``MAGIC``, the length of its header (uint32, little-endian), the header (a JSON object in
UTF-8) and then, one after the other, the bytes of the tensors that ``tensors`` in the header lists
as ``[name, dtype, shape]``: little-endian, in C order, the dtype by its NumPy name.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np

from harness.core.schema import Array

MAGIC = b"FRM1"
Header = dict[str, Any]
Tensors = Sequence[tuple[str, Array]]
DTYPES = frozenset({"bool", "float16", "float32", "float64"}) | {
    f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}


def write(stream: IO[bytes], header: Mapping[str, Any], tensors: Tensors = ()) -> None:
    """Send one frame; TypeError where a tensor has a dtype that no frame holds."""
    for name, value in tensors:
        if value.dtype.name not in DTYPES:
            raise TypeError(f"tensor {name!r} has dtype {value.dtype}, which cannot be sent")
    listed = [[name, value.dtype.name, list(value.shape)] for name, value in tensors]
    head = json.dumps({**header, "tensors": listed}).encode()
    parts = [MAGIC, len(head).to_bytes(4, "little"), head]
    parts += [v.astype(v.dtype.newbyteorder("<"), copy=False).tobytes() for _, v in tensors]
    stream.write(b"".join(parts))
    stream.flush()


def read(stream: IO[bytes]) -> tuple[Header, list[tuple[str, Array]]] | None:
    """Return the next frame; None where the stream ends before one is complete.

    ValueError where something else than a frame comes.
    """
    start = _exactly(stream, 4)
    if start not in (MAGIC, None):
        raise ValueError(f"{start!r} is not the start of a frame")
    size = _exactly(stream, 4)
    head = None if size is None else _exactly(stream, int.from_bytes(size, "little"))
    if head is None:
        return None
    header: Header = json.loads(head)
    tensors = []
    for name, dtype, shape in header.pop("tensors"):
        stored = np.dtype(dtype).newbyteorder("<")
        data = _exactly(stream, stored.itemsize * math.prod(shape))
        if data is None:
            return None
        value = np.frombuffer(data, stored).reshape(shape)
        tensors.append((name, value.astype(np.dtype(dtype))))
    return header, tensors


def _exactly(stream: IO[bytes], count: int) -> bytes | None:
    parts = []
    while count:
        part = stream.read(count)
        if not part:
            return None
        parts.append(part)
        count -= len(part)
    return b"".join(parts)
