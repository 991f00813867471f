"""A rule-based dialogue: words and phrases set acts, and what is set stays set.

Words are drawn uniformly. Each of the first ``PLAIN`` acts is set by any of its ``CUES`` words;
each other act by any of its ``TOPICS`` words, once any of the ``OPENINGS`` came before. The words
that remain mean nothing. Every batch is as wide as the longest row may be.
"""

import numpy as np

from harness.schema import Array
from reference_models.dialog_act.spec import ACTS, WORDS
from reference_models.task import Batch, Task

PLAIN = 8
CUES = 6
TOPICS = 16
OPENINGS = 20
LONGEST = 24
ROWS = 32

_OPENING = ACTS
_SETS = np.full(WORDS, _OPENING + 1)
_MEANINGS = np.repeat(np.arange(ACTS + 1), [CUES] * PLAIN + [TOPICS] * (ACTS - PLAIN) + [OPENINGS])
_SETS[1 : 1 + len(_MEANINGS)] = _MEANINGS


def acts(words: Array) -> Array:
    """The acts that hold after each step of ``words`` [batch, steps]: bool [..., acts]."""
    heard = _SETS[words][..., None] == np.arange(ACTS + 1)
    opened = np.logical_or.accumulate(heard[..., _OPENING:], axis=1)
    heard[..., PLAIN:ACTS] &= opened
    return np.asarray(np.logical_or.accumulate(heard[..., :ACTS], axis=1))


def _batch(rng: np.random.Generator) -> Batch:
    valid = np.arange(LONGEST) < rng.integers(1, LONGEST + 1, (ROWS, 1))
    words = np.where(valid, rng.integers(1, WORDS, valid.shape), 0).astype(np.int32)
    return Batch({"words": words}, acts(words), valid[..., None])


def _score(output: Array, batch: Batch) -> tuple[float, float]:
    assert batch.weight is not None
    right = ((output > 0.5) == batch.target) & batch.weight
    return float(right.sum()), float(batch.weight.sum() * ACTS)


def _chance() -> float:
    """The bit accuracy of the best constant vector, from how often each bit is unset.

    A phrase is unset while no opening came, or none of its topics since the first.
    """
    cue, topic, opening = np.array([CUES, TOPICS, OPENINGS]) / (WORDS - 1)
    plain = before = 1.0
    since = 0.0
    unset = np.zeros(2)
    for rows in range(LONGEST, 0, -1):
        plain *= 1 - cue
        before, since = before * (1 - opening), before * opening + since * (1 - topic)
        unset += rows * np.array([plain, before + since])
    share = unset / (LONGEST * (LONGEST + 1) / 2)
    return float(np.maximum(share, 1 - share) @ [PLAIN / ACTS, 1 - PLAIN / ACTS])


TASK = Task(
    output="acts",
    loss="binary",
    batch=_batch,
    score=_score,
    unit="bit accuracy",
    chance=_chance(),
    best=1.0,
    steps=1500,
    learning_rate=1e-2,
)
