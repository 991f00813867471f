"""Copying: a row of 1 to 16 steps, in which one vowel and one consonant alternate, is copied.

There are ``LETTERS`` consonants, which stand at the odd positions, and as many vowels, all
equally likely: without the input a guess is right once in ``LETTERS`` times. Positions after the
row's end are class 0; they are trained on but not scored.
"""

import numpy as np

from harness.core.schema import Array
from reference_models.fixed_length_autoencoder.spec import STEPS
from reference_models.task import Batch, Task

LETTERS = 12
ROWS = 32


def _batch(rng: np.random.Generator) -> Batch:
    syllable = 1 + rng.integers(0, LETTERS, (ROWS, 2)) + (0, LETTERS)
    lengths = rng.integers(1, STEPS + 1, (ROWS, 1))
    position = np.arange(STEPS)
    target = np.where(position < lengths, syllable[:, position % 2], 0)
    return Batch({"tokens": target[:, : lengths.max()].astype(np.int32)}, target)


def _score(output: Array, batch: Batch) -> tuple[float, float]:
    within = batch.target > 0
    right = (output.argmax(-1) == batch.target) & within
    return float(right.sum()), float(within.sum())


TASK = Task(
    "probabilities",
    _batch,
    chance=1 / LETTERS,
    steps=1000,
    score=_score,
    unit="accuracy within the row",
    learning_rate=1e-2,
)
