"""Whether a missed mutant computes anything else, decided by exact arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from harness.core.errors import StageError
from harness.core.schema import Array, Arrays, Case, ModelSpec, Raggedness, Runtime, Session
from harness.core.tolerance import largest_finite
from reference_models import cases

Wrap = Callable[[Session], Session]
EQUAL = 1e-12
LENGTH = 129
"""The greatest length at which every golden case is evaluated; beyond it, the longest is."""
FRESH = ((1, 1), (1, 4), (2, 2), (3, 3), (4, 1), (5, 5), (6, 3), (7, 7), (9, 4), (21, 2))
"""Lengths and batches at which new inputs are drawn: a mutant may depart only away from the golden
cases."""
SEED = 4_000_037


def fresh(spec: ModelSpec) -> Iterator[tuple[str, Arrays]]:
    """Yield inputs that are in no golden, each with a name, of every raggedness of ``spec``."""
    for number, (length, batch) in enumerate(FRESH):
        lengths = {axis: length + 2 * place for place, axis in enumerate(spec.axes)}
        for kind in spec.raggedness if length > 2 else [Raggedness.NONE]:
            for sizes in (lengths, dict.fromkeys(lengths, length)):
                case = Case(spec.fitted(sizes), batch, kind)
                yield f"fresh-{case.id}", cases.drawn(spec, case, SEED + number)[1]


class Referee:
    """Compares a mutant with the model at ``path``, from which it was made, in float64.

    A changed session, which has no other graph, is compared in the runtime's own float32. ``unit``
    returns the noise floor of an output at given inputs.
    """

    def __init__(
        self, path: Path, runtime: Runtime, oracle: Runtime, unit: Callable[[str, Arrays], float]
    ) -> None:
        self._path, self._runtime, self._oracle, self._unit = path, runtime, oracle, unit
        self._originals: dict[tuple[bool, str], dict[str, Array]] = {}

    def effect(
        self, path: Path, wrap: Wrap | None, inputs: Iterable[tuple[str, Arrays]]
    ) -> tuple[float | None, str]:
        """Return the largest departure of an output over ``inputs``, in noise floors, and in words.

        It is 0 where every output is the same to 1e-12 of its scale, and None where the graph
        cannot be evaluated in float64, or an output is missing, of another shape, or not finite
        where the original's is.
        """
        judge = self._runtime if wrap else self._oracle
        try:
            original = judge.prepare(str(self._path))
            session = judge.prepare(str(path))
            session = wrap(session) if wrap else session
            largest = max(
                self._departure(session, self._original(original, bool(wrap), *case), case[1])
                for case in inputs
            )
        except StageError as error:
            return None, f"not evaluated in float64: {error}"
        if largest == math.inf:
            return None, "an output is missing, of another shape or not finite in exact arithmetic"
        if largest == 0:
            return 0.0, "the same in exact arithmetic"
        return largest, f"moves an output by {largest:.2g} noise floors in exact arithmetic"

    def _original(
        self, session: Session, plain: bool, case: str, inputs: Arrays
    ) -> dict[str, Array]:
        if (plain, case) not in self._originals:
            self._originals[plain, case] = dict(session.run(inputs))
        return self._originals[plain, case]

    def _departure(self, session: Session, expected: dict[str, Array], inputs: Arrays) -> float:
        """Return the largest departure of an output; infinite where two cannot be subtracted."""
        outputs = dict(session.run(inputs))
        largest = 0.0
        for name, exact in expected.items():
            actual = outputs.get(name)
            if actual is None or actual.shape != exact.shape:
                return math.inf
            apart = ~((actual == exact) | (np.isnan(actual) & np.isnan(exact)))
            with np.errstate(invalid="ignore", over="ignore"):
                moved = float(np.abs(actual[apart] - exact[apart]).max(initial=0.0))
            if not math.isfinite(moved):
                return math.inf
            if moved > EQUAL * largest_finite(exact):
                largest = max(largest, moved / self._unit(name, inputs))
        return largest
