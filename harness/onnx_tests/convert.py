"""Goldens and bundles as folders that ONNX's own test runners read, and back without a loss.

What such a folder has no place for stands beside, in files that the runners pass over
(``folders``). ``remainder_K.pb`` is what rounding took from the values in float64 that the
golden holds of output K: the difference of a float64 and the float32 nearest to it is a float64.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from harness.core import selectors
from harness.core.errors import CheckError, NothingSelectedError, StageError, UsageError
from harness.core.files import replacing
from harness.core.registry import resolve
from harness.core.schema import Array, GoldenCase, Session, lengths_text
from harness.core.tolerance import one_ulp
from harness.exporting import bundle
from harness.goldens import manifest as manifests
from harness.goldens import store
from harness.goldens.store import Golden
from harness.graphs import interface, walk
from harness.onnx_tests import layout
from harness.onnx_tests.as_golden import BUNDLE, GOLDEN, REMAINDER, has_golden, read_golden
from harness.subjects.resolve import Kind, Subject
from reference_models import every_step

ORACLE = "harness.oracle.runtime:ORACLE"
Complete = Callable[[GoldenCase], GoldenCase]


@dataclass(frozen=True)
class Convertible:
    """A golden, its model where that is known, and the other files of its bundle."""

    golden: Golden
    model: Path | None = None
    others: Sequence[Path] = ()


def source(subject: Subject, model: Path | None = None) -> Convertible:
    """Return the golden or the bundle that ``subject`` names; ``model`` is the model of a golden.

    UsageError or GoldenError where it cannot be read.
    """
    path = subject.path
    if subject.kind is Kind.GOLDEN:
        return Convertible(store.read(path), model)
    if model is not None:
        raise UsageError(f"{path} is a bundle and has its own model; --model is for a golden")
    stored = bundle.read(path)
    if stored.failure is not None:
        raise UsageError(f"{path} holds no model: {stored.failure}")
    files = [entry for entry in sorted(path.iterdir()) if entry.is_file()]
    others = [entry for entry in files if entry != stored.model]
    return Convertible(store.read(path / bundle.GOLDEN), stored.model, others)


def to_tests(given: Convertible, folder: Path, lengths: Sequence[str] = ()) -> tuple[int, int]:
    """Write the cases of the selected lengths to a new ``folder`` of ONNX tests.

    Returns how many were written and how many left out, of which the golden holds only some steps
    and there is nothing to derive the others by. NothingSelectedError where none would be written;
    then nothing is.
    """
    _new(folder)
    there = {case.longest for case in given.golden.cases}
    numbers = selectors.numbers("--lengths", lengths, there)
    numbers.require(there)
    cases = [case for case in given.golden.cases if case.longest in numbers]
    loaded = [given.golden.load(case) for case in cases]
    proto = None if given.model is None else _model(given.model, given.golden)
    partly = any(one.steps is not None for one in loaded)
    complete = _completing(given, proto) if partly else None
    kept = [one for one in loaded if complete or one.steps is None]
    if not kept:
        raise NothingSelectedError(
            f"{given.golden.folder} holds only some steps of every selected case, and neither its"
            " weights nor a model (--model FILE) that the oracle can run are there to derive the"
            " others by"
        )
    whole = len(kept) == len(given.golden.cases)
    selected = [one.case for one in kept]
    manifest = given.golden.manifest if whole else manifests.part(given.golden.manifest, selected)
    with replacing(folder) as new:
        for number, one in enumerate(kept):
            layout.write(new, number, _data_set(given.golden, one, complete, proto))
        if proto is not None:
            (new / layout.MODEL).write_bytes(_bytes(given.model, proto))
        _beside(given, manifest, new)
    return len(kept), len(loaded) - len(kept)


def from_tests(path: Path, folder: Path) -> int:
    """Write the golden or bundle that the tests in ``path`` were made from to a new ``folder``.

    Returns the number of its cases. UsageError where they were not made from one, GoldenError
    where a tensor was altered since.
    """
    _new(folder)
    if not has_golden(path):
        raise UsageError(
            f"{path} was made from no golden of ours (it has no {GOLDEN / store.MANIFEST});"
            " python -m harness.validate judges it as it is"
        )
    restored = read_golden(path)
    if not (path / BUNDLE).is_dir():
        store.copy(restored, folder)
        return len(restored.cases)
    with replacing(folder) as new:
        shutil.copyfile(path / layout.MODEL, new / bundle.MODEL)
        for other in sorted((path / BUNDLE).iterdir()):
            shutil.copyfile(other, new / other.name)
        store.copy(restored, new / bundle.GOLDEN)
        bundle.bind(new)
        bundle.read(new)
    return len(restored.cases)


def _new(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists; give a new folder")


def _model(path: Path, known: Golden) -> Any:
    """The model in ``path``; UsageError where it has other inputs or outputs than the golden."""
    try:
        proto = interface.read(str(path))
    except CheckError as error:
        raise UsageError(str(error)) from None
    expected = [t.name for t in known.spec.inputs], [t.name for t in known.spec.outputs]
    for kind, values, names in zip(("input", "output"), _values(proto), expected, strict=True):
        if sorted(values) != sorted(names):
            raise UsageError(
                f"{path}: {kind}s are {', '.join(values) or 'none'}; the golden has"
                f" {', '.join(names)}"
            )
    return proto


def _values(proto: Any) -> tuple[list[str], list[str]]:
    """The names of a graph's inputs, but for those that are filled, and of its outputs."""
    inputs = [value.name for value in walk.inputs(proto.graph)]
    return inputs, [value.name for value in proto.graph.output]


