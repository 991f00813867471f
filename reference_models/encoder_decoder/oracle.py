"""The encoder and decoder in float64 NumPy."""

from harness.core.schema import Arrays, PaddedSteps
from reference_models.numerics import dense, embedding, lstm


def run(name: str, params: Arrays, inputs: Arrays, padded: PaddedSteps) -> Arrays:
    """Return ``logits`` [batch, target steps, vocabulary]; an empty source gives a zero state."""
    source = embedding(params, "source_embedding", inputs["source"])
    _, state = lstm(params, "encoder", source, valid=inputs["source"] != 0, padded=padded)
    target = embedding(params, "target_embedding", inputs["target"])
    x, _ = lstm(params, "decoder", target, state)
    return {"logits": dense(params, "logits", x)}
