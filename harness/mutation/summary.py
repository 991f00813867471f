"""Counts for each kind of defect, and how small a graded one each cell notices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from statistics import median

from harness.core.results import Cell
from harness.mutation.defects.defect import family, sentence
from harness.mutation.study import CellStudy, defects
from harness.mutation.trial import Trial, Verdict
from harness.typed_json import Magnitude, Size


@dataclass(frozen=True)
class DefectCount:
    """One kind of defect over every cell.

    ``family`` says what kinds like it have in common, ``sentence`` what it is. ``length`` is the
    greatest of the shortest lengths at which its mutants were caught, ``ratio`` the least error ÷
    tolerance of those caught by a comparison, ``peers`` the number of mutants, equivalent ones
    aside, that each of them catches.
    """

    defect: str
    family: str
    sentence: str
    mutants: Size
    equivalent: Size
    caught: Size
    missed: Size
    stages: Mapping[str, Size]
    length: Size | None
    ratio: Magnitude | None
    peers: Mapping[str, Size]

    @property
    def real(self) -> int:
        return self.mutants - self.equivalent


@dataclass(frozen=True)
class Limit:
    """The smallest size of a graded defect that one cell notices, over the places of planting.

    ``best``, ``middle`` and ``worst`` are over the places where some size is caught; ``never``
    counts the others that are not equivalent.
    """

    cell: Cell
    defect: str
    places: Size
    best: Magnitude | None
    middle: Magnitude | None
    worst: Magnitude | None
    never: Size


def kinds(studies: Iterable[CellStudy], graded: bool = False) -> list[DefectCount]:
    """Return counts of the structural defects, or of the graded ones, in the order of planting."""
    trials: dict[str, list[Trial]] = {}
    for study in studies:
        for trial in study.trials:
            if (trial.size is not None) is graded:
                trials.setdefault(trial.defect, []).append(trial)
    return [_kind(defect, group) for defect, group in trials.items()]


def missed(studies: Iterable[CellStudy]) -> list[tuple[Cell, Trial]]:
    """Return every structural defect that changes an output and was not caught."""
    return [
        (study.cell, trial)
        for study in studies
        for trial in study.trials
        if trial.size is None and trial.verdict is Verdict.MISSED
    ]


def limits(studies: Iterable[CellStudy]) -> list[Limit]:
    """Return the detection limit of every graded defect in every cell."""
    detection_limits = []
    for study in studies:
        graded = [trial for trial in study.trials if trial.size is not None]
        for defect, group in groupby(graded, key=lambda trial: trial.defect):
            detection_limits.append(_limit(study.cell, defect, list(group)))
    return detection_limits


def _kind(defect: str, trials: Sequence[Trial]) -> DefectCount:
    verdicts = Counter(trial.verdict for trial in trials)
    caught = [trial for trial in trials if trial.verdict is Verdict.CAUGHT]
    real = [trial for trial in trials if trial.verdict is not Verdict.EQUIVALENT]
    lengths = [max(trial.lengths.values()) for trial in caught if trial.lengths]
    ratios = [trial.ratio for trial in caught if trial.ratio is not None]
    plant = defects()[defect]
    return DefectCount(
        defect,
        family(plant),
        sentence(plant),
        len(trials),
        verdicts[Verdict.EQUIVALENT],
        verdicts[Verdict.CAUGHT],
        verdicts[Verdict.MISSED],
        dict(Counter(str(trial.stage) for trial in caught)),
        max(lengths, default=None),
        min(ratios, default=None),
        dict(Counter(peer for trial in real for peer, noticed in trial.peers.items() if noticed)),
    )


def _limit(cell: Cell, defect: str, trials: Sequence[Trial]) -> Limit:
    smallest: list[float] = []
    never = places = 0
    for _, group in groupby(trials, key=lambda trial: trial.place):
        at_place = list(group)
        if at_place[0].verdict is Verdict.EQUIVALENT:
            continue
        places += 1
        caught = [t.size for t in at_place if t.verdict is Verdict.CAUGHT and t.size is not None]
        if caught:
            smallest.append(min(caught))
        else:
            never += 1
    return Limit(
        cell,
        defect,
        places,
        min(smallest, default=None),
        median(smallest) if smallest else None,
        max(smallest, default=None),
        never,
    )
