"""Diagnoses beside a report: ``harness diagnose`` puts that of a cell into ``build/diagnosis``."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from harness.core.errors import UsageError
from harness.core.reading import TEXT_BYTES, read_bytes, read_json
from harness.core.results import CellResult, Status
from harness.typed_json import typed

FOLDER, JSON, TEXT = "diagnosis", "diagnosis.json", "diagnosis.md"
LINES = 400


class DiagnosedCell(Struct):
    """What is read of a diagnosis."""

    id: str
    stage: str


class DiagnosedCells(Struct):
    diagnoses: list[DiagnosedCell]


def lines(folder: Path, result: CellResult) -> list[str]:
    """Return the diagnosis of a cell, a finding to a line, as it lies beside a report's folder.

    None where the cell passes, or where there is no readable one of a failure at that stage.
    """
    if result.status in (Status.PASS, Status.UNAVAILABLE):
        return []
    place = folder.parent / FOLDER / result.cell.id.replace("/", "-")
    try:
        about = typed(read_json(place / JSON, TEXT_BYTES), DiagnosedCells, str(place))
        text = read_bytes(place / TEXT, TEXT_BYTES).decode(errors="replace")
    except UsageError:
        return []
    if DiagnosedCell(result.cell.id, result.stage.value) not in about.diagnoses:
        return []
    return [line for line in text.splitlines() if not line.startswith(("# ", "```"))][:LINES]
