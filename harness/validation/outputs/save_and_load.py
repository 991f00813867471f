"""``--save-outputs`` and ``--load-outputs``: run on one machine, judge on another."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.core import selectors, tolerance
from harness.core.errors import UsageError
from harness.core.schema import CellResult, Runtime
from harness.validation.job import Work
from harness.validation.outputs import store
from harness.validation.selection import Selection


def runtimes(selection: Selection, folder: Path) -> dict[str, Runtime]:
    """The selected ones of the runtimes in ``folder``, known here or not; all by default.

    UsageError where something is asked for that needs new runs.
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
            f" {folder} were made is in the report's evidence"
        )
    found = store.runtimes(folder)
    chosen = selectors.names("runtime", selection.runtimes or [selectors.ALL], found)
    chosen += selectors.names("runtime", selection.require, found)
    return {name: found[name] for name in found if name in chosen}


def loaded(work: Work, folder: Path) -> Work:
    """The work with the outputs that ``folder`` holds of its cell, or unavailable."""
    work = replace(work, replay=f"{work.replay} --load-outputs {shlex.quote(str(folder))}")
    found = store.find(folder, work.cell)
    if found is None:
        return replace(work, unavailable=store.Elsewhere(folder, None).check())
    row = tolerance.row(work.cell.runtime, found.tf32)
    work = replace(work, loaded=found, unavailable=None, row=row)
    ahead = [*work.cases, *work.again]
    whole = replace(found, cases=ahead, golden=str(work.golden.manifest["sha256"]))
    return replace(work, loaded=whole)


def finished(work: Work, result: CellResult, there: Mapping[str, Runtime]) -> CellResult:
    """The result with what is known of where its outputs come from.

    A cell that its process did not survive is kept here, where its outputs were to be.
    """
    if work.loaded is not None:
        return replace(result, evidence={**work.loaded.evidence(), **result.evidence})
    if work.save is not None and "isolation" in result.evidence:
        golden = work.golden.manifest["sha256"]
        store.write(work.save, result, golden, work.model, there[work.cell.runtime])
    return result


def kept(
    works: Sequence[Work], folder: Path, environment: Mapping[str, Any], settings: str
) -> list[Work]:
    """The works with ``folder``, made if need be, as the place of their outputs.

    UsageError where two of them would take the same one.
    """
    ids = Counter(work.cell.id for work in works)
    if twice := [cell for cell, number in ids.items() if number > 1]:
        raise UsageError(
            f"--save-outputs {folder}: more than one subject has the cell {twice[0]};"
            " give each a folder of its own"
        )
    folder.mkdir(parents=True, exist_ok=True)
    about = {"environment": dict(environment), "settings": settings.strip()}
    place = store.Place(folder, about)
    return [replace(work, save=place) for work in works]
