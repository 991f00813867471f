"""A diagnosis as text, as JSON, and as an issue to send upstream."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from msgspec import UNSET, UnsetType

from harness import runtimes
from harness.core.escaping import block, line
from harness.core.escaping import markdown as escaped
from harness.core.schema import Case, RowLengths, case_text
from harness.diagnosis import plot
from harness.diagnosis.departure import Along
from harness.diagnosis.diagnosis import Diagnosis
from harness.diagnosis.form import (
    CaseEntry,
    CellDiagnosis,
    DiagnosisFile,
    GuessEntry,
    JudgedCases,
)
from harness.diagnosis.reproduction import SCRIPT
from harness.typed_json import plain

SCHEMA: Final = 1
FAULTS = {
    "graph": "the graph",
    "runtime": "the runtime, not the graph",
    "session": "the session",
    "unknown": "not known",
}


def lines(diagnosis: Diagnosis, folder: Path | None = None) -> list[str]:
    """Return the diagnosis as text, a finding to a line, with a plot along time."""
    if diagnosis.passes:
        return [f"{diagnosis.cell.id} passes: {len(diagnosis.judged)} cases, nothing to diagnose"]
    along, at, why = diagnosis.along, diagnosis.at, diagnosis.why
    rows = []
    if diagnosis.failing:
        counts = f"{len(diagnosis.failing)} of {len(diagnosis.judged)}"
        rows.append(("cases", f"{counts} golden cases fail"))
    if diagnosis.shortest:
        rows.append(
            ("shortest", f"{case_text(diagnosis.shortest.case)} ({diagnosis.shortest.how})")
        )
    if diagnosis.after:
        rows.append(("after", f"{case_text(diagnosis.after)}, run before it on the same session"))
    if at:
        rows.append(("step", _step(at)))
    if along and at and along.case.id != at.case.id:
        rows.append(("", f"at {case_text(along.case)}: {_step(along)}"))
    rows.append(("fault", f"{FAULTS[diagnosis.fault]}{why and f': {why}'}"))
    if blame := diagnosis.blame:
        sure = "" if blame.certain else " (uncertain)"
        rows.append(("node", f"{blame.label}{sure}: {blame.words}"))
        if 0 < blame.error < float("inf"):
            size = f"off by {blame.error:.3g} where the largest value is {blame.scale:.3g}"
            rows.append(("", f"{blame.tensor!r} is {size}"))
        if blame.step is not None:
            rows.append(("", f"its Y departs first at step {blame.step}"))
        rows += [("", difference) for difference in blame.differences]
    for guess in diagnosis.guesses:
        sure = "confirmed" if guess.confirmed else "a guess"
        rows.append(("looks like", f"{guess.pattern} ({sure}): {guess.words}"))
        rows.append(("", f"rests on: {guess.rests_on}"))
    rows += [("note", note) for note in diagnosis.notes]
    texts = [f"{diagnosis.cell.id} fails at stage {diagnosis.stage.value}: {diagnosis.reason}"]
    texts += [f"{label:<11}{text}" for label, text in rows]
    if along and len(along.steps) > 1:
        texts += ["", f"largest error at each step, {case_text(along.case)}:", *plot.lines(along)]
    if folder is not None:
        shown = f"reproduced in {folder}: {diagnosis.example.what}" if diagnosis.example else ""
        texts += ["", shown or f"report in {folder}; it holds nothing that departs alone"]
    return [line(text) for text in texts]


def entry(diagnosis: Diagnosis, folder: Path | None) -> CellDiagnosis:
    shortest = diagnosis.shortest
    return CellDiagnosis(
        id=diagnosis.cell.id,
        status=diagnosis.status,
        stage=diagnosis.stage,
        reason=diagnosis.reason,
        cases=JudgedCases(len(diagnosis.judged), [case.id for case in diagnosis.failing]),
        shortest=_case(shortest.case, shortest.how) if shortest else None,
        after=_case(diagnosis.after) if diagnosis.after else None,
        reference=diagnosis.reference,
        departure=diagnosis.at.entry() if diagnosis.at else None,
        along=diagnosis.along.entry() if diagnosis.along else None,
        fault=diagnosis.fault,
        why=diagnosis.why,
        node=diagnosis.blame.entry() if diagnosis.blame else None,
        guesses=[GuessEntry(**vars(guess)) for guess in diagnosis.guesses],
        notes=diagnosis.notes,
        reproduces=diagnosis.example.what if diagnosis.example else None,
        folder=None if folder is None else str(folder),
        replay=diagnosis.replay,
    )


def dumps(
    command: str, environment: Mapping[str, Any], diagnoses: Sequence[tuple[Diagnosis, Path | None]]
) -> str:
    """Return every diagnosis, with its folder, as strict JSON."""
    cells = [entry(diagnosis, folder) for diagnosis, folder in diagnoses]
    document = plain(DiagnosisFile(SCHEMA, command, environment, cells))
    return json.dumps(document, indent=1, allow_nan=False)


def markdown(diagnosis: Diagnosis) -> str:
    text = block("\n".join(lines(diagnosis)), "text")
    return f"# {escaped(diagnosis.cell.id)}\n\n{text}\n"


def issue(diagnosis: Diagnosis, environment: Mapping[str, Any], library: str) -> str:
    """Return a text ready to paste: what happens, how to reproduce it, findings, versions."""
    blame, example = diagnosis.blame, diagnosis.example
    what = blame.label if blame else f"{diagnosis.cell.exporter} export"
    by_runtime = diagnosis.fault in ("runtime", "session")
    who = diagnosis.cell.runtime if by_runtime else diagnosis.cell.exporter
    parts = [f"# {escaped(f'{who}: {_title(diagnosis, what)}')}", ""]
    if example:
        parts += [
            f"The attached `{SCRIPT}` runs `model.onnx` ({escaped(example.what)}) on `inputs.npz`"
            " and compares with `expected.npz`, computed in float64. It exits with 1 while the"
            " outputs depart."
            if example.inputs
            else "The attached `model.onnx` does not load.",
            "",
        ]
    found = []
    if diagnosis.shortest:
        found.append(f"shortest case that fails: {case_text(diagnosis.shortest.case)}")
    if diagnosis.at:
        found.append(_step(diagnosis.at))
    if blame:
        found += [f"{blame.label}: {blame.words}", *blame.differences]
    elif diagnosis.reason:
        found.append(diagnosis.reason)
    found += [f"{g.words} (confirmed: {g.rests_on})" for g in diagnosis.guesses if g.confirmed]
    others = _others(diagnosis)
    versions = [f"{diagnosis.cell.runtime}: {library}"]
    versions += [f"{name}: {about}" for name, about in environment.items() if name not in others]
    parts += ["## What happens", "", *(f"- {escaped(text)}" for text in found), ""]
    parts += ["## Versions", "", *(f"- {escaped(text)}" for text in versions)]
    return "\n".join(parts) + "\n"


def _others(diagnosis: Diagnosis) -> set[str]:
    """Return the distributions of other runtimes and frameworks, whose versions do not matter."""
    used = {diagnosis.cell.framework, diagnosis.cell.runtime} & set(runtimes.RUNTIMES)
    own = {"onnx", *(d for name in used for d in runtimes.load(name).distributions)}
    return set(runtimes.distributions()) - own


def _title(diagnosis: Diagnosis, what: str) -> str:
    confirmed = [g.pattern for g in diagnosis.guesses if g.confirmed]
    if confirmed:
        return f"{what}: {confirmed[0]}"
    if diagnosis.at:
        return f"{what} departs by {max(diagnosis.at.errors):.2g}"
    return f"{what} fails at stage {diagnosis.stage.value}"


def _case(case: Case, told: str | UnsetType = UNSET) -> CaseEntry:
    return CaseEntry(
        lengths=case.lengths,
        batch=case.batch,
        raggedness=case.raggedness,
        rows=UNSET if case.rows is RowLengths.FIRST else case.rows,
        told=told,
    )


def _step(along: Along) -> str:
    worst = max(along.errors)
    size = f"error up to {worst:.3g}, tolerance {along.tolerance:.3g}"
    if along.axis is None:
        return f"{along.output!r} has no time axis; {size}"
    stored = "" if along.whole else f", {len(along.steps)} of which the golden stores"
    return (
        f"{along.output!r} departs first at step {along.first}, and at {len(along.beyond)} of"
        f" {along.length} steps{stored}; {size}"
    )
