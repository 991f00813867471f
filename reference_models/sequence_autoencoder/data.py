"""Copying: a sequence is one symbol over and over, and every step has to tell it again."""

import numpy as np

from reference_models.sequence_autoencoder.spec import SYMBOLS
from reference_models.task import Batch, Task, accuracy

LENGTHS = (3, 8, 16)
ROWS = 64
DRAWN = 20
"""How many of the 100 symbols occur: as many as three units learn to tell apart."""

_CHOICES = np.arange(0, SYMBOLS, SYMBOLS // DRAWN)


def _batch(rng: np.random.Generator) -> Batch:
    symbols = rng.choice(_CHOICES, (ROWS, 1))
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
    steps=2000,
    learning_rate=3e-2,
)
