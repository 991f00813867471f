"""What is expected at any case: where the complete outputs come from."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from harness.core.errors import HarnessError
from harness.core.schema import Arrays, Case, GoldenCase, ModelSpec
from harness.diagnosis.values import Exact
from harness.goldens.formulas import evaluate
from harness.goldens.store import Golden
from harness.graphs.view import Net
from reference_models import cases, catalog, every_step

STORED = "the golden's stored cases and steps alone"


@dataclass(frozen=True)
class Reference:
    """A golden, and what derives the outputs of any inputs, if anything does; ``told`` says what.

    ``complete`` takes a case whose outputs do not count and gives it with all of them.
    """

    golden: Golden
    complete: Callable[[GoldenCase], GoldenCase] | None = None
    told: str = STORED

    def case(self, case: Case) -> GoldenCase:
        """A golden case, or a new one, with every step where that can be derived.

        KeyError for a new one where it cannot.
        """
        if any(case.id == known.id for known in self.golden.cases):
            stored = self.golden.load(case)
            if self.complete is None or stored.steps is None:
                return stored
            return self.complete(stored)
        if self.complete is None:
            raise KeyError(case.id)
        return self.complete(self._drawn(case))

    def _drawn(self, case: Case) -> GoldenCase:
        """New inputs, the same ones for the same case."""
        spec, usual = self.golden.spec, self.golden.usual
        formulas = cases.formulas(spec, case, zlib.crc32(case.id.encode()))
        inputs = {
            t.name: evaluate(formulas[t.name], t.shape(case.batch, case.lengths), t.dtype)
            for t in spec.inputs
        }
        floors = {t.name: usual.noise_floor(t.name, case.lengths) for t in spec.outputs}
        scales = {t.name: usual.scale(t.name, case.lengths) for t in spec.outputs}
        return GoldenCase(case, inputs, {}, None, floors, scales)


def of(golden: Golden) -> Reference:
    """By the model's NumPy oracle, where the catalog has it and the weights are stored."""
    name = golden.spec.name
    try:
        known = name in catalog.MODELS and catalog.load(name) == golden.spec
        if not known or not golden.has_weights:
            return Reference(golden)
        complete = every_step.of(golden)
    except HarnessError:
        return Reference(golden)
    return Reference(golden, complete, "the model's NumPy oracle with the golden's weights")


@dataclass(frozen=True)
class ByGraph:
    """Derives outputs by a graph in float64."""

    spec: ModelSpec
    exact: Exact

    def __call__(self, case: GoldenCase) -> GoldenCase:
        values, failed = self.exact.all(case.inputs)
        if failed:
            raise KeyError(case.case.id)
        outputs: Arrays = {t.name: np.asarray(values[t.name]) for t in self.spec.outputs}
        return replace(case, outputs=outputs, steps=None)


def by_graph(golden: Golden, net: Net, called: str) -> Reference:
    """By a graph that computes what the golden holds."""
    return Reference(golden, ByGraph(golden.spec, Exact(net)), f"{called} in float64")
