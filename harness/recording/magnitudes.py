"""The float32 errors of a reference model's cases, and those of rare values by their magnitude."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

import numpy as np

from harness.core.bands import Bands, merged
from harness.core.errors import GoldenError
from harness.goldens import store
from harness.goldens.manifest import sha256

RARE = 1000.0
"""A feature that is never larger than so many times the noise: its errors count by magnitude."""


@dataclass
class Errors:
    """The largest float32 error of each output of a case, and those by the values' magnitude."""

    noise: dict[str, float]
    by_band: dict[str, Bands] = field(default_factory=dict)

    def add(self, other: Errors) -> None:
        """Take in the errors of other runs."""
        for name, error in other.noise.items():
            self.noise[name] = max(error, self.noise.get(name, 0.0))
        for name, found in other.by_band.items():
            self.by_band[name] = merged([self.by_band.get(name, {}), found])

    def of(self, case: store.RecordedCase) -> store.RecordedCase:
        return replace(case, noise=self.noise, bands=self.by_band)


def rare(recorded: Sequence[store.RecordedCase]) -> set[str]:
    """Return the outputs with a feature, as a rare class, that is never much larger than noise."""
    found = set()
    for name, value in recorded[0].outputs.items() if recorded else ():
        shapes = {case.outputs[name].shape[-1:] for case in recorded}
        if value.dtype.kind == "f" and value.ndim and len(shapes) == 1:
            largest = [
                np.abs(case.outputs[name]).reshape(-1, value.shape[-1]).max(axis=0, initial=0.0)
                for case in recorded
            ]
            noise = median(case.noise[name] for case in recorded)
            if np.min(np.max(largest, axis=0)) < RARE * noise:
                found.add(name)
    return found


def of_rare(recorded: Sequence[store.RecordedCase]) -> list[store.RecordedCase]:
    """Return cases with the errors by magnitude of those outputs alone that need them."""
    names = rare(recorded)
    return [
        replace(case, bands={n: found for n, found in case.bands.items() if n in names})
        for case in recorded
    ]


def earlier(folder: Path, recorded: Sequence[store.RecordedCase]) -> tuple[list[Errors], int]:
    """Return the errors that the golden in ``folder`` has for each case, and its number of runs.

    A case has none unless its outputs are bit for bit the same: then the float32 runs, perhaps on
    another machine, were of the same computation.
    """
    try:
        stored = store.read(folder)
    except GoldenError:
        return [Errors({}) for _ in recorded], 0
    entries = {case.id: entry for case, entry in stored.entries()}
    known_errors: list[Errors] = []
    for case in recorded:
        entry = entries.get(case.case.id, {"outputs": {}})
        known = {name: about["sha256"] for name, about in entry["outputs"].items()}
        if known == {name: sha256(value) for name, value in case.outputs.items()}:
            noise = {name: float(about["noise"]) for name, about in entry["outputs"].items()}
            known_errors.append(Errors(noise, store.bands(entry)))
        else:
            known_errors.append(Errors({}))
    some = any(errors.noise for errors in known_errors)
    return known_errors, int(stored.manifest["float32_runs"]) if some else 0
