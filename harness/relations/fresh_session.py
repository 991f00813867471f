"""``fresh-session``: one session over shuffled lengths equals a fresh session per length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from harness.core.schema import GoldenCase
from harness.relations.context import Check, Context, Pair

SEED = 13


def relation(context: Context) -> Check | str:
    """Apply to every model; the outputs agree bit for bit."""
    order = np.random.default_rng(SEED).permutation(len(context.cases))
    shuffled = [context.cases[place] for place in order]
    used = {g.case.id: context.run(g.inputs, g.case) for g in shuffled}

    def check(golden: GoldenCase) -> Iterator[Pair]:
        fresh = context.runtime.prepare(str(context.model))
        alone = context.run(golden.inputs, golden.case, fresh)
        yield Pair("", alone, used[golden.case.id], exact=True)

    return check
