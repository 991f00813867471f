"""Why one cell fails, as far as it is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from harness.core.results import Cell, Status
from harness.core.schema import Case, Stage
from harness.diagnosis.blame import Blame
from harness.diagnosis.departure import Along
from harness.diagnosis.form import Fault
from harness.diagnosis.reproduction import Example
from harness.diagnosis.shortest import Shortest


@dataclass(frozen=True)
class Guess:
    """A known mistake that fits: its short name, in words, and the evidence.

    It is ``confirmed`` where undoing the mistake, or making it on purpose, gave what it explains.
    """

    pattern: str
    words: str
    rests_on: str
    confirmed: bool


@dataclass(frozen=True)
class Diagnosis:
    """One cell; all but its result is empty where it passes.

    ``judged`` and ``failing`` are golden cases. ``at`` is the departure along time at the shortest
    failing case, ``along`` at a long one. ``after`` is the case that must run first on a session
    for the shortest one to fail. ``example`` departs when it runs alone.
    """

    cell: Cell
    status: Status
    stage: Stage
    reason: str
    replay: str = ""
    judged: Sequence[Case] = ()
    failing: Sequence[Case] = ()
    shortest: Shortest | None = None
    after: Case | None = None
    at: Along | None = None
    along: Along | None = None
    reference: str = ""
    fault: Fault = "unknown"
    why: str = ""
    blame: Blame | None = None
    notes: Sequence[str] = ()
    guesses: Sequence[Guess] = ()
    example: Example | None = field(default=None, repr=False)

    @property
    def passes(self) -> bool:
        return self.status is Status.PASS
