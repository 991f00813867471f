"""Inputs at which the decisions of an exported graph are taken both ways, as far as any are found.

ONNX Runtime counts the decisions in a copy of the graph: over the cases, until all are taken both
ways; then over inputs that are made to reach what was not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from harness.core.errors import StageError
from harness.core.schema import (
    Arrays,
    Case,
    ModelSpec,
    Progress,
    Raggedness,
    RowLengths,
    Session,
    TensorSpec,
)
from harness.core.temporary import temporary_folder
from harness.goldens.formulas import Formula
from harness.graphs.decisions import MARGINS
from harness.recording.cases import KINDS, LENGTHS, bounded, free_axes, ragged
from harness.recording.measured import Measured
from harness.recording.values import Feed, ends, fed, integers
from harness.runtimes.decisions import Found, counted
from reference_models.cases import formulas, seed_of

TRIES = 64
"""Inputs that are made to reach a decision, at most."""
SECONDS = 3.0
"""After so long no more are made."""
ROWS = 64
"""The rows of such inputs: each differs from the others."""
STEPS = (5, 12, 1, 33, 2, 8, 20)
BEYOND = (300, 513)
"""Lengths of such inputs, and some that no other case has, which come seldom."""
DRAW = 1000
"""The first number of a draw that is made so."""
NEAREST = 8
"""Inputs that are kept because they miss a decision by the least, at most."""
WAYS = ("corners", "bands", "ends", "small", "upper", "lower", "low", "high", "drawn")
"""What the values are made: each row alike, of a part of the range, its ends, near its middle."""


def search(
    model: onnx.ModelProto,
    spec: ModelSpec,
    results: Sequence[Measured],
    lengths: Sequence[int],
    progress: Progress,
) -> tuple[list[Feed], Found]:
    """Return inputs that take decisions of a graph as the cases do not, and what is then known.

    Where a decision is taken one way alone, they have one that misses the other by the least.
    """
    with temporary_folder() as folder:
        session, found = counted(model, folder)
        if session is None:
            return [], found
        watch = _Watch(session, found)
        progress(f"{spec.name}: decisions of the graph")
        for result in results:
            if found.never.any():
                watch.take(result.inputs)
        if not found.counts.any():
            return [], Found(why=watch.refusal)
        maker = _Maker(spec, results, lengths)
        feeds, started = [], time.perf_counter()
        while found.tries < TRIES and found.never.any():
            if time.perf_counter() - started > SECONDS:
                break
            ways = watch.best_ways() if found.tries >= len(WAYS) and found.tries % 2 else None
            ways = ways or maker.ways(found.tries)
            feed = maker.feed(found.tries, ways)
            found.tries += 1
            if watch.take(feed.inputs, feed, ways):
                feeds.append(feed)
        return [*feeds, *watch.nearest(feeds)], found


Ways = tuple[str, ...]


class _Watch:
    """Runs the counting copy of a graph, and keeps what misses each decision by the least."""

    def __init__(self, session: Session, found: Found) -> None:
        self._session, self._found = session, found
        self._measured = [n for n, decision in enumerate(found.decisions) if decision.margin]
        self._margins = np.full((len(self._measured), 2), -np.inf)
        self._kept: dict[tuple[int, int], tuple[Feed, Ways]] = {}
        self.refusal = ""

    def take(self, inputs: Arrays, feed: Feed | None = None, ways: Ways = ()) -> bool:
        """Count what these inputs take; return whether they take a decision anew."""
        before = self._found.never
        try:
            outputs = dict(self._session.run(inputs))
        except StageError as error:
            self.refusal = str(error)
            return False
        self._found.add(outputs)
        margins = outputs[MARGINS].reshape(-1, 2)
        nearer = margins > self._margins
        self._margins = np.where(nearer, margins, self._margins)
        for row, column in np.argwhere(nearer).tolist():
            self._kept.pop((row, column), None)
            if feed is not None:
                self._kept[row, column] = feed, ways
        return bool((before & ~self._found.never).any())

    def best_ways(self) -> Ways | None:
        """Return how the inputs were made that miss the last open decision by the least."""
        return next((ways for _, ways in reversed(self._open())), None)

    def nearest(self, others: Sequence[Feed]) -> list[Feed]:
        """Return the inputs that miss an open decision by the least, but ``others``."""
        ids = {feed.case.id for feed in others}
        kept = {feed.case.id: feed for feed, _ in self._open() if feed.case.id not in ids}
        return list(kept.values())[:NEAREST]

    def _open(self) -> list[tuple[Feed, Ways]]:
        never = self._found.never[self._measured]
        return [kept for (row, column), kept in self._kept.items() if never[row, column]]


class _Maker:
    """Makes inputs at sizes and paddings that cases have, their values not drawn alike."""

    def __init__(
        self, spec: ModelSpec, results: Sequence[Measured], lengths: Sequence[int]
    ) -> None:
        self._spec, self._axes = spec, free_axes(spec)
        self._usual = tuple(lengths) == LENGTHS
        few = [n for n in lengths if n <= max(STEPS)] or [min(lengths)]
        self._steps = STEPS if self._usual else few
        self._rows = min(max(result.case.batch for result in results), ROWS)
        seen = {(result.case.raggedness, result.case.rows) for result in results}
        none = (Raggedness.NONE, RowLengths.FIRST)
        self._kinds = [kind for kind in KINDS if kind in seen] or [none]

    def ways(self, number: int) -> Ways:
        """Return what is done to each input, in turn all alike and each another way."""
        turn, others = number, number // len(WAYS)
        return tuple(WAYS[(turn + n * others) % len(WAYS)] for n in range(len(self._spec.inputs)))

    def feed(self, number: int, ways: Ways) -> Feed:
        spec = self._spec
        length, rows = self._steps[number % len(self._steps)], self._rows
        if self._usual and number % 16 == 15:
            length, rows = BEYOND[number // 16 % 2], min(rows, 2)
        lengths = spec.fitted(dict.fromkeys(self._axes, length))
        case = bounded(spec, Case(lengths, rows, draw=DRAW + number))
        if spec.ragged:
            case = ragged(case, spec.ragged, *self._kinds[number % len(self._kinds)])
        drawn = formulas(spec, case, seed_of(f"{spec.name}/{case.id}"))
        made: Mapping[str, Formula] = {
            tensor.name: _changed(spec, tensor, drawn[tensor.name], way)
            for tensor, way in zip(spec.inputs, ways, strict=True)
        }
        return fed(spec, case, made)


def _changed(spec: ModelSpec, tensor: TensorSpec, formula: Formula, way: str) -> Formula:
    """Return the formula of an input's values, made as ``way`` says within its range."""
    if "low" not in formula or tensor.dtype == "bool" or way == "drawn":
        return formula
    if way in ("corners", "bands"):
        return {**formula, "spread": way}
    if way == "ends":
        possible = ends(spec, tensor)
        return {**formula, "ends": possible} if possible else formula
    low, high = formula["low"], formula["high"]
    least = 1 if tensor in integers(spec) else 0
    middle = 0.0 if low < 0 < high else low + (high - low) // 2 if least else (low + high) / 2
    narrow = max((high - low) / 1000, least)
    start, stop = {
        "small": (middle, min(middle + 10 * narrow, high)),
        "upper": (middle, high),
        "lower": (low, max(middle, low + least)),
        "low": (low, low + narrow),
        "high": (high - narrow, high),
    }[way]
    if least:
        start, stop = float(int(start)), float(int(stop))
    return {**formula, "low": start, "high": stop}
