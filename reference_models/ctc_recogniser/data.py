"""Bursts of one feature at a time, with noise and silence between them: each is a label.

The score is the share of rows whose labels, decoded greedily, are all right.
"""

import numpy as np

from harness.core.schema import Array
from reference_models.ctc_recogniser.spec import FEATURES, STRIDE
from reference_models.task import Batch, Task

MOST = 5
BURST, SILENCE = 6, 6
NOISE = 0.2
ROWS = 32


def _batch(rng: np.random.Generator) -> Batch:
    counts = rng.integers(1, MOST + 1, (ROWS, 1))
    target = np.where(np.arange(MOST) < counts, rng.integers(1, FEATURES + 1, (ROWS, MOST)), 0)
    steps = np.arange(MOST * (BURST + SILENCE))
    label = target[:, steps // (BURST + SILENCE)] * (steps % (BURST + SILENCE) < BURST)
    features = (label[..., None] == 1 + np.arange(FEATURES)) * (1 - NOISE)
    features = features + rng.uniform(-NOISE, NOISE, features.shape)
    lengths = counts[:, 0] * (BURST + SILENCE) - rng.integers(0, SILENCE, ROWS)
    inputs = {"features": features.astype(np.float32), "lengths": lengths.astype(np.int32)}
    return Batch(inputs, target, (lengths + STRIDE**2 - 1) // STRIDE**2)


def _score(output: Array, batch: Batch) -> tuple[float, float]:
    assert batch.weight is not None
    right = 0
    for row, target, frames in zip(output, batch.target, batch.weight, strict=True):
        best = row[:frames].argmax(-1)
        new = best[np.diff(best, prepend=0) != 0]
        right += list(new[new != 0]) == list(target[target != 0])
    return float(right), float(len(output))


TASK = Task(
    "logits",
    _batch,
    chance=1 / (MOST * FEATURES),
    steps=400,
    loss="ctc",
    score=_score,
    unit="rows decoded exactly",
    learning_rate=1e-2,
)
