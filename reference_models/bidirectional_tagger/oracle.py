"""The bidirectional tagger in float64 NumPy."""

from harness.core.schema import Arrays, PaddedSteps
from reference_models.numerics import bidirectional, dense, embedding, lstm, softmax


def run(name: str, params: Arrays, inputs: Arrays, padded: PaddedSteps) -> Arrays:
    """Return ``probabilities`` [batch, steps, tags]."""
    x = embedding(params, "embedding", inputs["tokens"])
    x, _ = bidirectional(lstm, params, "lstm", x, inputs["tokens"] != 0, padded)
    return {"probabilities": softmax(dense(params, "probabilities", x))}
