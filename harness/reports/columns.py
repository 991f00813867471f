"""What a page shows of a report as JSON: a cell's cases by column, and each text once.

It comes in parts, a cell at a time, and has nothing that HTML takes for a mark.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import nlargest
from typing import Any

import numpy as np

from harness.core.along import STRETCHES, Along
from harness.core.names import visible
from harness.core.results import CaseResult, CellResult, OutputComparison, Report, Status
from harness.core.schema import Case
from harness.reports import weights
from harness.reports.forms import encode
from harness.typed_json import plain

COMPARISONS = 150_000
"""The most that a page holds; of each cell the worst, in their order."""
POINTS = 4_800_000
"""The most stretches of time, over all comparisons; ``FEWEST`` of one at least."""
FEWEST = 8
DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+-"
"""Two of these are one ratio along time: 0, 4095 for none, else 2048 + 300 * its log10."""
Diagnosis = Callable[[CellResult], list[str]]
_MARKS = str.maketrans({"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"})
_FIGURES = ("max_abs", "max_rel", "noise_floor", "tolerance", "ratio")
_AS_THEY_ARE = ("max_ulp", "worst_index", "worst_step", "steps", "steps_compared")


class Texts:
    """Values that many cells share, each once, by the number that stands for it."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}
        self._of_text: dict[str, int] = {}

    def number(self, value: Any) -> int:
        if not isinstance(value, str):
            return self._number(plain(value))
        if value not in self._of_text:
            self._of_text[value] = self._number(value)
        return self._of_text[value]

    def _number(self, value: Any) -> int:
        return self.numbers.setdefault(encode(shown(value)), len(self.numbers))


def parts(report: Report, diagnosis: Diagnosis) -> Iterator[str]:
    """Yield the JSON of every cell of a report, with the lines of its diagnosis."""
    comparisons = report.comparisons
    share = min(1.0, COMPARISONS / max(comparisons, 1))
    points = STRETCHES
    while points > FEWEST and points * min(comparisons, COMPARISONS) > POINTS:
        points //= 2
    texts, codes = Texts(), _Codes()
    yield '{"cells":['
    for number, result in enumerate(report.results):
        entries = _cell(result, share, points, texts, codes)
        text = encode({**entries, "diagnosis": texts.number(diagnosis(result))})
        yield f"{',' if number else ''}\n{text}".translate(_MARKS)
    yield '],\n"texts":['
    yield ",\n".join(texts.numbers).translate(_MARKS)
    yield "]}"


def shown(value: Any) -> Any:
    """Return JSON of which every text, and every key, is printable."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {visible(name): shown(each) for name, each in value.items()}
    return [shown(each) for each in value] if isinstance(value, list) else value


def _cell(
    result: CellResult, share: float, points: int, texts: Texts, codes: _Codes
) -> dict[str, Any]:
    """Return a cell, of whose cases one is held at a time."""
    lengths, of_cases, outputs = _Table(), _Table(), dict[str, _Table]()
    for number, each in enumerate(_worst(result.cases, share)):
        lengths.put(number, each.case.lengths)
        about = {
            "batch": each.case.batch,
            "kind": texts.number(_kind(each.case, each.relation)),
            "status_of": texts.number(each.status),
            "why": texts.number(_why(each)),
        }
        of_cases.put(number, about)
        for output in each.outputs:
            figures: dict[str, Any] = {name: _short(getattr(output, name)) for name in _FIGURES}
            figures |= {name: getattr(output, name) for name in _AS_THEY_ARE}
            figures["by_step"] = codes.text(_fewer(output, points))
            outputs.setdefault(output.name, _Table()).put(number, figures)
    count = len(of_cases.columns.get("batch", ()))
    return {
        "id": shown(list(vars(result.cell).values())),
        "status": result.status.value,
        "stage": result.stage.value,
        "reason": texts.number(result.reason),
        "replay": visible(result.replay),
        "seconds": round(result.seconds, 3),
        "weights": texts.number(weights.line(result.evidence.get("account"))),
        "evidence": {visible(name): texts.number(v) for name, v in result.evidence.items()},
        "of": len(result.cases),
        "axes": shown(list(lengths.columns)),
        "lengths": list(lengths.whole(count).values()),
        **{name: [] for name in ("batch", "kind", "status_of", "why")},
        **of_cases.whole(count),
        "outputs": [{"name": visible(n), **table.whole(count)} for n, table in outputs.items()],
    }


class _Table:
    """Columns of values by the number of a case; None where a case has none."""

    def __init__(self) -> None:
        self.columns: dict[str, list[Any]] = {}

    def put(self, number: int, values: Mapping[str, Any]) -> None:
        """Put values of a case that comes after all others; a second time, they are left out."""
        for name, value in values.items():
            column = self.columns.setdefault(name, [])
            if len(column) <= number:
                column += [None] * (number - len(column))
                column.append(value)

    def whole(self, count: int) -> dict[str, list[Any]]:
        """Return every column, of so many cases."""
        return {name: [*c, *[None] * (count - len(c))] for name, c in self.columns.items()}


def _worst(cases: Sequence[CaseResult], share: float) -> Iterator[CaseResult]:
    """Yield a share of the cases, in their order: those that fail, then those farthest out."""
    if share == 1.0:
        yield from cases
        return
    badness = (
        (each.status is not Status.PASS, max((o.ratio for o in each.outputs), default=0.0), -number)
        for number, each in enumerate(cases)
    )
    kept = {-number for *_, number in nlargest(math.ceil(len(cases) * share), badness)}
    yield from (each for number, each in enumerate(cases) if number in kept)


def _kind(case: Case, relation: str) -> str:
    """Return how a case differs from others of its lengths and batch, in words."""
    words = [
        "" if case.padding == "none" else f"{case.padding} padding",
        f"draw {case.draw}" if case.draw else "",
        "again" if case.repeat else "",
        f"relation {relation}" if relation else "",
    ]
    return ", ".join(filter(None, words))


def _why(result: CaseResult) -> str:
    """Return why a case fails, where its figures do not tell."""
    told = any(output.reason.startswith("error ") for output in result.outputs)
    return f"{result.stage}: {result.reason}" if result.reason and not told else ""


def _short(figure: float) -> float:
    return min(float(f"{figure:.3g}"), sys.float_info.max)


def _fewer(output: OutputComparison, points: int) -> Along:
    """Return the ratios along time in ``points`` stretches at most, the largest of each."""
    along = output.by_step
    count = len(along)
    if count <= points:
        return along
    starts = np.arange(points) * count // points
    largest = np.fmax.reduceat(np.array(along, np.float64), starts)
    return tuple(None if ratio != ratio else ratio for ratio in largest.tolist())


class _Codes(dict[float | None, str]):
    """The two digits of each ratio that has occurred."""

    def __missing__(self, ratio: float | None) -> str:
        level = 4095 if ratio is None else 0
        if ratio:
            level = min(max(round(2048 + 300 * math.log10(ratio)), 1), 4094)
        self[ratio] = code = DIGITS[level // 64] + DIGITS[level % 64]
        return code

    def text(self, along: Along) -> str:
        return "".join(map(self.__getitem__, along))
