"""A folder of ONNX tests as a golden: the one that it was made from, or its stored outputs.

What ``convert`` writes beside the tests is in ``harness/golden/`` and ``harness/bundle/``, and in
``remainder_K.pb`` and ``projection_K.pb`` of a data set.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.errors import GoldenError, UsageError
from harness.core.reading import check_inside, read_json
from harness.core.schema import Array, Arrays, ModelSpec
from harness.exporting import bundle
from harness.goldens import manifest as manifests
from harness.goldens import store
from harness.goldens.store import Golden
from harness.onnx_tests import foreign, layout

GOLDEN, BUNDLE = Path("harness/golden"), Path("harness/bundle")
REMAINDER, PROJECTION = "remainder", "projection"
WIDE = np.dtype(np.float64)


@dataclass(frozen=True)
class Tests:
    """A model and its golden, with the manifest of its bundle and evidence for the report.

    ``unavailable`` is why the model cannot be judged at all. ``declared`` is set where the golden's
    specification does not come from the model, and so is what the model has to declare.
    """

    golden: Golden
    model: Path
    about: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)
    unavailable: str | None = None
    declared: bool = True


def read(path: Path) -> Tests:
    """Return the tests in ``path``; UsageError or GoldenError where they cannot be used."""
    model = path / layout.MODEL
    if not model.is_file():
        raise UsageError(f"{path} has test data sets but no {layout.MODEL} to run on them")
    if not has_golden(path):
        tests = foreign.read(path, model)
        about = {"exporter": "file"}
        return Tests(tests.golden, model, about, tests.evidence, tests.unavailable, False)
    about = {}
    manifest = path / BUNDLE / bundle.MANIFEST
    for part in (model, manifest):
        check_inside(part, path)
    if manifest.is_file():
        about = read_json(manifest)
        bundle.check_manifest(about, manifest)
        if about.get("sha256") != bundle.sha256(model):
            raise UsageError(f"{model} was altered: its SHA-256 is not the bundle's")
    return Tests(read_golden(path), model, about)


def has_golden(path: Path) -> bool:
    """Return whether the tests in ``path`` were made from a golden."""
    return (path / GOLDEN / store.MANIFEST).is_file()


def _summed(near: Array, remainder: Array) -> Array:
    with np.errstate(all="ignore"):  # what overflows is another value than the manifest's
        return np.asarray(near.astype(WIDE) + remainder)


def read_golden(path: Path) -> Golden:
    """Return the golden that the tests in ``path`` were made from, every tensor verified."""
    check_inside(path / GOLDEN / store.MANIFEST, path)
    manifest, form = manifests.read(path / GOLDEN / store.MANIFEST)
    sets, entries = layout.data_sets(path), manifest["cases"]
    if len(sets) != len(entries):
        raise GoldenError(
            f"{path} has {len(sets)} data sets; its manifest has {len(entries)} cases"
        )

    def load(spec: ModelSpec, number: int) -> dict[str, Arrays]:
        inputs = dict(layout.read(sets[number], "input"))
        complete = layout.read(sets[number], "output")
        remainders = dict(layout.read(sets[number], REMAINDER))
        names = {*inputs}, {*dict(complete)}
        if names != ({t.name for t in spec.inputs}, {t.name for t in spec.outputs}):
            raise GoldenError(f"{sets[number]} has other tensors than its manifest")
        steps, outputs = entries[number]["steps"], {}
        for name, value in complete:
            kept = spec.output(name).at_steps(value, steps)
            remainder = remainders.get(name)
            if remainder is not None and (remainder.shape, remainder.dtype) != (kept.shape, WIDE):
                raise GoldenError(
                    f"{sets[number]}: the remainder of {name} is {remainder.dtype}"
                    f"{[*remainder.shape]}; expected {WIDE}{[*kept.shape]}"
                )
            outputs[name] = kept if remainder is None else _summed(kept, remainder)
        sums = dict(layout.read(sets[number], PROJECTION))
        return {"input": inputs, "output": outputs, PROJECTION: sums}

    return store.assembled(path / GOLDEN, manifest, form, load)
