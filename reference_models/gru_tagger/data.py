"""A counter that stops at its ends: tokens move it up, down, or all the way to one end.

Tokens are uniform: ``MOVERS`` of them move it up by one and as many down, ``SETTERS`` set it to the
top and as many to 0, where it starts; the others leave it. The tag is its level after each step.
"""

import numpy as np

from harness.core.schema import Array
from reference_models.gru_tagger.spec import TAGS, TOKENS
from reference_models.task import Batch, Task, padded_ids

MOVERS = 5
SETTERS = 2
LONGEST = 20
ROWS = 32

_MOVE = np.zeros(TOKENS, np.int64)
_MOVE[1 : 2 * (MOVERS + SETTERS) + 1] = np.repeat(
    [1, -1, TAGS, -TAGS], [MOVERS, MOVERS, SETTERS, SETTERS]
)


def tags(tokens: Array) -> Array:
    """Return the level after each step of ``tokens`` [batch, steps]."""
    levels = np.zeros(tokens.shape, np.int64)
    level = np.zeros(len(tokens), np.int64)
    for step, move in enumerate(_MOVE[tokens].T):
        level = np.clip(level + move, 0, TAGS - 1)
        levels[:, step] = level
    return levels


def _batch(rng: np.random.Generator) -> Batch:
    tokens, valid = padded_ids(rng, ROWS, LONGEST, TOKENS)
    return Batch({"tokens": tokens}, tags(tokens), valid)


def _chance() -> float:
    """Return the share of the commonest level over the steps of all rows."""
    at = np.eye(TAGS)[0]
    share = np.zeros(TAGS)
    for rows in range(LONGEST, 0, -1):
        after = np.zeros(TAGS)
        for move in _MOVE[1:]:
            np.add.at(after, np.clip(np.arange(TAGS) + move, 0, TAGS - 1), at)
        at = after / (TOKENS - 1)
        share += rows * at
    return float(share.max() / share.sum())


TASK = Task("probabilities", _batch, _chance(), steps=800, learning_rate=1e-2)
