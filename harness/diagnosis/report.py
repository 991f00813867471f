"""A diagnosis for people, for machines, and as a text to send upstream."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from harness import runtimes
from harness.core.schema import Case, lengths_text
from harness.diagnosis import plot
from harness.diagnosis.departure import Along
from harness.diagnosis.diagnosis import Diagnosis
from harness.diagnosis.reproduction import SCRIPT
from harness.typed_json import plain

SCHEMA = 1
FAULTS = {
    "graph": "the graph",
    "runtime": "the runtime, not the graph",
    "session": "the session",
    "unknown": "not known",
}


def lines(known: Diagnosis, folder: Path | None = None) -> list[str]:
    """The diagnosis as text, a finding to a line, with a plot along time."""
    if known.passes:
        return [f"{known.cell.id} passes: {len(known.judged)} cases, nothing to diagnose"]
    told = [f"{known.cell.id} fails at stage {known.stage.value}: {known.reason}"]
    if known.failing:
        told.append(f"cases      {len(known.failing)} of {len(known.judged)} golden cases fail")
    if known.shortest:
        told.append(f"shortest   {where(known.shortest.case)} ({known.shortest.told})")
    if known.after:
        told.append(f"after      {where(known.after)}, run before it on the same session")
    if known.at:
        told.append(f"step       {_step(known.at)}")
    if known.along and known.at and known.along.case.id != known.at.case.id:
        told.append(f"           at {where(known.along.case)}: {_step(known.along)}")
    told.append(f"fault      {FAULTS[known.fault]}{': ' + known.why if known.why else ''}")
    if blame := known.blame:
        sure = "" if blame.certain else " (uncertain)"
        told.append(f"node       {blame.label}{sure}: {blame.words}")
        if 0 < blame.error < float("inf"):
            size = f"off by {blame.error:.3g} where the largest value is {blame.scale:.3g}"
            told.append(f"           {blame.tensor!r} is {size}")
        if blame.step is not None:
            told.append(f"           its Y departs first at step {blame.step}")
        told += [f"           {difference}" for difference in blame.differences]
    for guess in known.guesses:
        sure = "confirmed" if guess.confirmed else "a guess"
        told.append(f"looks like {guess.pattern} ({sure}): {guess.words}")
        told.append(f"           rests on: {guess.rests_on}")
    told += [f"note       {note}" for note in known.notes]
    if known.along and len(known.along.steps) > 1:
        told += ["", f"largest error at each step, {where(known.along.case)}:"]
        told += plot.lines(known.along)
    if folder is not None:
        shown = f"reproduced in {folder}: {known.example.told}" if known.example else ""
        told += ["", shown or f"report in {folder}; it holds nothing that departs alone"]
    return told


def where(case: Case) -> str:
    ragged = "" if case.raggedness.value == "none" else f", {case.raggedness.value}"
    return f"{lengths_text(case.lengths)}, batch={case.batch}{ragged}"


def as_dict(known: Diagnosis, folder: Path | None) -> dict[str, Any]:
    return {
        "id": known.cell.id,
        "status": known.status.value,
        "stage": known.stage.value,
        "reason": known.reason,
        "cases": {"judged": len(known.judged), "failing": [c.id for c in known.failing]},
        "shortest": known.shortest and {**_case(known.shortest.case), "told": known.shortest.told},
        "after": known.after and _case(known.after),
        "reference": known.reference,
        "departure": known.at and known.at.as_dict(),
        "along": known.along and known.along.as_dict(),
        "fault": known.fault,
        "why": known.why,
        "node": known.blame and known.blame.as_dict(),
        "guesses": plain(known.guesses),
        "notes": list(known.notes),
        "reproduces": known.example and known.example.told,
        "folder": folder and str(folder),
        "replay": known.replay,
    }


def dumps(
    command: str, environment: Mapping[str, Any], found: Sequence[tuple[Diagnosis, Path | None]]
) -> str:
    """Every diagnosis as strict JSON."""
    diagnoses = [as_dict(known, folder) for known, folder in found]
    whole = {
        "schema": SCHEMA,
        "command": command,
        "environment": dict(environment),
        "diagnoses": diagnoses,
    }
    return json.dumps(whole, indent=1, allow_nan=False)


def markdown(known: Diagnosis) -> str:
    text = "\n".join(lines(known))
    return f"# {known.cell.id}\n\n```text\n{text}\n```\n"


def issue(known: Diagnosis, environment: Mapping[str, Any], library: str) -> str:
    """A text ready to paste: what happens, how to see it, what was found, versions."""
    blame = known.blame
    what = blame.label if blame else f"{known.cell.exporter} export"
    who = known.cell.runtime if known.fault in ("runtime", "session") else known.cell.exporter
    parts = [f"# {who}: {_title(known, what)}", ""]
    if known.example:
        parts += [
            f"The attached `{SCRIPT}` runs `model.onnx` ({known.example.told}) on `inputs.npz` and"
            " compares with `expected.npz`, computed in float64. It exits with 1 while the outputs"
            " depart."
            if known.example.inputs
            else "The attached `model.onnx` does not load.",
            "",
        ]
    parts += ["## What happens", ""]
    if known.shortest:
        parts.append(f"- shortest case that fails: {where(known.shortest.case)}")
    if known.at:
        parts.append(f"- {_step(known.at)}")
    if blame:
        parts.append(f"- {blame.label}: {blame.words}")
        parts += [f"- {difference}" for difference in blame.differences]
    elif known.reason:
        parts.append(f"- {known.reason}")
    parts += [f"- {g.words} (confirmed: {g.rests_on})" for g in known.guesses if g.confirmed]
    parts += ["", "## Versions", "", f"- {known.cell.runtime}: {library}"]
    others = _others(known)
    parts += [f"- {name}: {about}" for name, about in environment.items() if name not in others]
    return "\n".join(parts) + "\n"


def _others(known: Diagnosis) -> set[str]:
    """The distributions of other runtimes and frameworks, whose versions do not matter."""
    used = {known.cell.framework, known.cell.runtime} & set(runtimes.RUNTIMES)
    own = {"onnx", *(d for name in used for d in runtimes.load(name).distributions)}
    return set(runtimes.distributions()) - own


def _title(known: Diagnosis, what: str) -> str:
    confirmed = [g.pattern for g in known.guesses if g.confirmed]
    if confirmed:
        return f"{what}: {confirmed[0]}"
    if known.at:
        return f"{what} departs by {max(known.at.errors):.2g}"
    return f"{what} fails at stage {known.stage.value}"


def _case(case: Case) -> dict[str, Any]:
    ragged = case.raggedness.value
    return {"lengths": dict(case.lengths), "batch": case.batch, "raggedness": ragged}


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
