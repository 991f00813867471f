"""Cases that are added once others ran: long, for the rest of a table, of small values."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.core.schema import BATCH, Arrays, Case, ModelSpec, lengths_text
from harness.recording.cases import BATCHES, LENGTHS, free_axes, long_case, output_values
from harness.recording.measured import Measured
from harness.recording.output_axes import named
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
SMALL_DRAW = 2000
"""The first number of a draw that is made in search of small values."""
SMALL = 1e-3
"""A value that is small beside the largest of an output."""
SMALL_DRAWS, SMALL_PART = 16, 0.5
"""How many inputs are drawn in search of such values at most, and of how many steps of all rows as
a part of those of the cases so far: the same model has the same cases on every machine."""
SMALL_VALUES = 2**13
"""The values of their outputs, of which a golden then holds every one."""
HOPELESS = 30
"""An output without any value less than so many times as large as a small one has none."""


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

    def small(self, results: list[Measured], values: Values, refused: Refused) -> Iterator[Feed]:
        """Yield cases with values that are small beside others of an output, if none has some.

        What computes those wrongly shows nowhere else. An output far from having any is left.
        """
        least = _least(self.spec, [result.outputs for result in results])
        axes = free_axes(self.spec)
        usual = tuple(self.lengths) == LENGTHS and tuple(self.batches) == BATCHES
        if not usual or not any(BATCH in tensor.axes for tensor in self.spec.inputs):
            return
        like = max(results, key=lambda result: (result.case.batch, result.case.longest))
        of_step = max(like.values // (like.case.batch * max(like.case.longest, 1)), 1)
        length = READING[0] // 4 if axes else 1
        batch = min(READING[1], SMALL_VALUES // (of_step * length))
        if batch < 1:
            return
        steps = sum(result.case.batch * max(result.case.longest, 1) for result in results)
        draws = max(1, int(SMALL_PART * steps) // (batch * length))
        for draw in range(min(SMALL_DRAWS, draws)):
            near = {name for name, part in least.items() if SMALL < part < HOPELESS * SMALL}
            if not near:
                return
            lengths = self.spec.fitted(dict.fromkeys(axes, length))
            feed = values.feed(Case(lengths, batch, draw=SMALL_DRAW + draw), turn=0)
            try:
                outputs = named(self.spec, run(self.model, feed.inputs, wide=False))
            except RefusedError:
                return
            found = _least(self.spec, [outputs])
            least = {name: min(part, found.get(name, 1.0)) for name, part in least.items()}
            if any(least[name] <= SMALL for name in near):
                yield feed

    def _seconds(self, like: Measured) -> float:
        """Return how long the float64 model takes for a case that it ran before."""
        started = time.perf_counter()
        try:
            run(self.model, like.inputs, wide=True)
        except RefusedError:
            return float("inf")
        return time.perf_counter() - started


def _least(spec: ModelSpec, several: Sequence[Arrays]) -> dict[str, float]:
    """Return the smallest value of each float output, as a part of the largest beside it."""
    least: dict[str, float] = {}
    for outputs in several:
        for tensor in spec.outputs:
            value = outputs[tensor.name]
            if value.dtype.kind == "f":
                sizes = np.abs(value[np.isfinite(value) & (value != 0)])
                part = float(sizes.min() / sizes.max()) if sizes.size else 1.0
                least[tensor.name] = min(part, least.get(tensor.name, 1.0))
    return least
