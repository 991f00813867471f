"""Copying: a sequence is one symbol over and over, and the target of every step is that symbol."""

import numpy as np

from reference_models.sequence_autoencoder.spec import DRAWN
from reference_models.task import Batch, Task

LENGTHS = (2, 4, 8)
ROWS = 64


def _batch(rng: np.random.Generator) -> Batch:
    symbols = rng.integers(0, DRAWN, (ROWS, 1))
    tokens = np.repeat(symbols, int(rng.choice(LENGTHS)), axis=1)
    return Batch({"tokens": tokens.astype(np.int32)}, tokens)


TASK = Task("probabilities", _batch, chance=1 / DRAWN, steps=1000, learning_rate=3e-2)
