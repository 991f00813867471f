"""A study for people and for machines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from harness.core.files import written
from harness.mutation import peers, summary
from harness.mutation.defects.defect import Defect, sentence
from harness.mutation.study import CellStudy
from harness.mutation.trial import Verdict
from harness.typed_json import plain
from harness.validation import pipeline

SCHEMA = 1
NAME = "mutation.json"


def cell(console: Console, study: CellStudy) -> None:
    """One line for a cell as soon as it is known."""
    structural = [trial for trial in study.trials if trial.size is None]
    count = Counter(trial.verdict for trial in structural)
    console.print(
        escape(
            f"{study.cell.id}: {len(structural)} defects, {count[Verdict.CAUGHT]} caught,"
            f" {count[Verdict.EQUIVALENT]} equivalent, {count[Verdict.MISSED]} missed;"
            f" worst honest error {study.honest.ratio:.2f} x tolerance,"
            f" any noise of {study.honest.noise_bound:.1f} floors is caught"
            f" ({study.seconds:.0f} s)"
        ),
        highlight=False,
        soft_wrap=True,
    )


def kinds(console: Console, found: Mapping[str, Defect]) -> None:
    """Every kind of defect with its sentence."""
    for kind, defect in found.items():
        console.print(f"{kind}: {sentence(defect)}", highlight=False, markup=False, soft_wrap=True)


def show(console: Console, studies: Sequence[CellStudy]) -> None:
    """The kinds, the detection limits, what was missed, and the totals beside the peers'."""
    for text in _kinds(summary.kinds(studies)):
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    console.print()
    for text in _limits(summary.limits(studies)):
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    console.print()
    for missed_in, trial in summary.missed(studies):
        console.print(
            f"missed: {escape(f'{trial.defect} [{trial.place}]')} in {missed_in.id}:"
            f" {escape(trial.reason)}",
            highlight=False,
            soft_wrap=True,
        )
    for study in studies:
        for peer in study.honest.alarming:
            told = f"{peer} refuses the unchanged {study.cell.id}: its catches there do not count"
            console.print(told, highlight=False, markup=False, soft_wrap=True)
    console.print(line(studies), highlight=False, soft_wrap=True)


def line(studies: Sequence[CellStudy]) -> str:
    """One line: how many structural defects were caught, by us and by each peer."""
    found = summary.kinds(studies)
    real, caught = sum(kind.real for kind in found), sum(kind.caught for kind in found)
    equivalent = sum(kind.equivalent for kind in found)
    theirs = ", ".join(
        f"{peer.name} {sum(kind.peers.get(peer.name, 0) for kind in found):,}"
        for peer in peers.PEERS
    )
    return (
        f"{len(found)} kinds of defect in {len(studies)} cells: {caught:,} of {real:,} caught,"
        f" {equivalent:,} equivalent; by the rules of {theirs}"
    )


def write(studies: Sequence[CellStudy], command: str, folder: Path, partial: bool = False) -> Path:
    """Write ``mutation.json`` into ``folder``, whole or not at all; ``partial`` says so in it."""
    told = as_dict(studies, command, pipeline.machine())
    told |= {"partial": True} if partial else {}
    data = json.dumps(told, indent=1, allow_nan=False) + "\n"
    return written(folder / NAME, data.encode())


def as_dict(studies: Sequence[CellStudy], command: str, environment: Mapping[str, Any]) -> Any:
    """Everything, as JSON: ``schema`` 1."""
    return {
        "schema": SCHEMA,
        "command": command,
        "environment": dict(environment),
        "kinds": plain(summary.kinds(studies)),
        "graded": plain(summary.kinds(studies, graded=True)),
        "limits": [{**plain(x), "cell": x.cell.id} for x in summary.limits(studies)],
        "cells": [
            {
                "id": study.cell.id,
                "honest_ratio": study.honest.ratio,
                "noise_bound": study.honest.noise_bound,
                "alarming_peers": list(study.honest.alarming),
                "seconds": round(study.seconds, 3),
                "trials": plain(study.trials),
            }
            for study in studies
        ],
    }


def _kinds(found: Sequence[summary.DefectCount]) -> Iterator[str]:
    heads = ("defect", "caught", "equivalent", "at stage", "by T", "error ÷ tolerance")
    rows = [
        (
            kind.defect,
            f"{kind.caught}/{kind.real}",
            str(kind.equivalent or ""),
            ", ".join(f"{stage} {number}" for stage, number in kind.stages.items()),
            "" if kind.length is None else str(kind.length),
            "" if kind.ratio is None else f"{kind.ratio:.3g}",
            *(str(kind.peers.get(peer.name, 0)) for peer in peers.PEERS),
        )
        for kind in found
    ]
    return _aligned([(*heads, *(peer.name for peer in peers.PEERS)), *rows])


def _limits(found: Sequence[summary.Limit]) -> Iterator[str]:
    heads = ("cell", "smallest size caught of", "places", "best", "median", "worst", "never")
    rows: list[tuple[str, ...]] = [heads]
    for limit in found:
        sizes = ("" if s is None else f"{s:.2g}" for s in (limit.best, limit.middle, limit.worst))
        never = str(limit.never or "")
        rows.append((limit.cell.id, limit.defect, str(limit.places), *sizes, never))
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The rows in columns, the first on the left and the others on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        rest = (text.rjust(width) for text, width in zip(others, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *rest]).rstrip()
