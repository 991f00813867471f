"""``report.json``: the report's contract, schema 1.

It holds the fields of the report's dataclasses by their names, but a cell as its id, and a case's
own fields beside those of its result.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from msgspec.structs import asdict

from harness.core.errors import UsageError
from harness.core.files import written
from harness.core.names import visible
from harness.core.reading import parse_json
from harness.core.results import CaseResult, Cell, CellResult, OutputComparison, Report
from harness.core.results import counts as counted
from harness.core.schema import case_text
from harness.reports import consistent
from harness.reports.forms import SCHEMA, Forms, checked, encode, encoder
from harness.reports.scanning import Scanner, Source
from harness.reports.stored import EvidenceText, Places, StoredCases, object_without
from harness.typed_json import plain, typed

NAME = "report.json"
BYTES = 2**33
"""More than a report of ten million comparisons, of which one case is held at a time."""


def dumps(report: Report) -> str:
    """Return the report as strict JSON (no NaN or infinity), one line an entry and case."""
    return "".join(_texts(report))


def write(report: Report, folder: Path) -> Path:
    """Write ``report.json`` into ``folder``, whole or not at all."""
    return written(folder / NAME, (text.encode() for text in _texts(report, "\n")))


def _texts(report: Report, end: str = "") -> Iterator[str]:
    """Yield the report's JSON, a field or a case at a time."""
    entries = {f.name: getattr(report, f.name) for f in fields(Report) if f.name != "results"}
    if not report.partial:
        del entries["partial"]
    separator = "{\n"
    for name, value in {"schema": SCHEMA, **entries, "summary": report.summary}.items():
        yield f"{separator}{encode(name)}: {encode(plain(value))}"
        separator = ",\n"
    yield f"{separator}{encode('results')}: "
    line = encoder(OutputComparison)
    yield from _list(_cell_texts(result, line) for result in report.results)
    yield "\n}" + end


def _cell_texts(result: CellResult, line: Callable[[CaseResult], str]) -> Iterator[str]:
    yield f"{{\n{encode('id')}: {encode(result.cell.id)}"
    for name in (field.name for field in fields(CellResult) if field.name != "cell"):
        yield f",\n{encode(name)}: "
        if name == "cases":
            yield from _list([line(case)] for case in result.cases)
        else:
            value = getattr(result, name)
            yield encode(round(value, 6) if name == "seconds" else plain(value))
    yield "\n}"


def _list(elements: Iterable[Iterable[str]]) -> Iterator[str]:
    separator = "[\n"
    for element in elements:
        yield separator
        yield from element
        separator = ",\n"
    yield "[\n\n]" if separator == "[\n" else "\n]"


def read(path: Path) -> Report:
    """Return the report in a file, whose cases stay there and are read as they are needed.

    UsageError, in one line, where none can be read, or where it contradicts itself.
    """
    return _Reader(path).report()


class _Reader:
    """Goes once through a file, and every case in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._shown = visible(str(path))
        self._forms = Forms(OutputComparison)
        source = Source(path, BYTES)
        self._scanner = Scanner(source)
        self._places = Places(source, self._forms.decode)
        self._results: list[CellResult] = []
        self._comparisons = 0
        self._wrong: UsageError | None = None

    def report(self) -> Report:
        if self._scanner.peek() == b"{":
            text = object_without(self._scanner, "results", self._take_results)
            self._scanner.end()
        else:
            text = self._scanner.value()
        data = parse_json(text, self._path)
        if not isinstance(data, dict) or data.get("schema") != SCHEMA or "results" not in data:
            raise UsageError(f"{self._shown} is no report: expected report.json of schema {SCHEMA}")
        content = asdict(typed(data, self._forms.report, f"{self._shown} is no whole report"))
        if self._wrong is not None:
            raise self._wrong
        del content["schema"]
        if content.pop("summary") != counted(self._results, self._comparisons):
            raise UsageError(
                f"{self._shown} is no whole report: its summary does not count its results"
            )
        return Report(**{**content, "results": tuple(self._results)})

    def _take_results(self) -> None:
        """Take every cell; what is wrong with the first such one is raised once it is a report."""
        for number in self._scanner.elements():
            first = len(self._places.starts)
            if self._scanner.peek() == b"{":
                text = object_without(self._scanner, "cases", self._take_cases)
            else:
                text = self._scanner.value()
            cases = StoredCases(self._places, first, len(self._places.starts))
            if self._wrong is None:
                try:
                    self._results.append(self._cell(text, cases, f"results[{number}]"))
                except UsageError as error:
                    self._wrong = error

    def _take_cases(self) -> None:
        self._places.scan(self._scanner)

    def _cell(self, text: bytes, cases: StoredCases, place: str) -> CellResult:
        entries = asdict(checked(text, self._forms.cell, self._path, place))
        cell = Cell(*map(sys.intern, entries.pop("id").split("/")))
        evidence = EvidenceText(encode(entries["evidence"]).encode())
        result = CellResult(cell, **{**entries, "evidence": evidence, "cases": cases})
        by_status: Counter[Any] = Counter()
        for number, case in enumerate(cases.texts()):
            entry = self._forms.strictly(case, self._path, f"{place}.cases[{number}]")
            by_status[entry.status] += 1
            self._comparisons += len(entry.outputs)
            if wrong := consistent.of_case(entry, entry):
                raise self._contradiction(cell, f"{case_text(entry)}: {wrong}")
        if wrong := consistent.of_cell(result, by_status):
            raise self._contradiction(cell, wrong)
        return result

    def _contradiction(self, cell: Cell, what: str) -> UsageError:
        return UsageError(f"{self._shown} contradicts itself: {visible(cell.id)}: {visible(what)}")