def _bytes(path: Path | None, proto: Any) -> bytes:
    """The model's file as it is, or with its external data in it."""
    outside = any(onnx.external_data_helper.uses_external_data(t) for t in _stored(path))
    return bytes(proto.SerializeToString()) if outside or path is None else path.read_bytes()


def _stored(path: Path | None) -> list[Any]:
    return list(onnx.load(str(path), load_external_data=False).graph.initializer) if path else []


def _data_set(
    known: Golden, one: GoldenCase, complete: Complete | None, proto: Any
) -> dict[str, layout.Named]:
    """A case's tensors in the order of the model, or of the specification where there is none."""
    spec = known.spec
    inputs = [tensor.name for tensor in spec.inputs]
    outputs = [tensor.name for tensor in spec.outputs]
    if proto is not None:
        inputs, outputs = _values(proto)
    every = complete(one).outputs if complete and one.steps is not None else one.outputs
    rounded: list[tuple[str, Array]] = []
    rests: list[tuple[str, Array]] = []
    for name in outputs:
        tensor, stored = spec.output(name), one.outputs[name]
        value = stored
        if one.steps is not None and tensor.step_axis is not None:
            value = np.array(every[name])
            by_step = np.moveaxis(value, tensor.step_axis, 0)
            _agree(one, name, by_step[one.steps], np.moveaxis(stored, tensor.step_axis, 0))
            by_step[one.steps] = np.moveaxis(stored, tensor.step_axis, 0)
        near, rest = value.astype(tensor.dtype), _remainder(stored, tensor.dtype)
        rounded.append((name, near))
        rests += [(name, rest)] if stored.dtype != near.dtype else []
    given = [(name, one.inputs[name]) for name in inputs]
    return {"input": given, "output": rounded, REMAINDER: rests}


def _remainder(stored: Array, dtype: str) -> Array:
    """What rounding to ``dtype`` takes; zeros keep their sign, and infinities have none."""
    with np.errstate(invalid="ignore", over="ignore"):
        near = stored.astype(dtype).astype(stored.dtype)
        rest = np.where(near == stored, np.where(stored == 0, stored, 0), stored - near)
        lost = (near + rest).tobytes() != stored.tobytes()
    if lost:
        raise UsageError(f"values up to {np.abs(stored).max():.3g} cannot be told as {dtype}")
    return np.asarray(rest, stored.dtype)


def _agree(one: GoldenCase, name: str, derived: Array, stored: Array) -> None:
    scale = max(one.scale.get(name, 0.0), float(np.abs(stored).max(initial=0.0)))
    apart = float(np.abs(derived - stored).max(initial=0.0))
    if not apart <= one_ulp(scale):
        raise UsageError(
            f"output {name} at {lengths_text(one.case.lengths)}: what would complete it is"
            f" {apart:.2g} away from the golden at the steps that it holds; another model's golden?"
        )


@dataclass(frozen=True)
class _ByModel:
    """Derives every step of a case by a float64 session of the model."""

    session: Session

    def __call__(self, case: GoldenCase) -> GoldenCase:
        return replace(case, outputs=dict(self.session.run(case.inputs)), steps=None)


def _completing(given: Convertible, proto: Any) -> Complete | None:
    """By the reference model's NumPy oracle, else by the model in float64; None without either."""
    known: Complete | None = every_step.of(given.golden) if given.golden.has_weights else None
    if known is not None:
        return known
    try:
        return None if proto is None else _ByModel(resolve(ORACLE).open(proto))
    except StageError:
        return None


def _beside(given: Convertible, manifest: Any, folder: Path) -> None:
    """What ONNX's layout has no place for."""
    (folder / GOLDEN).mkdir(parents=True)
    (folder / GOLDEN / store.MANIFEST).write_text(manifests.text(manifest))
    weights = given.golden.folder / store.WEIGHTS
    if weights.is_file():
        shutil.copyfile(weights, folder / GOLDEN / store.WEIGHTS)
    if given.others:
        (folder / BUNDLE).mkdir()
    for path in given.others:
        shutil.copyfile(path, folder / BUNDLE / path.name)
