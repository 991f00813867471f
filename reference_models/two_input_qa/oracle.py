"""The question answerer in float64 NumPy."""

import numpy as np

from harness.core.schema import Arrays, PaddedSteps
from reference_models.numerics import dense, embedding, lstm, softmax


def run(name: str, params: Arrays, inputs: Arrays, padded: PaddedSteps) -> Arrays:
    """Return ``answer`` [batch, 500] from the final states of both LSTMs, the text's first."""
    states = []
    for part in ("text", "question"):
        words = embedding(params, f"{part}_embedding", inputs[part])
        _, (h, _) = lstm(params, f"{part}_lstm", words)
        states.append(h)
    return {"answer": softmax(dense(params, "answer", np.concatenate(states, axis=-1)))}
