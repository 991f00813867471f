"""Copying: a sequence is one symbol over and over, and every step has to tell it again."""

import numpy as np

from reference_models.sequence_autoencoder.spec import DRAWN
from reference_models.task import Batch, Task, accuracy

LENGTHS = (2, 4, 8)
ROWS = 64


def _batch(rng: np.random.Generator) -> Batch:
    symbols = rng.integers(0, DRAWN, (ROWS, 1))
    tokens = np.repeat(symbols, int(rng.choice(LENGTHS)), axis=1)
    return Batch({"tokens": tokens.astype(np.int32)}, tokens)


TASK = Task(
    output="probabilities",
    loss="categorical",
    batch=_batch,
    score=accuracy,
    unit="accuracy",
    chance=1 / DRAWN,
    best=1.0,
    steps=1000,
    learning_rate=3e-2,
)
