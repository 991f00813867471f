"""Two reports: which cells fail now, which pass again, and whose errors grew."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.comparing.change import Change, Word
from harness.core.results import CaseResult, CellResult, OutputComparison, Report, Status
from harness.core.summary import count

ALWAYS = 0.1
"""An error up to this part of its tolerance is none that grew."""
RANKS = {Status.PASS: 0, Status.XPASS: 0, Status.XFAIL: 1, Status.UNAVAILABLE: 2}
"""How far a status is from a pass; all others are farther."""
WORST = 3
Key = tuple[str, str, str]


@dataclass(frozen=True)
class _Grown:
    """An output whose error ÷ tolerance is ``factor`` times the one before."""

    factor: float
    key: Key
    before: float
    after: float

    @property
    def text(self) -> str:
        case, relation, output = self.key
        at = f"{case}, {relation}" if relation else case
        how = f" ({self.factor:.3g} times)" if self.factor < float("inf") else ""
        return f"{output} at {at}: {self.before:.3g} → {self.after:.3g} of the tolerance{how}"


def changes(before: Report, after: Report, budget: float) -> Iterator[Change]:
    """Yield what became of each cell; an error may become ``budget`` times as large."""
    first, second = _by_id(before.results), _by_id(after.results)
    for key, result in first.items():
        if key in second:
            yield _change(result, second[key], budget)
        else:
            reason = f"{result.status} before, not judged now"
            yield Change(result.cell.id, Word.MISSING, reason, _worst(result))
    for key, result in second.items():
        if key not in first:
            fails = _rank(result) >= WORST
            word, reason = (Word.NEWLY_FAILING, _why(result)) if fails else (Word.ADDED, "")
            yield Change(result.cell.id, word, reason, None, _worst(result))


def _by_id(results: Sequence[CellResult]) -> dict[tuple[str, int], CellResult]:
    """Return cells by their ids, and by how many of the same id came before."""
    seen: Counter[str] = Counter()
    by_id = {}
    for result in results:
        by_id[result.cell.id, seen[result.cell.id]] = result
        seen[result.cell.id] += 1
    return by_id


def _change(before: CellResult, after: CellResult, budget: float) -> Change:
    cell, worst = after.cell.id, (_worst(before), _worst(after))
    first, second = _ratios(before.cases), _ratios(after.cases)
    common = len(first.keys() & second.keys())
    if _rank(after) > _rank(before):
        return Change(cell, Word.NEWLY_FAILING, _why(after), *worst, common)
    if _rank(after) < _rank(before):
        reason = f"{before.status} before, {after.status} now"
        return Change(cell, Word.MENDED, reason, *worst, common)
    if lost := first.keys() - second.keys():
        reason = f"{count(len(lost), 'comparison')} less than before, as {', '.join(min(lost))}"
        return Change(cell, Word.MISSING, reason, *worst, common)
    if broken := _passing(before.cases) - _passing(after.cases):
        reason = f"{count(len(broken), 'case')} fail that passed before, as {min(broken)}"
        return Change(cell, Word.WORSE, reason, *worst, common)
    grown = _grown(first, second)
    if grown and grown[0].factor > budget:
        number = sum(one.factor > budget for one in grown)
        more = f", and {count(number - 1, 'output')} more" if number > 1 else ""
        return Change(cell, Word.WORSE, grown[0].text + more, *worst, common)
    fallen = _grown(second, first)
    if fallen and fallen[0].factor > budget:
        one = fallen[0]
        shrunk = _Grown(float("inf"), one.key, one.after, one.before)
        return Change(cell, Word.BETTER, shrunk.text, *worst, common)
    return Change(cell, Word.SAME, "", *worst, common)


def _rank(result: CellResult) -> int:
    return RANKS.get(result.status, WORST)


def _why(result: CellResult) -> str:
    reason = f": {result.reason}" if result.reason else ""
    return f"{result.status} at {result.stage}{reason}"


def _ratios(cases: Sequence[CaseResult]) -> dict[Key, float]:
    """Return error ÷ tolerance of every output, infinite where it fails by more than its size."""
    return {
        (_case(case), case.relation, output.name): _ratio(output)
        for case in cases
        for output in case.outputs
    }


def _passing(cases: Sequence[CaseResult]) -> set[str]:
    return {
        ", ".join(filter(None, (_case(case), case.relation)))
        for case in cases
        if case.status is Status.PASS
    }


def _case(result: CaseResult) -> str:
    return result.case.id + (", run again" if result.case.repeat else "")


def _ratio(output: OutputComparison) -> float:
    return float("inf") if output.reason and output.ratio <= 1 else output.ratio


def _grown(before: Mapping[Key, float], after: Mapping[Key, float]) -> list[_Grown]:
    """Return the outputs whose error grew and is one to speak of, the farthest first."""
    grown = [
        _Grown(ratio / max(before[key], ALWAYS), key, before[key], ratio)
        for key, ratio in after.items()
        if key in before and ratio > ALWAYS and ratio > before[key]
    ]
    return sorted(grown, key=lambda one: -one.factor)


def _worst(result: CellResult) -> float | None:
    """Return the largest error ÷ tolerance of a cell; None where nothing was compared."""
    place = result.tally.worst
    return result.cases[place[0]].outputs[place[1]].ratio if place else None
