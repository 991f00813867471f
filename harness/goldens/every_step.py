"""A golden that holds some steps of its long cases, given a projection of every step."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from harness.core.files import replacing
from harness.core.projection import projected
from harness.core.schema import Array, Arrays, GoldenCase
from harness.goldens import manifest as manifests
from harness.goldens.manifest import case_of, key, sha256
from harness.goldens.noise_floor import drowns
from harness.goldens.store import CASES, MANIFEST, Golden
from harness.goldens.tensor_files import write_tensors


def write(golden: Golden, complete: Callable[[GoldenCase], GoldenCase], folder: Path) -> None:
    """Replace ``folder`` by the golden with a projection of every step of its thin cases.

    ``complete`` gives a case's outputs at every step. The noise of a sum of n values is taken as
    the output's noise floor, the largest error of one value, times the root of n.
    """
    tensors = dict(golden.tensors)
    entries = [_projected(golden, entry, complete, tensors) for entry in golden.manifest["cases"]]
    manifest = {**golden.manifest, "cases": entries, "stored": sorted(tensors)}
    with replacing(folder) as new:
        write_tensors(new / CASES, tensors)
        (new / MANIFEST).write_text(manifests.text(manifests.signed(manifest)), "utf-8")


def _projected(
    golden: Golden,
    entry: dict[str, Any],
    complete: Callable[[GoldenCase], GoldenCase],
    tensors: Arrays,
) -> dict[str, Any]:
    """Return a case's entry with its projections, whose sums are added to ``tensors``."""
    if entry["steps"] is None:
        return entry
    case = golden.load(case_of(entry))
    outputs = complete(case).outputs
    projections = {}
    for tensor in golden.spec.outputs:
        if tensor.step_axis is None:
            continue
        value: Array = outputs[tensor.name]
        squash = 8 * max(float(np.abs(value).max(initial=0.0)), 1e-30)
        sums = projected(tensor, value, squash)
        noise = case.noise_floor[tensor.name] * (value.size / max(sums.size, 1)) ** 0.5
        if not drowns(noise, float(np.abs(sums).max(initial=0.0))):
            tensors[key(case.case, "projection", tensor.name)] = sums
            figures = {"squash": squash, "noise": noise}
            projections[tensor.name] = {"sha256": sha256(sums), **figures}
    return {**entry, "projections": projections}
