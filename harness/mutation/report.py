"""A study on the console and as JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_type_hints

from msgspec import UNSET, Struct, UnsetType
from rich.console import Console
from rich.text import Text

from harness.core.escaping import line as line_of
from harness.core.files import written
from harness.mutation import peers, summary
from harness.mutation.defects.defect import Defect, sentence
from harness.mutation.study import CellStudy
from harness.mutation.trial import Trial, Verdict
from harness.typed_json import Magnitude, form, plain
from harness.validation import pipeline

SCHEMA: Final = 1
NAME = "mutation.json"
LIMIT = form("LimitOfCell", {**get_type_hints(summary.Limit, include_extras=True), "cell": str})


class StudiedCell(Struct, forbid_unknown_fields=True):
    """A cell's trials, and what its unchanged model comes to."""

    id: str
    honest_ratio: Magnitude
    noise_bound: Magnitude
    alarming_peers: Sequence[str]
    seconds: Magnitude
    trials: Sequence[Trial]


class MutationFile(Struct, forbid_unknown_fields=True):
    """A study: counts over all cells of structural and of graded defects, and every trial."""

    schema: Literal[1]
    command: str
    environment: Mapping[str, Any]
    kinds: list[summary.DefectCount]
    graded: list[summary.DefectCount]
    limits: list[LIMIT]  # type: ignore[valid-type]
    cells: list[StudiedCell]
    partial: bool | UnsetType = UNSET


def cell(console: Console, study: CellStudy) -> None:
    """Print one line for a cell."""
    structural = [trial for trial in study.trials if trial.size is None]
    count = Counter(trial.verdict for trial in structural)
    _print(
        console,
        f"{study.cell.id}: {len(structural)} defects, {count[Verdict.CAUGHT]} caught,"
        f" {count[Verdict.EQUIVALENT]} equivalent, {count[Verdict.MISSED]} missed;"
        f" worst honest error {study.honest.ratio:.2f} x tolerance,"
        f" any noise of {study.honest.noise_bound:.1f} floors is caught"
        f" ({study.seconds:.0f} s)",
    )


def kinds(console: Console, defects: Mapping[str, Defect]) -> None:
    """Print every kind of defect with its sentence."""
    _print(console, *(f"{kind}: {sentence(defect)}" for kind, defect in defects.items()))


def show(console: Console, studies: Sequence[CellStudy]) -> None:
    """Print the kinds, detection limits, missed defects, and the totals beside the peers'."""
    missed = (
        f"missed: {trial.defect} [{trial.place}] in {cell.id}: {trial.reason}"
        for cell, trial in summary.missed(studies)
    )
    alarms = (
        f"{peer} refuses the unchanged {study.cell.id}: its catches there do not count"
        for study in studies
        for peer in study.honest.alarming
    )
    _print(console, *_kinds(summary.kinds(studies)), "", *_limits(summary.limits(studies)), "")
    _print(console, *missed, *alarms, line(studies))


def _print(console: Console, *lines: str) -> None:
    for text in lines:
        console.print(Text(line_of(text)), soft_wrap=True)


def line(studies: Sequence[CellStudy]) -> str:
    """Return one line: how many structural defects were caught, by us and by each peer."""
    counts = summary.kinds(studies)
    real, caught = sum(kind.real for kind in counts), sum(kind.caught for kind in counts)
    equivalent = sum(kind.equivalent for kind in counts)
    theirs = ", ".join(
        f"{peer.name} {sum(kind.peers.get(peer.name, 0) for kind in counts):,}"
        for peer in peers.PEERS
    )
    return (
        f"{len(counts)} kinds of defect in {len(studies)} cells: {caught:,} of {real:,} caught,"
        f" {equivalent:,} equivalent; by the rules of {theirs}"
    )


def write(studies: Sequence[CellStudy], command: str, folder: Path, partial: bool = False) -> Path:
    """Write ``mutation.json`` into ``folder``, whole or not at all; it states where ``partial``."""
    entries = as_dict(studies, command, pipeline.machine(), partial)
    data = json.dumps(entries, indent=1, allow_nan=False) + "\n"
    return written(folder / NAME, data.encode())


def as_dict(
    studies: Sequence[CellStudy],
    command: str,
    environment: Mapping[str, Any],
    partial: bool = False,
) -> Any:
    """Return everything as JSON: ``schema`` 1."""
    cells = [
        StudiedCell(
            study.cell.id,
            study.honest.ratio,
            study.honest.noise_bound,
            study.honest.alarming,
            round(study.seconds, 3),
            study.trials,
        )
        for study in studies
    ]
    file = MutationFile(
        SCHEMA,
        command,
        environment,
        summary.kinds(studies),
        summary.kinds(studies, graded=True),
        [LIMIT(**{**vars(limit), "cell": limit.cell.id}) for limit in summary.limits(studies)],
        cells,
        True if partial else UNSET,
    )
    return plain(file)


def _kinds(counts: Sequence[summary.DefectCount]) -> Iterator[str]:
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
        for kind in counts
    ]
    return _aligned([(*heads, *(peer.name for peer in peers.PEERS)), *rows])


def _limits(limits: Sequence[summary.Limit]) -> Iterator[str]:
    heads = ("cell", "smallest size caught of", "places", "best", "median", "worst", "never")
    rows: list[tuple[str, ...]] = [heads]
    for limit in limits:
        sizes = ("" if s is None else f"{s:.2g}" for s in (limit.best, limit.middle, limit.worst))
        never = str(limit.never or "")
        rows.append((limit.cell.id, limit.defect, str(limit.places), *sizes, never))
    return _aligned(rows)


def _aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows in columns, the first aligned on the left and the others on the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for first, *others in rows:
        cells = (text.rjust(width) for text, width in zip(others, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *cells]).rstrip()
