"""A rule-based dialogue: words and phrases set acts, which hold until the turn ends.

Words are drawn uniformly. Each of the first ``PLAIN`` acts is set by any of its ``CUES`` words;
each other act by any of its ``TOPICS`` words, once any of the ``OPENINGS`` came in the same turn.
Any of the ``ENDINGS`` starts a new turn, in which no act holds yet. The words that remain mean
nothing. Every batch is as wide as the longest row may be.
"""

import numpy as np

from harness.core.schema import Array
from reference_models.dialog_act.spec import ACTS, WORDS
from reference_models.task import Batch, Task, padded_ids

PLAIN = 8
CUES = 8
TOPICS = 16
OPENINGS = 30
ENDINGS = 12
LONGEST = 24
ROWS = 48

_OPENING, _ENDING, _NOTHING = ACTS, ACTS + 1, ACTS + 2
_MEANINGS = np.repeat(
    np.arange(_NOTHING), [CUES] * PLAIN + [TOPICS] * (ACTS - PLAIN) + [OPENINGS, ENDINGS]
)
_MEANING = np.full(WORDS, _NOTHING)
_MEANING[1 : 1 + len(_MEANINGS)] = _MEANINGS


def acts(words: Array) -> Array:
    """Return the acts that hold after each step of ``words`` [batch, steps]: bool [..., acts]."""
    meanings = _MEANING[words]
    holding = np.zeros((len(words), _OPENING + 1), bool)
    result = np.zeros((*words.shape, ACTS), bool)
    for step in range(words.shape[1]):
        meaning = meanings[:, step, None]
        heard = meaning == np.arange(_OPENING + 1)
        heard[:, PLAIN:ACTS] &= holding[:, _OPENING:]
        holding = (holding | heard) & (meaning != _ENDING)
        result[:, step] = holding[:, :ACTS]
    return result


def _batch(rng: np.random.Generator) -> Batch:
    words, valid = padded_ids(rng, ROWS, LONGEST, WORDS)
    return Batch({"words": words}, acts(words), valid[..., None])


def _score(output: Array, batch: Batch) -> tuple[float, float]:
    assert batch.weight is not None
    right = ((output > 0.5) == batch.target) & batch.weight
    return float(right.sum()), float(batch.weight.sum() * ACTS)


def _chance() -> float:
    """Return the bit accuracy of the best constant vector, from how often each bit is unset.

    A phrase is unset while no opening came in the turn, or none of its topics since the first.
    """
    cue, topic, opening, ending = np.array([CUES, TOPICS, OPENINGS, ENDINGS]) / (WORDS - 1)
    plain = before = 1.0
    since = 0.0
    unset = np.zeros(2)
    for rows in range(LONGEST, 0, -1):
        plain = ending + plain * (1 - ending - cue)
        since = before * opening + since * (1 - ending - topic)
        before = ending + before * (1 - ending - opening)
        unset += rows * np.array([plain, before + since])
    share = unset / (LONGEST * (LONGEST + 1) / 2)
    return float(np.maximum(share, 1 - share) @ [PLAIN / ACTS, 1 - PLAIN / ACTS])


TASK = Task(
    "acts",
    _batch,
    _chance(),
    steps=1500,
    loss="binary",
    score=_score,
    unit="bit accuracy",
    learning_rate=2e-2,
)
