"""The form of ``diagnosis.json``; what has no number, such as an error without limit, is null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from harness.core.results import Status
from harness.core.schema import Raggedness, RowLengths, Stage
from harness.typed_json import Magnitude, Size

Fault = Literal["graph", "runtime", "session", "unknown"]


class JudgedCases(Struct, forbid_unknown_fields=True):
    """The number of golden cases judged, and the ids of those that fail."""

    judged: Size
    failing: list[str]


class CaseEntry(Struct, forbid_unknown_fields=True, kw_only=True):
    """A case; ``told`` says of the shortest one how it was found."""

    lengths: Mapping[str, Size]
    batch: Size
    raggedness: Raggedness
    rows: RowLengths | UnsetType = UNSET
    told: str | UnsetType = UNSET


class Departure(Struct, forbid_unknown_fields=True, kw_only=True):
    """The largest error of one output at each of ``steps``, in one case."""

    lengths: Mapping[str, Size]
    batch: Size
    raggedness: Raggedness
    rows: RowLengths
    output: str
    tolerance: Magnitude
    scale: Magnitude
    steps: Sequence[Size]
    errors: list[Magnitude | None]
    length: Size
    whole: bool
    first_step: Size | None
    steps_beyond: Size


class BlamedNode(Struct, forbid_unknown_fields=True, kw_only=True):
    """The first node whose output departs though its inputs do not."""

    node: str
    index: Size
    tensor: str
    max_abs: Magnitude | None
    scale: Magnitude
    told: str
    certain: bool
    first_step: Size | None
    counterpart: str
    differences: Sequence[str]


class GuessEntry(Struct, forbid_unknown_fields=True):
    """A known mistake that fits, and the evidence."""

    pattern: str
    words: str
    rests_on: str
    confirmed: bool


class CellDiagnosis(Struct, forbid_unknown_fields=True, kw_only=True):
    """Why a cell fails, as far as it is known."""

    id: str
    status: Status
    stage: Stage
    reason: str
    cases: JudgedCases
    shortest: CaseEntry | None
    after: CaseEntry | None
    reference: str
    departure: Departure | None
    along: Departure | None
    fault: Fault
    why: str
    node: BlamedNode | None
    guesses: list[GuessEntry]
    notes: Sequence[str]
    reproduces: str | None
    folder: str | None
    replay: str


class DiagnosisFile(Struct, forbid_unknown_fields=True):
    """The diagnosis of every cell of a selection."""

    schema: Literal[1]
    command: str
    environment: Mapping[str, Any]
    diagnoses: list[CellDiagnosis]
