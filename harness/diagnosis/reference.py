"""Expected outputs at any case, and where they come from."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from harness.core.errors import HarnessError
from harness.core.schema import Arrays, Case, GoldenCase
from harness.diagnosis.values import Exact
from harness.goldens.store import Golden
from harness.graphs.view import Net
from reference_models import cases, catalog, every_step

STORED = "the golden's stored cases and steps alone"


@dataclass(frozen=True)
class Reference:
    """A golden, and what derives the outputs of any inputs, if anything does, by its ``source``.

    ``complete`` takes a case whose outputs do not count and returns it with all of them.
    """

    golden: Golden
    complete: Callable[[GoldenCase], GoldenCase] | None = None
    source: str = STORED

    def case(self, case: Case) -> GoldenCase:
        """Return a golden case, or a new one, with every step where that can be derived.

        KeyError for a new one where it cannot.
        """
        if case.id in {stored_case.id for stored_case in self.golden.cases}:
            stored = self.golden.load(case)
            if self.complete is None or stored.steps is None:
                return stored
            return self.complete(stored)
        if self.complete is None:
            raise KeyError(case.id)
        return self.complete(self._drawn(case))

    def _drawn(self, case: Case) -> GoldenCase:
        """Return new inputs, the same ones for the same case."""
        spec, usual = self.golden.spec, self.golden.usual
        inputs = cases.drawn(spec, case, zlib.crc32(case.id.encode()))[1]
        floors = {t.name: usual.noise_floor(t.name, case.lengths) for t in spec.outputs}
        scales = {t.name: usual.scale(t.name, case.lengths) for t in spec.outputs}
        bands = usual.band_floors(case.lengths)
        return GoldenCase(case, inputs, {}, None, floors, scales, band_floors=bands)


def of(golden: Golden) -> Reference:
    """Return the reference by the model's NumPy oracle, where the catalog and the weights are."""
    name = golden.spec.name
    try:
        ours = name in catalog.MODELS and catalog.load(name) == golden.spec
        if not ours or not golden.has_weights:
            return Reference(golden)
        complete = every_step.of(golden)
    except HarnessError:
        return Reference(golden)
    return Reference(golden, complete, "the model's NumPy oracle with the golden's weights")


def by_graph(golden: Golden, net: Net, name: str) -> Reference:
    """Return the reference by a graph, evaluated in float64, that meets the golden."""
    exact = Exact(net)

    def complete(case: GoldenCase) -> GoldenCase:
        values, failed = exact.all(case.inputs)
        if failed:
            raise KeyError(case.case.id)
        outputs: Arrays = {t.name: np.asarray(values[t.name]) for t in golden.spec.outputs}
        return replace(case, outputs=outputs, steps=None, projections={})

    return Reference(golden, complete, f"{name} in float64")
