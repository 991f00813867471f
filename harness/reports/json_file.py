"""``report.json``: the report's contract, schema 1."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from harness.schema import CaseResult, CellResult, OutputComparison, Report

SCHEMA = 1
NAME = "report.json"


def dumps(report: Report) -> str:
    """The report as strict JSON: no NaN, no infinity."""
    return json.dumps(as_dict(report), indent=1, allow_nan=False)


def write(report: Report, folder: Path) -> Path:
    """Write ``report.json`` into ``folder``, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / NAME
    part = path.with_suffix(f".{os.getpid()}.part")
    part.write_text(dumps(report) + "\n")
    part.replace(path)
    return path


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
