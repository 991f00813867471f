"""The objects in a report's JSON: their types, from the dataclasses; a case to JSON and back."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from operator import attrgetter
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal, get_type_hints

from msgspec import Meta, MsgspecError
from msgspec.json import Decoder

from harness.core.errors import UsageError
from harness.core.names import visible
from harness.core.reading import parse_json
from harness.core.results import CaseResult, Cell, CellResult, OutputComparison, Report, counts
from harness.core.schema import Case, RowLengths
from harness.typed_json import Magnitude, Size, form, plain, typed

SCHEMA = 1
SELDOM: dict[str, Any] = {"by_step": ()}
"""What an output may lack, and is not written where it is just that."""
CellId = Annotated[str, Meta(pattern=rf"^[^/]+(/[^/]+){{{len(fields(Cell)) - 1}}}$")]

encode = json.JSONEncoder(allow_nan=False, default=plain).encode


class Forms:
    """The types of a report without its results, of a cell without its cases, and of a case.

    ``output`` is the dataclass of an output.
    """

    def __init__(self, output: type[OutputComparison]) -> None:
        case, result, cell, report = map(get_type_hints, (Case, CaseResult, CellResult, Report))
        del result["case"], cell["cell"]
        document = {"schema": Literal[SCHEMA], "summary": dict[str, int], "results": list}
        self.report = form("Report", {**report, **document}, partial=False)
        self.cell = form("Cell", {"id": CellId, **cell, "cases": list})
        flat, outputs = {**case, **result}, get_type_hints(output)
        each = GenericAlias(list, form("Output", outputs, **SELDOM))
        optional: dict[str, Any] = {"draw": 0, "rows": RowLengths.FIRST}
        self.case = form("Case", {**flat, "outputs": each}, **optional)
        self._strict = Decoder(self.case)
        self._keys, self._output_keys = len(flat) - len(optional), len(outputs) - len(SELDOM)
        as_they_are = GenericAlias(tuple, (output, ...))
        self._stored = Decoder(form("StoredCase", {**flat, "outputs": as_they_are}, **optional))
        self._of_case = attrgetter(*(field.name for field in fields(Case)))
        self._of_result = attrgetter(*(f.name for f in fields(CaseResult) if f.name != "case"))

    def strictly(self, text: bytes, path: Path, place: str) -> Any:
        """Return the case in a text: an object with the fields of the case and of its result.

        UsageError, which names the place, for all that ``parse_json`` and ``typed`` refuse. Those
        are slow. A text has no key twice where it has no escape, and one colon for each field that
        it holds; msgspec refuses all else that they do but for integers of more than 64 bits,
        which ``consistent`` refuses.
        """
        try:
            case: Any = self._strict.decode(text)
        except (MsgspecError, ValueError, RecursionError):
            case = None
        if case is not None and b"\\" not in text:
            more = len(case.lengths) + len(case.outputs) * self._output_keys
            more += sum(bool(output.by_step) for output in case.outputs)
            more += bool(case.draw) + (case.rows is not RowLengths.FIRST)
            if text.count(b":") == self._keys + more:
                return case
        checked(text, self.case, path, place)
        if case is None:
            raise UsageError(f"{_no_report(path)}: a value is out of range at {place}")
        return case

    def decode(self, text: bytes) -> CaseResult:
        """Return the case in a text that was read strictly before."""
        entry = self._stored.decode(text)
        return CaseResult(Case(*self._of_case(entry)), *self._of_result(entry))


def whole() -> type:
    """Return the type of a whole report, its results and their cases, sizes and figures from 0 on.

    What is written is of this type; a reader also holds that the parts are consistent.
    """
    case, result, cell, report = map(get_type_hints, (Case, CaseResult, CellResult, Report))
    del result["case"], cell["cell"]
    output = _from_0(get_type_hints(OutputComparison))
    output |= {"worst_index": tuple[Size, ...], "worst_step": Size | None}
    output["by_step"] = tuple[Magnitude | None, ...]
    outputs = GenericAlias(list, form("OutputComparison", output, **SELDOM))
    fields = {**_from_0({**case, **result}), "lengths": dict[str, Size], "outputs": outputs}
    cases = GenericAlias(list, form("CaseResult", fields, draw=0, rows=RowLengths.FIRST))
    results = GenericAlias(
        list, form("CellResult", {"id": CellId, **_from_0(cell), "cases": cases})
    )
    summary = form("Summary", dict.fromkeys(counts((), 0), Size))
    document = {"schema": Literal[SCHEMA], "summary": summary, "results": results}
    return form("Report", {**report, **document}, partial=False)


def _from_0(types: dict[str, Any]) -> dict[str, Any]:
    return {name: {int: Size, float: Magnitude}.get(kind, kind) for name, kind in types.items()}


def checked(text: bytes, kind: type, path: Path, place: str = "") -> Any:
    """Return what lies at a place of a file, as ``kind``; UsageError for what is none."""
    try:
        data = parse_json(text, path)
    except UsageError as error:
        raise UsageError(f"{error}, in {place}") from None
    return typed(data, kind, _no_report(path), place)


def _no_report(path: Path) -> str:
    return f"{visible(str(path))} is no whole report"


def encoder(output: type[OutputComparison]) -> Callable[[CaseResult], str]:
    """Return what makes the line of a case, whose outputs are of this dataclass."""
    of_case, of_result, of_output = map(_dict_of, (Case, CaseResult, output))

    def line(result: CaseResult) -> str:
        entry = {**of_case(result.case), **of_result(result)}
        del entry["case"]
        if not entry["draw"]:
            del entry["draw"]
        if entry["rows"] is RowLengths.FIRST:
            del entry["rows"]
        entry["outputs"] = list(map(of_output, result.outputs))
        for compared in entry["outputs"]:
            if not compared["by_step"]:
                del compared["by_step"]
        entry["seconds"] = round(result.seconds, 6)
        return encode(entry)

    return line


def _dict_of(kind: type) -> Callable[[Any], dict[str, Any]]:
    """Return what makes a dictionary of a dataclass's fields, faster than ``plain``."""
    names = [field.name for field in fields(kind)]
    values = attrgetter(*names)
    return lambda instance: dict(zip(names, values(instance), strict=True))
