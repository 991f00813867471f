"""The model's task: at each step the uniform token of the step before, 0 at the first."""

import numpy as np

from echo_models import TOKENS
from reference_models.task import Batch, Task


def _batch(rng: np.random.Generator) -> Batch:
    tokens = rng.integers(0, TOKENS, (32, 10))
    return Batch({"tokens": tokens}, np.pad(tokens, ((0, 0), (1, 0)))[:, :-1])


TASK = Task("before", _batch, chance=1 / TOKENS, steps=200, learning_rate=2e-2)
