"""Each label is the token plus the row's first token, modulo the number of labels."""

import numpy as np

from reference_models.causal_decoder.spec import HEAD, HEADS, SYMBOLS, TOKENS
from reference_models.task import Batch, Task

LONGEST = 5
ROWS = 64


def _batch(rng: np.random.Generator) -> Batch:
    """Draw rows without a past."""
    tokens = rng.integers(0, TOKENS, (ROWS, LONGEST)).astype(np.int32)
    nothing = np.zeros((ROWS, HEADS, 0, HEAD), np.float32)
    inputs = {"tokens": tokens, "past_key": nothing, "past_value": nothing}
    return Batch(inputs, (tokens + tokens[:, :1]) % SYMBOLS)


assert TOKENS % SYMBOLS == 0

TASK = Task(
    "labels", _batch, 1 / SYMBOLS, steps=1500, loss="categorical_logits", learning_rate=1e-2
)
