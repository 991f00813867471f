"""``report.json``: the report's contract, schema 1.

It holds the fields of the report's dataclasses by their names, but a cell as its id, and a case's
own fields beside those of its result.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields
from functools import partial
from pathlib import Path
from types import GenericAlias
from typing import Annotated, Any, Literal, get_type_hints

from msgspec import Meta, Struct
from msgspec.structs import asdict

from harness.core.errors import UsageError
from harness.core.files import read_json, written
from harness.core.schema import Case, CaseResult, Cell, CellResult, OutputComparison, Report
from harness.typed_json import form, plain, typed

SCHEMA = 1
NAME = "report.json"
CellId = Annotated[str, Meta(pattern=rf"^[^/]+(/[^/]+){{{len(fields(Cell)) - 1}}}$")]

_strict = partial(json.dumps, allow_nan=False)


def dumps(report: Report) -> str:
    """The report as strict JSON, no NaN, no infinity: one line for each entry and each case."""
    entries = plain(report)
    if not report.partial:
        del entries["partial"]
    cells = [_lines(_cell(entry), "cases") for entry in entries.pop("results")]
    whole = {"schema": SCHEMA, **entries, "summary": report.summary, "results": cells}
    return _lines(whole, "results", str)


def _lines(entries: dict[str, Any], listed: str, dumps: Callable[[Any], str] = _strict) -> str:
    """JSON with one line for each entry, and for each element of the list ``listed``."""
    told = {name: _strict(value) for name, value in entries.items() if name != listed}
    told[listed] = "[\n" + ",\n".join(map(dumps, entries[listed])) + "\n]"
    told = {name: told[name] for name in entries}
    return "{\n" + ",\n".join(f"{_strict(name)}: {text}" for name, text in told.items()) + "\n}"


def write(report: Report, folder: Path) -> Path:
    """Write ``report.json`` into ``folder``, whole or not at all."""
    return written(folder / NAME, f"{dumps(report)}\n".encode())


def read(path: Path) -> Report:
    """The report in a file; UsageError, in one line, where there is none that can be read."""
    data = read_json(path)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or "results" not in data:
        raise UsageError(f"{path} is no report: expected report.json of schema {SCHEMA}")
    known = asdict(typed(data, _form(), f"{path} is no whole report"))
    del known["schema"]
    summary = known.pop("summary")
    report = Report(**{**known, "results": tuple(map(_read_cell, known["results"]))})
    if report.summary != summary:
        raise UsageError(f"{path} is no whole report: its summary does not count its results")
    return report


def _cell(entry: dict[str, Any]) -> dict[str, Any]:
    cell = "/".join(entry.pop("cell").values())
    cases = [_case(case) for case in entry["cases"]]
    return {"id": cell, **entry, "cases": cases, "seconds": round(entry["seconds"], 6)}


def _case(entry: dict[str, Any]) -> dict[str, Any]:
    case = entry.pop("case")
    if not case["draw"]:
        del case["draw"]
    return {**case, **entry, "seconds": round(entry["seconds"], 6)}


def _form() -> type[Struct]:
    """What a whole report holds, from the dataclasses."""
    output, case, result, cell, report = map(
        get_type_hints, (OutputComparison, Case, CaseResult, CellResult, Report)
    )
    del result["case"], cell["cell"]
    outputs = GenericAlias(list, form("Output", output))
    cases = GenericAlias(list, form("Case", {**case, **result, "outputs": outputs}, draw=0))
    cells = GenericAlias(list, form("Cell", {"id": CellId, **cell, "cases": cases}))
    whole = {**report, "schema": Literal[SCHEMA], "summary": dict[str, int], "results": cells}
    return form("Report", whole, partial=False)


def _read_cell(entry: Struct) -> CellResult:
    known = asdict(entry)
    cell = Cell(*known.pop("id").split("/"))
    return CellResult(cell, **{**known, "cases": tuple(map(_read_case, known["cases"]))})


def _read_case(entry: Struct) -> CaseResult:
    known = asdict(entry)
    case = Case(**{field.name: known.pop(field.name) for field in fields(Case)})
    outputs = tuple(OutputComparison(**asdict(output)) for output in known["outputs"])
    return CaseResult(case, **{**known, "outputs": outputs})
