"""``--save-outputs`` and ``--load-outputs``: which runtime judges a cell, decided once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.core import selectors
from harness.core.errors import UsageError
from harness.core.results import Cell, CellResult
from harness.core.schema import Case
from harness.goldens.store import Golden
from harness.validation.job import Job, JudgedRuntime, Ready, once_more
from harness.validation.outputs import saved
from harness.validation.outputs.manifest import check_cell
from harness.validation.outputs.recorder import Place, Recorder
from harness.validation.outputs.saved import Absent, Saved
from harness.validation.selection import Selection


def stand_ins(selection: Selection, root: Path) -> dict[str, Absent]:
    """Return the selected ones of the runtimes in ``root``, known here or not; all by default.

    UsageError for settings or relations, which need new runs.
    """
    if selection.save_outputs is not None:
        raise UsageError("--save-outputs: what --load-outputs judges is saved already")
    if selection.relations:
        raise UsageError(
            f"--relation {','.join(selection.relations)} needs new runs; --load-outputs makes none"
        )
    if selection.settings:
        raise UsageError(
            f"{selection.settings.flags.strip()}: --load-outputs makes no new runs; how those in"
            f" {root} were made is in the report's evidence"
        )
    absent_by_name = saved.absent(root)
    chosen = selectors.names("runtime", selection.runtimes or [selectors.ALL], absent_by_name)
    chosen += selectors.names("runtime", selection.require, absent_by_name)
    return {name: absent_by_name[name] for name in absent_by_name if name in chosen}


def wrapped(
    runtime: JudgedRuntime, cell: Cell, golden: Golden, cases: Sequence[Case], place: Place | None
) -> JudgedRuntime:
    """Return the runtime of a cell: its runs that were kept elsewhere, or one that keeps them."""
    ahead, sha256 = [*cases, *once_more(cases)], str(golden.manifest["sha256"])
    if isinstance(runtime, Absent):
        kept = saved.find(runtime.root, cell)
        if kept is None:
            return runtime
        return replace(
            kept, cases=[c for c in ahead if not c.repeat or kept.repeats(c)], golden=sha256
        )
    if place is not None:
        return Recorder(runtime, place, cell, sha256, ahead)
    return runtime


def place(cells: Iterable[Cell], root: Path, recorded: Mapping[str, object]) -> Place:
    """Return where to keep the outputs of some cells; UsageError where two take the same folder."""
    cells = list(cells)
    for cell in cells:
        check_cell(cell, "--save-outputs")
    counts = Counter(cell.id for cell in cells)
    if twice := [cell for cell, number in counts.items() if number > 1]:
        raise UsageError(
            f"--save-outputs {root}: more than one subject has the cell {twice[0]};"
            " give each a folder of its own"
        )
    root.mkdir(parents=True, exist_ok=True)
    return Place(root, recorded)


def finished(job: Job, result: CellResult) -> CellResult:
    """Return the result with where its outputs come from.

    The outcome of a cell that did not run to its end is kept here.
    """
    match job.runtime:
        case Saved() as kept:
            return replace(result, evidence={**kept.evidence(), **result.evidence})
        case Recorder() as recorder if not result.cases or "isolation" in result.evidence:
            recorder.write_outcome(result, job.model if isinstance(job, Ready) else None)
    return result
