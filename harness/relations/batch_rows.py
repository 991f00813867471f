"""``batch-rows``: a batch equals its rows run alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from harness.core.schema import BATCH, GoldenCase
from harness.relations.context import Check, Context, Pair, joined, taken


def relation(context: Context) -> Check | None:
    """Apply where every output, and at least one input, has a batch."""
    spec = context.spec
    batched = any(BATCH in t.axes for t in spec.inputs)
    if not batched or any(BATCH not in t.axes for t in spec.outputs):
        return None

    def check(golden: GoldenCase) -> Iterator[Pair]:
        case, alone = golden.case, replace(golden.case, batch=1)
        if case.batch < 2:
            return
        together = context.run(golden.inputs, case)
        rows = [
            context.run(taken(spec.inputs, golden.inputs, BATCH, [number]), alone)
            for number in range(case.batch)
        ]
        yield Pair("", joined(spec.outputs, rows, BATCH), together)

    return check
