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
from harness.core.files import written
from harness.core.reading import read_json
from harness.core.results import CaseResult, Cell, CellResult, OutputComparison, Report
from harness.core.schema import Case
from harness.typed_json import form, plain, typed

SCHEMA = 1
NAME = "report.json"
CellId = Annotated[str, Meta(pattern=rf"^[^/]+(/[^/]+){{{len(fields(Cell)) - 1}}}$")]

_strict = partial(json.dumps, allow_nan=False)


def dumps(report: Report) -> str:
    """Return the report as strict JSON (no NaN or infinity), one line an entry and case."""
    entries = plain(report)
    if not report.partial:
        del entries["partial"]
    cells = [_lines(_cell(entry), "cases") for entry in entries.pop("results")]
    document = {"schema": SCHEMA, **entries, "summary": report.summary, "results": cells}
    return _lines(document, "results", str)


def _lines(entries: dict[str, Any], listed: str, dumps: Callable[[Any], str] = _strict) -> str:
    """Return JSON with one line for each entry, and for each element of the list ``listed``."""
    texts = {name: _strict(value) for name, value in entries.items() if name != listed}
    texts[listed] = "[\n" + ",\n".join(map(dumps, entries[listed])) + "\n]"
    texts = {name: texts[name] for name in entries}
    return "{\n" + ",\n".join(f"{_strict(name)}: {text}" for name, text in texts.items()) + "\n}"


def write(report: Report, folder: Path) -> Path:
    """Write ``report.json`` into ``folder``, whole or not at all."""
    return written(folder / NAME, f"{dumps(report)}\n".encode())


def read(path: Path) -> Report:
    """Return the report in a file; UsageError, in one line, where none can be read."""
    data = read_json(path)
    if not isinstance(data, dict) or data.get("schema") != SCHEMA or "results" not in data:
        raise UsageError(f"{path} is no report: expected report.json of schema {SCHEMA}")
    content = asdict(typed(data, _form(), f"{path} is no whole report"))
    del content["schema"]
    summary = content.pop("summary")
    report = Report(**{**content, "results": tuple(map(_read_cell, content["results"]))})
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
    """Return the type of a whole report, from the dataclasses."""
    output, case, result, cell, report = map(
        get_type_hints, (OutputComparison, Case, CaseResult, CellResult, Report)
    )
    del result["case"], cell["cell"]
    outputs = GenericAlias(list, form("Output", output))
    cases = GenericAlias(list, form("Case", {**case, **result, "outputs": outputs}, draw=0))
    cells = GenericAlias(list, form("Cell", {"id": CellId, **cell, "cases": cases}))
    document = {**report, "schema": Literal[SCHEMA], "summary": dict[str, int], "results": cells}
    return form("Report", document, partial=False)


def _read_cell(entry: Struct) -> CellResult:
    entries = asdict(entry)
    cell = Cell(*entries.pop("id").split("/"))
    return CellResult(cell, **{**entries, "cases": tuple(map(_read_case, entries["cases"]))})


def _read_case(entry: Struct) -> CaseResult:
    entries = asdict(entry)
    case = Case(**{field.name: entries.pop(field.name) for field in fields(Case)})
    outputs = tuple(OutputComparison(**asdict(output)) for output in entries["outputs"])
    return CaseResult(case, **{**entries, "outputs": outputs})
