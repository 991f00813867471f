"""``batch-rows``: a batch equals its rows run alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from harness.core.schema import BATCH, GoldenCase
from harness.relations.context import Check, Context, Pair, joined, taken


def relation(context: Context) -> Check | str:
    """Apply where every output, and at least one input, has a batch.

    The length of an axis that no input has must follow, by its rule, from those of axes that do.
    """
    spec = context.spec
    if not any(BATCH in tensor.axes for tensor in spec.inputs):
        return "no input has a batch"
    if alike := [tensor.name for tensor in spec.outputs if BATCH not in tensor.axes]:
        return f"output {alike[0]} has no batch"
    own = {axis for tensor in spec.inputs for axis in tensor.axes} | {*spec.lengths.values()}
    own |= {axis for axis, rule in spec.rules.items() if rule.terms and own >= {*rule.terms}}
    for tensor in spec.outputs:
        if derived := [a for a in tensor.axes if isinstance(a, str) and a not in own]:
            return (
                f"output {tensor.name} has an axis {derived[0]}, whose size other rows may decide"
            )

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
