"""Reversal: the decoder tells the source's symbols, the last one first, and then the boundary.

It is given the boundary and what it should have told before each step.
"""

import numpy as np

from reference_models.encoder_decoder.spec import BOUNDARY, SYMBOLS
from reference_models.task import Batch, Task, accuracy

LONGEST = 4
ROWS = 64


def _batch(rng: np.random.Generator) -> Batch:
    lengths = rng.integers(1, LONGEST + 1, (ROWS, 1))
    source = rng.integers(1, BOUNDARY, (ROWS, LONGEST))
    step = np.arange(LONGEST + 1)
    reverse = np.take_along_axis(source, np.maximum(lengths - 1 - step, 0), axis=1)
    told = np.where(step < lengths, reverse, BOUNDARY)
    given = np.concatenate([np.full((ROWS, 1), BOUNDARY), told[:, :-1]], axis=1)
    inputs = {"source": np.where(step[:-1] < lengths, source, 0), "target": given}
    inputs = {name: value.astype(np.int32) for name, value in inputs.items()}
    return Batch(inputs, told, step <= lengths)


def _chance() -> float:
    """The share of the boundary or of one symbol, whichever is larger."""
    symbols = (1 + LONGEST) / 2
    return max(1, symbols / SYMBOLS) / (symbols + 1)


TASK = Task(
    output="logits",
    loss="categorical_logits",
    batch=_batch,
    score=accuracy,
    unit="accuracy",
    chance=_chance(),
    best=1.0,
    steps=1000,
    learning_rate=1e-2,
)
