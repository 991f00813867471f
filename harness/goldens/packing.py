"""Tensors in few bytes, to the bit: by dtype, their bytes by significance, deflated.

A packed file begins with ``MAGIC`` and the length of its header, eight bytes little-endian. The
header is strict JSON, deflated (in files that begin with ``FIRST_MAGIC``, as it is): the tensors in
their order, and for each dtype the bytes of all its tensors and of the stream that holds them. The
streams follow in the header's order. A stream is what zlib makes of the dtype's tensors one after
the other, little-endian and in C order: all first bytes of their elements, then all second ones.
Exponents and signs lie together so, and shrink.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta, Struct

from harness.core.errors import UsageError
from harness.core.reading import JSON_BYTES, parse_json
from harness.core.schema import Array, Arrays
from harness.goldens.form import Dtype, Size
from harness.typed_json import typed

MAGIC, FIRST_MAGIC = b"PACKED2\n", b"PACKED1\n"
_LENGTH = 8
GROWTH = 64
"""How many times larger than its stream the bytes of a dtype may be; others are not deflated.

A header may not be larger either.
"""
_OVERHEAD = 64
"""The bytes of a stream that do not count: what zlib writes of nothing, and its block's ends."""


class _Part(Struct, forbid_unknown_fields=True):
    dtype: Dtype
    bytes: Size
    stream: Size


class _Tensor(Struct, forbid_unknown_fields=True):
    name: str
    dtype: Dtype
    shape: Annotated[list[Size], Meta(max_length=32)]


class _Header(Struct, forbid_unknown_fields=True):
    tensors: list[_Tensor]
    parts: list[_Part]


def packed(tensors: Mapping[str, Array]) -> bytes:
    """Return a packed file of the tensors."""
    by_dtype: dict[str, list[Array]] = {}
    for value in tensors.values():
        by_dtype.setdefault(value.dtype.name, []).append(value)
    parts, streams = [], []
    for dtype, values in by_dtype.items():
        data = _shuffled(values)
        stream = _deflated(data)
        streams.append(stream)
        parts.append({"dtype": dtype, "bytes": len(data), "stream": len(stream)})
    listed = [
        {"name": name, "dtype": value.dtype.name, "shape": [*value.shape]}
        for name, value in tensors.items()
    ]
    text = json.dumps({"tensors": listed, "parts": parts}, separators=(",", ":"))
    header = _deflated(text.encode())
    return b"".join([MAGIC, len(header).to_bytes(_LENGTH, "little"), header, *streams])


def unpacked(data: bytes, path: Path, limit: int) -> Arrays:
    """Return the tensors of a packed file, which take at most ``limit`` bytes.

    UsageError, which names ``path``, for anything else. What the header declares is checked before
    anything is inflated, and no more than that is inflated.
    """
    start = len(MAGIC) + _LENGTH
    size = int.from_bytes(data[len(MAGIC) : start], "little")
    magic, text = data[: len(MAGIC)], data[start : start + size]
    if magic not in (MAGIC, FIRST_MAGIC) or size > min(len(data) - start, JSON_BYTES):
        raise UsageError(f"{path} is not a packed file of tensors, or is cut off")
    if magic == MAGIC:
        text = _inflated(text, min(_most(size), JSON_BYTES), path, "header")
    header = typed(parse_json(text, path), _Header, str(path))
    _check(header, len(data) - start - size, path, limit)
    tensors: Arrays = {}
    place = start + size
    for part in header.parts:
        values = _values(memoryview(data)[place : place + part.stream], part, path)
        place += part.stream
        first = 0
        for tensor in (t for t in header.tensors if t.dtype == part.dtype):
            count = math.prod(tensor.shape)
            tensors[tensor.name] = values[first : first + count].reshape(tensor.shape)
            first += count
    return {tensor.name: tensors[tensor.name] for tensor in header.tensors}


def _check(header: _Header, streams: int, path: Path, limit: int) -> None:
    """Raise UsageError unless the declared sizes fit each other, the file and the limit."""
    names = [tensor.name for tensor in header.tensors]
    dtypes = [part.dtype for part in header.parts]
    if len(set(names)) != len(names) or len(set(dtypes)) != len(dtypes):
        raise UsageError(f"{path}: a tensor or a dtype is there twice")
    needed = dict.fromkeys(dtypes, 0)
    for tensor in header.tensors:
        if tensor.dtype not in needed:
            raise UsageError(f"{path}: there is no part of {tensor.dtype}")
        needed[tensor.dtype] += math.prod(tensor.shape) * np.dtype(tensor.dtype).itemsize
    for part in header.parts:
        if part.bytes != needed[part.dtype]:
            raise UsageError(
                f"{path}: the part of {part.dtype} is of {part.bytes:,} bytes; its tensors have"
                f" {needed[part.dtype]:,}"
            )
        if part.bytes > _most(part.stream):
            raise UsageError(
                f"{path}: {part.stream:,} bytes of {part.dtype} are to become {part.bytes:,};"
                f" expected at most {GROWTH} times as many"
            )
    if sum(needed.values()) > limit:
        raise UsageError(f"{path}: its tensors are too large; at most {limit:,} bytes are allowed")
    stated = sum(part.stream for part in header.parts)
    if stated != streams:
        raise UsageError(f"{path} has {streams:,} bytes of tensors; its header says {stated:,}")


def _most(stream: int) -> int:
    return GROWTH * (stream + _OVERHEAD)


def _deflated(data: bytes) -> bytes:
    stream = zlib.compress(data, 9)
    return zlib.compress(data, 0) if len(data) > _most(len(stream)) else stream


def _inflated(stream: bytes | memoryview, most: int, path: Path, what: str) -> bytes:
    """Return what a stream holds; UsageError unless that is at most ``most`` bytes and all."""
    inflater = zlib.decompressobj()
    try:
        data = inflater.decompress(stream, most + 1)
    except zlib.error as error:
        raise UsageError(f"{path}: the {what} is damaged: {error}") from None
    if len(data) > most or not inflater.eof or inflater.unused_data:
        raise UsageError(f"{path}: the {what} does not end after its {most:,} bytes")
    return data


def _values(stream: memoryview, part: _Part, path: Path) -> Array:
    """Return the values of a part, flat."""
    what = f"part of {part.dtype}"
    data = _inflated(stream, part.bytes, path, what)
    if len(data) != part.bytes:
        raise UsageError(f"{path}: the {what} does not end after its {part.bytes:,} bytes")
    dtype = np.dtype(part.dtype)
    planes = np.frombuffer(data, np.uint8).reshape(dtype.itemsize, -1)
    values: Array = np.ascontiguousarray(planes.T).reshape(-1).view(dtype.newbyteorder("<"))
    return values.astype(dtype, copy=False)


def _shuffled(values: list[Array]) -> bytes:
    dtype = values[0].dtype
    flat = np.concatenate([np.asarray(value, order="C").reshape(-1) for value in values])
    little = flat.astype(dtype.newbyteorder("<"), copy=False)
    return little.view(np.uint8).reshape(-1, dtype.itemsize).T.tobytes()
