"""The recogniser in float64 NumPy."""

import numpy as np

from harness.core.schema import Arrays, PaddedSteps
from reference_models.ctc_recogniser.spec import STRIDE
from reference_models.numerics import bidirectional, conv, dense, lstm, relu


def run(name: str, params: Arrays, inputs: Arrays, padded: PaddedSteps) -> Arrays:
    """Return ``logits`` [batch, frames, labels], zero after a row's frames, and their number."""
    x, counts = inputs["features"], inputs["lengths"]
    valid = np.arange(x.shape[1]) < counts[:, None]
    x = np.where(valid[..., None], x, 0.0)
    for layer in ("conv_1", "conv_2"):
        counts = (counts + STRIDE - 1) // STRIDE
        x = relu(conv(params, layer, x, STRIDE))
        valid = np.arange(x.shape[1]) < counts[:, None]
        x = np.where(valid[..., None], x, 0.0)
    x, _ = bidirectional(lstm, params, "lstm", x, valid, padded)
    logits = np.where(valid[..., None], dense(params, "logits", x), 0.0)
    return {"logits": logits, "frame_counts": counts.astype(np.int32)}
