"""Whether a golden's tensors are those of its manifest, and whether they prove anything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from harness.core.bands import drowned
from harness.core.errors import GoldenError
from harness.core.schema import BATCH, Array, Arrays, TensorSpec
from harness.core.tolerance import largest_finite
from harness.goldens.form import Entry, GoldenManifest
from harness.goldens.manifest import hashes, key, sha256
from harness.goldens.noise_floor import Usual, drowns


def check_names(folder: Path, stated: set[str], names: set[str], what: str) -> None:
    """Raise GoldenError unless the names are those that the manifest states."""
    if stated != names:
        name = min(stated ^ names)
        kind = "missing" if name in stated else "not in the manifest"
        raise GoldenError(f"{folder}: of the {what}, {name!r} is {kind}")


def same(folder: Path, name: str, value: Array, expected: str) -> Array:
    """Return ``value``; GoldenError where its SHA-256 is not the expected one."""
    if sha256(value) != expected:
        raise GoldenError(f"{folder}: {name!r} was altered: its SHA-256 is not the manifest's")
    return value


def check_tensors(folder: Path, form: GoldenManifest, tensors: Arrays) -> None:
    """Raise GoldenError where a tensor has another name, hash, dtype or shape than it must have.

    Every output is there, in float64 where it is a float, and has a value in some case.
    """
    check_names(folder, set(form.stored), set(tensors), "case tensors")
    stated, spec = hashes(form), form.spec.spec
    for place, value in tensors.items():
        same(folder, place, value, stated.get(place, ""))
    compared = dict.fromkeys((tensor.name for tensor in spec.outputs), 0)
    for entry in form.cases:
        for place, dtype, shape in _expected(entry, "input", spec.inputs):
            if place in tensors:
                _check_form(folder, place, tensors[place], dtype, shape)
        for (place, dtype, shape), tensor in zip(
            _expected(entry, "output", spec.outputs), spec.outputs, strict=True
        ):
            if place not in tensors:
                raise GoldenError(f"{folder}: of the case tensors, {place!r} is missing")
            _check_form(folder, place, tensors[place], dtype, shape)
            compared[tensor.name] += tensors[place].size
        for place, dtype, sums in _projected(entry, spec.outputs):
            if place not in tensors:
                raise GoldenError(f"{folder}: of the case tensors, {place!r} is missing")
            _check_form(folder, place, tensors[place], dtype, sums)
            _check_finite(folder, place, tensors[place])
    if empty := [name for name, size in compared.items() if not size]:
        raise GoldenError(f"{folder}: output {empty[0]!r} has no value in any case to compare with")


def check_noise(folder: Path, form: GoldenManifest, tensors: Arrays, usual: Usual) -> None:
    """Raise GoldenError where a noise floor is larger than recording allows: all would pass."""
    for entry in form.cases:
        for name, about in entry.outputs.items():
            if found := drowned({band: (n, noise) for band, n, noise in about.bands}):
                raise _meaningless(folder, name, entry, *found)
            scale = usual.scale(name, entry.lengths)
            if not drowns(about.noise, scale):
                continue
            value = tensors[key(entry.case, "output", name)]
            scale = max(scale, largest_finite(value))
            if drowns(about.noise, scale):
                raise _meaningless(folder, name, entry, about.noise, scale)
        for name, projection in entry.projections.items():
            sums = tensors[key(entry.case, "projection", name)]
            scale = float(np.abs(sums).max(initial=0))
            if drowns(projection.noise, scale):
                raise _meaningless(folder, name, entry, projection.noise, scale)


def _meaningless(folder: Path, name: str, entry: Entry, noise: float, scale: float) -> GoldenError:
    return GoldenError(
        f"{folder}: the noise of {name!r} in case {entry.case.id} is {noise:.3g}, more than a"
        f" thousandth of its scale, {scale:.3g}; a comparison would mean nothing"
    )


def _expected(
    entry: Entry, kind: str, tensors: tuple[TensorSpec, ...]
) -> Iterator[tuple[str, str, list[int]]]:
    """Yield the key, the dtype and the shape of each input or output of a case."""
    for tensor in tensors:
        dtype, shape = tensor.dtype, [*tensor.shape(entry.batch, entry.lengths)]
        if kind == "output":
            dtype = "float64" if dtype.startswith("float") else dtype
            if entry.steps is not None and tensor.step_axis is not None:
                shape[tensor.step_axis] = len(entry.steps)
        yield key(entry.case, kind, tensor.name), dtype, shape


def _projected(
    entry: Entry, tensors: tuple[TensorSpec, ...]
) -> Iterator[tuple[str, str, list[int]]]:
    """Yield the key, the dtype and the shape of each projection of a case."""
    for tensor in tensors:
        if tensor.name in entry.projections and (axis := tensor.step_axis) is not None:
            steps = tensor.shape(entry.batch, entry.lengths)[axis]
            rows = entry.batch if BATCH in tensor.axes else 1
            dtype = "float64" if tensor.dtype.startswith("float") else "int64"
            yield key(entry.case, "projection", tensor.name), dtype, [rows, steps]


def _check_finite(folder: Path, place: str, value: Array) -> None:
    if not np.isfinite(value).all():
        raise GoldenError(f"{folder}: {place!r} has a sum that is not finite")


def _check_form(folder: Path, place: str, value: Array, dtype: str, shape: list[int]) -> None:
    if value.dtype != np.dtype(dtype):
        raise GoldenError(f"{folder}: {place!r} is {value.dtype}; expected {dtype}")
    if [*value.shape] != shape:
        raise GoldenError(f"{folder}: {place!r} has the shape {[*value.shape]}; expected {shape}")
