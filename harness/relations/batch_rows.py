"""``batch-rows``: a batch equals its rows run alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from harness.core.schema import BATCH, GoldenCase
from harness.relations.context import Check, Context, Pair, row


def relation(context: Context) -> Check | None:
    """Applies where every output, and at least one input, has a batch."""
    spec = context.spec
    batched = any(BATCH in t.axes for t in spec.inputs)
    if not batched or any(BATCH not in t.axes for t in spec.outputs):
        return None

    def check(golden: GoldenCase) -> Iterator[Pair]:
        case, alone = golden.case, replace(golden.case, batch=1)
        if case.batch < 2:
            return
        whole = context.run(golden.inputs, case)
        rows = [
            context.run(row(spec, golden.inputs, number), alone) for number in range(case.batch)
        ]
        together = {
            t.name: np.concatenate([one[t.name] for one in rows], axis=t.axes.index(BATCH))
            for t in spec.outputs
        }
        yield Pair("", together, whole)

    return check
