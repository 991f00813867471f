"""Markers among fillers: a tag names the last marker up to a step and the next one from it on.

Tokens are uniform: each kind of marker has ``NAMES`` of them, the others are fillers. A marker's
own step counts as its last and its next one; kind 0 stands for no marker.
"""

import numpy as np

from harness.core.schema import Array
from reference_models.bidirectional_tagger.spec import TAGS, TOKENS
from reference_models.task import Batch, Task, padded_ids

KINDS = 3
NAMES = 2
LONGEST = 20
ROWS = 32

assert (KINDS + 1) ** 2 == TAGS


def tags(tokens: Array) -> Array:
    """Return (kinds + 1) * last marker + next marker at each step of ``tokens`` [batch, steps]."""
    marker = np.where(tokens <= KINDS * NAMES, (tokens + NAMES - 1) // NAMES, 0)
    return (KINDS + 1) * _last_marker(marker) + _last_marker(marker[:, ::-1])[:, ::-1]


def _last_marker(marker: Array) -> Array:
    step = np.where(marker > 0, np.arange(marker.shape[1]), 0)
    return np.take_along_axis(marker, np.maximum.accumulate(step, axis=1), axis=1)


def _batch(rng: np.random.Generator) -> Batch:
    tokens, valid = padded_ids(rng, ROWS, LONGEST, TOKENS)
    return Batch({"tokens": tokens}, tags(tokens), valid)


def _chance() -> float:
    """Return the share of the commonest tag: one kind on both sides, or no marker in a row.

    A row has ``before`` steps before a step and ``after`` steps after it.
    """
    share = KINDS * NAMES / (TOKENS - 1)
    none = same = steps = 0.0
    for length in range(1, LONGEST + 1):
        before = np.arange(length)
        after = before[::-1]
        around = (1 - (1 - share) ** before) * (1 - (1 - share) ** after) / KINDS**2
        same += float((share / KINDS + (1 - share) * around).sum())
        none += length * (1 - share) ** length
        steps += length
    return max(none, same) / steps


TASK = Task("probabilities", _batch, _chance(), steps=400, learning_rate=1e-2)
