"""Cases that are added once others ran: a long one, and those that read the rest of a table."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.core.schema import BATCH, Case, ModelSpec, lengths_text
from harness.recording.cases import BATCHES, LENGTHS, free_axes, long_case, output_values
from harness.recording.measured import Measured
from harness.recording.probing import RefusedError, UserModel, run
from harness.recording.runs import Refused
from harness.recording.values import Feed, Values

LONG_SECONDS = 20.0
"""The longest that one float64 run of the long case may be expected to take."""
LONG_VALUES = 2**24
"""The values of the outputs of the long case, at most."""
READING_SECONDS = 1.0
"""The longest that a float64 run of all cases that read the rest of a table may be expected to."""
READING = (64, 64)
"""The length and the batch of such a case, at most."""
OUTPUT_VALUES = 2**20
"""The values of the outputs of such a case, at most."""


@dataclass(frozen=True)
class More:
    """The default cases of a model beyond ``cases.plan``; there are none at ``--lengths``."""

    model: UserModel
    spec: ModelSpec
    lengths: Sequence[int]
    batches: Sequence[int]

    def long(self, results: list[Measured], values: Values, refused: Refused) -> Iterator[Feed]:
        """Yield the long case, unless it is too large or, by the longest run so far, too slow.

        Attention takes time by the square of a length.
        """
        case = long_case(self.spec, self.batches)
        if tuple(self.lengths) != LENGTHS or case is None:
            return
        told = f"{lengths_text(case.lengths)}, batch={case.batch}"
        if (large := output_values(self.spec, case)) > LONG_VALUES:
            refused[f"its outputs would have {large:,} values"].append(told)
            return
        like = max(results, key=lambda result: result.case.longest)
        seconds = self._seconds(like)
        growth = (case.longest / like.case.longest) ** 2 * max(case.batch / like.case.batch, 1)
        if seconds * growth > LONG_SECONDS:
            longest = lengths_text(like.case.lengths)
            reason = f"one float64 run takes {seconds:.2g} s at {longest}; it would take too long"
            refused[reason].append(told)
            return
        yield values.feed(case, turn=0)

    def reading(self, results: list[Measured], values: Values, refused: Refused) -> Iterator[Feed]:
        """Yield cases until every value of each range of integers is read, where that is cheap."""
        left = values.unread()
        many = any(BATCH in tensor.axes for tensor in self.spec.inputs)
        if left <= 0 or not many or tuple(self.batches) != BATCHES:
            return
        like = max(results, key=lambda result: (result.case.batch, result.case.longest))
        outputs = like.values
        steps = like.case.batch * like.case.longest
        axes = free_axes(self.spec)
        length = max((n for n in self.lengths if n <= READING[0]), default=self.lengths[0])
        length = length if axes else 1
        batch = min(READING[1], OUTPUT_VALUES * steps // max(outputs, 1) // length)
        if batch < 1 or self._seconds(like) * left / steps > READING_SECONDS:
            return
        for draw in range(-(-left // (length * batch))):
            if values.unread() > 0:
                lengths = self.spec.fitted(dict.fromkeys(axes, length))
                yield values.feed(Case(lengths, batch, draw=1 + draw), turn=0)

    def _seconds(self, like: Measured) -> float:
        """Return how long the float64 model takes for a case that it ran before."""
        started = time.perf_counter()
        try:
            run(self.model, like.inputs, wide=True)
        except RefusedError:
            return float("inf")
        return time.perf_counter() - started
