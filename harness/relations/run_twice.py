"""``run-twice``: the same inputs twice on one session give the same bits."""

from __future__ import annotations

from collections.abc import Iterator

from harness.core.schema import GoldenCase
from harness.relations.context import Check, Context, Pair


def relation(context: Context) -> Check | str:
    """Apply to every model; the outputs agree bit for bit."""

    def check(golden: GoldenCase) -> Iterator[Pair]:
        first = context.run(golden.inputs, golden.case)
        yield Pair("", first, context.run(golden.inputs, golden.case), exact=True)

    return check
