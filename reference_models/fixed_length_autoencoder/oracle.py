"""The fixed-length autoencoder in float64 NumPy."""

from harness.core.schema import Arrays, PaddedSteps
from reference_models.fixed_length_autoencoder.spec import STEPS
from reference_models.numerics import dense, embedding, lstm, softmax


def run(name: str, params: Arrays, inputs: Arrays, padded: PaddedSteps) -> Arrays:
    """Return ``probabilities`` [batch, 16, vocabulary]; a row without valid steps has code zero."""
    valid = inputs["tokens"] != 0
    x = embedding(params, "embedding", inputs["tokens"])
    _, (code, _) = lstm(params, "encoder", x, valid=valid, padded=padded)
    x, _ = lstm(params, "decoder", code[:, None].repeat(STEPS, axis=1))
    return {"probabilities": softmax(dense(params, "probabilities", x))}
