"""A Markov grammar: nine groups of eleven tokens, the next group drawn from the present one.

A token is uniform within its group, so a token's entropy is that of its group plus log 11, given
the token before (the entropy rate, which nothing can beat) as well as without it (chance).
"""

import numpy as np

from harness.core.schema import Array
from reference_models.language_model.spec import STATES, UNITS
from reference_models.task import Batch, Task

GROUPS = 9
MEMBERS = 11
LONGEST = 32
ROWS = 32

_GROUP = np.arange(GROUPS)
TRANSITION = np.zeros((GROUPS, GROUPS))
TRANSITION[_GROUP, (2 * _GROUP + 1) % GROUPS] = 0.7
TRANSITION[_GROUP, (_GROUP + 5) % GROUPS] += 0.3


def stationary() -> Array:
    """Return the long-run share of each group: the left eigenvector of ``TRANSITION`` for 1."""
    equations = np.vstack((TRANSITION.T - np.eye(GROUPS), np.ones(GROUPS)))
    return np.asarray(np.linalg.lstsq(equations, np.eye(GROUPS + 1)[GROUPS], rcond=None)[0])


def entropy(p: Array) -> Array:
    """Return the entropy of the distributions on the last axis, in nats."""
    return np.asarray(-(p * np.log(np.where(p > 0, p, 1.0))).sum(-1))


def _batch(rng: np.random.Generator) -> Batch:
    """Draw rows of mixed lengths, one batch in four from a random state, the others from zero."""
    lengths = rng.integers(1, LONGEST + 1, ROWS)
    groups = np.empty((ROWS, lengths.max() + 1), np.int64)
    groups[:, 0] = rng.choice(GROUPS, ROWS, p=stationary())
    reach = TRANSITION.cumsum(1)
    for step, draw in enumerate(rng.random((lengths.max(), ROWS))):
        groups[:, step + 1] = (draw[:, None] > reach[groups[:, step]]).sum(1)
    text = 1 + groups * MEMBERS + rng.integers(0, MEMBERS, groups.shape)
    valid = np.arange(lengths.max()) < lengths[:, None]
    scale = float(rng.random() < 0.25)
    states = {n: (scale * rng.uniform(-1, 1, (ROWS, UNITS))).astype(np.float32) for n in STATES}
    tokens = np.where(valid, text[:, :-1], 0).astype(np.int32)
    return Batch({"tokens": tokens, **states}, text[:, 1:], valid)


def _score(output: Array, batch: Batch) -> tuple[float, float]:
    """Return the summed cross-entropy of the next tokens, in nats, and their count."""
    assert batch.weight is not None
    scores = output.astype(np.float64)
    top = scores.max(-1)
    norm = top + np.log(np.exp(scores - top[..., None]).sum(-1))
    losses = norm - np.take_along_axis(scores, batch.target[..., None], -1)[..., 0]
    return float((losses * batch.weight).sum()), float(batch.weight.sum())


TASK = Task(
    "logits",
    _batch,
    chance=float(entropy(stationary()) + np.log(MEMBERS)),
    best=float(stationary() @ entropy(TRANSITION) + np.log(MEMBERS)),
    steps=500,
    loss="categorical_logits",
    score=_score,
    unit="nats per token",
    learning_rate=1e-2,
)
