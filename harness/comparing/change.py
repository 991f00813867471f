"""What became of one cell from one run to another, and of all of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from harness.core.errors import CONFORMS, DOES_NOT_CONFORM, NOTHING_COMPARED
from harness.typed_json import Magnitude, Size


class Word(StrEnum):
    """What became of a cell; those that are ``BAD`` are worse than before."""

    NEWLY_FAILING = "newly failing"
    MISSING = "missing"
    WORSE = "worse"
    MENDED = "mended"
    BETTER = "better"
    ADDED = "added"
    SAME = "same"
    IDENTICAL = "bit-identical"


BAD = (Word.NEWLY_FAILING, Word.MISSING, Word.WORSE)


@dataclass(frozen=True)
class Change:
    """What became of a cell, named by its id.

    ``before`` and ``after`` are what was measured in each run: of reports the largest error ÷
    tolerance, of outputs 0 and the largest difference in ULP; None where there is nothing.
    """

    cell: str
    word: Word
    reason: str = ""
    before: Magnitude | None = None
    after: Magnitude | None = None
    compared: Size = 0


@dataclass(frozen=True)
class Comparison:
    """Every cell of two runs, in the order of the first; ``what`` says what was compared."""

    what: str
    before: str
    after: str
    budget: str
    changes: Sequence[Change]

    @cached_property
    def counts(self) -> dict[Word, int]:
        """The number of cells of each word, the worst first; words without a cell are left out."""
        counts = Counter(change.word for change in self.changes)
        return {word: counts[word] for word in Word if counts[word]}

    @property
    def compared(self) -> int:
        """The number of outputs that both runs have."""
        return sum(change.compared for change in self.changes)

    @property
    def exit_code(self) -> int:
        """1 where a cell is worse than the budget allows, 4 where the runs share no output."""
        if any(word in BAD for word in self.counts):
            return DOES_NOT_CONFORM
        return CONFORMS if self.compared else NOTHING_COMPARED
