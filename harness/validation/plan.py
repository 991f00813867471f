"""Selected cells, and their jobs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.accounting.form import Account
from harness.core import selectors
from harness.core.errors import NothingSelectedError, StageError
from harness.core.results import Cell
from harness.core.schema import Case
from harness.goldens.store import Golden
from harness.validation.job import Failed, Job, JudgedRuntime, Ready, Unavailable, once_more
from harness.validation.outputs.recorder import Place
from harness.validation.outputs.saved import Saved
from harness.validation.outputs.wrapping import wrapped
from harness.validation.selection import Selection

Runtimes = Mapping[str, JudgedRuntime]
Model = Path | StageError | str
"""A file to run, why its export failed, or why it cannot be made here"""


@dataclass(frozen=True, kw_only=True)
class SelectedCell:
    """A cell before it is known whether it can be judged.

    ``refused`` is why this runtime cannot judge it, whatever the model; the rest is as in
    ``Ready``.
    """

    cell: Cell
    golden: Golden
    cases: Sequence[Case]
    model: Model
    replay: str
    example: Mapping[str, int] = field(default_factory=dict)
    ours: bool = True
    declared: bool = True
    evidence: Mapping[str, Any] = field(default_factory=dict)
    rounded: Sequence[str] = ()
    account: Account | None = None
    refused: str | None = None


def job(selected: SelectedCell, runtime: JudgedRuntime, place: Place | None = None) -> Job:
    """Return the job of a cell; with ``place``, its outputs are kept there."""
    runtime = wrapped(runtime, selected.cell, selected.golden, selected.cases, place)
    common: dict[str, Any] = {
        "cell": selected.cell,
        "golden": selected.golden,
        "runtime": runtime,
        "replay": selected.replay,
        "ours": selected.ours,
    }
    again, model = once_more(selected.cases), selected.model
    if isinstance(runtime, Saved):
        again = [case for case in again if runtime.repeats(case)]
        reason = runtime.check()
    else:
        reason = selected.refused or (model if isinstance(model, str) else runtime.check())
    if reason is not None:
        return Unavailable(**common, reason=reason)
    if isinstance(model, StageError):
        return Failed(**common, failure=model)
    return Ready(
        **common,
        cases=selected.cases,
        model=model if isinstance(model, Path) else None,
        again=again,
        example=selected.example,
        declared=selected.declared,
        evidence=selected.evidence,
        rounded=selected.rounded,
        account=selected.account,
    )


def choose(sources: Sequence[Golden], selection: Selection) -> list[list[Case]]:
    """Return the selected cases of each golden; NothingSelectedError where there is none at all."""
    cases = [case for source in sources for case in source.cases]
    stored_lengths = {case.longest for case in cases}
    stored_batches = {case.batch for case in cases}
    lengths = selectors.numbers("--lengths", selection.lengths, stored_lengths)
    batches = selectors.numbers("--batch", selection.batch, stored_batches)
    lengths.require(stored_lengths)
    batches.require(stored_batches)
    chosen = [selectors.choose(source.cases, lengths, batches) for source in sources]
    if not any(chosen):
        raise NothingSelectedError("no golden case has both a selected length and batch")
    return chosen
