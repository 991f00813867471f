"""Each label is the token plus the row's first token, modulo the number of labels."""

import numpy as np

from reference_models.task import Batch, Task, padded_ids
from reference_models.transformer_encoder.spec import LABELS, TOKENS

LONGEST = 24
ROWS = 64


def _batch(rng: np.random.Generator) -> Batch:
    tokens, valid = padded_ids(rng, ROWS, LONGEST, TOKENS)
    return Batch({"tokens": tokens}, (tokens + tokens[:, :1]) % LABELS, valid)


assert (TOKENS - 1) % LABELS == 0

TASK = Task("labels", _batch, 1 / LABELS, steps=1500, loss="categorical_logits", learning_rate=1e-2)
