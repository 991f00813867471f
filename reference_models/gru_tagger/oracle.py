"""The GRU taggers in float64 NumPy."""

from harness.core.schema import Arrays, PaddedSteps
from reference_models.numerics import dense, embedding, gru, softmax


def run(name: str, params: Arrays, inputs: Arrays, padded: PaddedSteps) -> Arrays:
    """Return ``probabilities`` [batch, steps, tags]."""
    x = embedding(params, "embedding", inputs["tokens"])
    valid = inputs["tokens"] != 0
    after = name == "gru_tagger"
    x, _ = gru(params, "gru", x, valid=valid, padded=padded, reset_after=after)
    return {"probabilities": softmax(dense(params, "probabilities", x))}
