"""Reversal: the decoder gives the source's symbols, the last one first, and then the boundary.

Its input is the boundary and then its target, one step late.
"""

import numpy as np

from reference_models.attention_seq2seq.spec import BOUNDARY, SYMBOLS
from reference_models.task import Batch, Task

LONGEST = 6
ROWS = 64


def _batch(rng: np.random.Generator) -> Batch:
    lengths = rng.integers(1, LONGEST + 1, (ROWS, 1))
    source = rng.integers(1, BOUNDARY, (ROWS, LONGEST))
    step = np.arange(LONGEST + 1)
    reverse = np.take_along_axis(source, np.maximum(lengths - 1 - step, 0), axis=1)
    target = np.where(step < lengths, reverse, BOUNDARY)
    shifted = np.concatenate([np.full((ROWS, 1), BOUNDARY), target[:, :-1]], axis=1)
    valid = step <= lengths
    inputs = {
        "source": np.where(step[:-1] < lengths, source, 0),
        "target": np.where(valid, shifted, 0),
    }
    return Batch({n: value.astype(np.int32) for n, value in inputs.items()}, target, valid)


def _chance() -> float:
    """Return the share of the boundary or of one symbol, whichever is larger."""
    symbols = (1 + LONGEST) / 2
    return max(1, symbols / SYMBOLS) / (symbols + 1)


TASK = Task("logits", _batch, _chance(), steps=1500, loss="categorical_logits", learning_rate=1e-2)
