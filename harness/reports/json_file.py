"""``report.json``: the report's contract, schema 1."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from harness.core.errors import UsageError
from harness.core.files import written
from harness.core.schema import (
    Case,
    CaseResult,
    Cell,
    CellResult,
    OutputComparison,
    Raggedness,
    Report,
    Stage,
    Status,
)

SCHEMA = 1
NAME = "report.json"


_strict = partial(json.dumps, allow_nan=False)


def dumps(report: Report) -> str:
    """The report as strict JSON, no NaN, no infinity: one line for each entry and each case."""
    entries = as_dict(report)
    cells = [_lines(cell, "cases") for cell in entries["results"]]
    return _lines({**entries, "results": cells}, "results", str)


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
    try:
        data = json.loads(path.read_text(), parse_constant=_refuse)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from None
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema != SCHEMA or "results" not in data:
        raise UsageError(f"{path} is no report: expected report.json of schema {SCHEMA}")
    try:
        results = tuple(_read_cell(entry) for entry in data["results"])
        command, partial = str(data["command"]), bool(data.get("partial"))
        report = Report(command, dict(data["environment"]), results, partial)
        if report.summary != data["summary"]:
            raise ValueError("its summary does not count its results")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        told = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise UsageError(f"{path} is no whole report: {told}") from None
    return report


def as_dict(report: Report) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "command": report.command,
        "environment": dict(report.environment),
        "summary": report.summary,
        **({"partial": True} if report.partial else {}),
        "results": [_cell(result) for result in report.results],
    }


def _cell(result: CellResult) -> dict[str, Any]:
    return {
        "id": result.cell.id,
        "status": result.status.value,
        "stage": result.stage.value,
        "reason": result.reason,
        "evidence": dict(result.evidence),
        "cases": [_case(case) for case in result.cases],
        "seconds": round(result.seconds, 6),
        "replay": result.replay,
    }


def _case(result: CaseResult) -> dict[str, Any]:
    return {
        "lengths": dict(result.case.lengths),
        "batch": result.case.batch,
        "raggedness": result.case.raggedness.value,
        "repeat": result.case.repeat,
        **({"draw": result.case.draw} if result.case.draw else {}),
        "relation": result.relation,
        "status": result.status.value,
        "stage": result.stage.value,
        "reason": result.reason,
        "outputs": [_output(output) for output in result.outputs],
        "seconds": round(result.seconds, 6),
    }


def _output(output: OutputComparison) -> dict[str, Any]:
    return {
        "name": output.name,
        "max_abs": output.max_abs,
        "max_rel": output.max_rel,
        "max_ulp": output.max_ulp,
        "noise_floor": output.noise_floor,
        "tolerance": output.tolerance,
        "ratio": output.ratio,
        "worst_index": list(output.worst_index),
        "worst_step": output.worst_step,
        "steps": output.steps,
        "steps_compared": output.steps_compared,
        "reason": output.reason,
    }


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no number of JSON")


def _read_cell(entry: dict[str, Any]) -> CellResult:
    return CellResult(
        Cell(*entry["id"].split("/")),
        Status(entry["status"]),
        Stage(entry["stage"]),
        str(entry["reason"]),
        dict(entry["evidence"]),
        tuple(_read_case(case) for case in entry["cases"]),
        float(entry["seconds"]),
        str(entry["replay"]),
    )


def _read_case(entry: dict[str, Any]) -> CaseResult:
    lengths = {str(axis): int(length) for axis, length in entry["lengths"].items()}
    ragged, draw = Raggedness(entry["raggedness"]), int(entry.get("draw", 0))
    return CaseResult(
        Case(lengths, int(entry["batch"]), ragged, bool(entry["repeat"]), draw),
        Status(entry["status"]),
        Stage(entry["stage"]),
        str(entry["reason"]),
        tuple(_read_output(output) for output in entry["outputs"]),
        float(entry["seconds"]),
        str(entry["relation"]),
    )


def _read_output(entry: dict[str, Any]) -> OutputComparison:
    figures = ("max_abs", "max_rel", "noise_floor", "tolerance", "ratio")
    known = {**entry, **{name: float(entry[name]) for name in figures}}
    return OutputComparison(**{**known, "worst_index": tuple(entry["worst_index"])})
