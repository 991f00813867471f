"""The model in float64 NumPy."""

from harness.core.schema import Arrays, PaddedSteps
from reference_models.numerics import dense, embedding, gru, softmax


def run(name: str, params: Arrays, inputs: Arrays, padded: PaddedSteps) -> Arrays:
    """Return ``before`` [batch, steps, tokens]."""
    x, _ = gru(params, "gru", embedding(params, "embedding", inputs["tokens"]))
    return {"before": softmax(dense(params, "before", x))}
