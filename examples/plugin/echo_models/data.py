"""What the model learns: uniform tokens, each to be told one step later; before the first is 0."""

import numpy as np

from echo_models import TOKENS
from reference_models.task import Batch, Task, accuracy


def _batch(rng: np.random.Generator) -> Batch:
    tokens = rng.integers(0, TOKENS, (32, 10))
    return Batch({"tokens": tokens}, np.pad(tokens, ((0, 0), (1, 0)))[:, :-1])


TASK = Task(
    output="before",
    loss="categorical",
    batch=_batch,
    score=accuracy,
    unit="accuracy",
    chance=1 / TOKENS,
    best=1.0,
    steps=200,
    learning_rate=2e-2,
)
