"""The language model in float64 NumPy."""

from harness.core.schema import Arrays, PaddedSteps
from reference_models.numerics import dense, embedding, lstm


def run(name: str, params: Arrays, inputs: Arrays, padded: PaddedSteps) -> Arrays:
    """Return ``logits`` [batch, steps, vocabulary] and both states after the last valid step."""
    valid = inputs["tokens"] != 0
    x = embedding(params, "embedding", inputs["tokens"])
    first, second = (inputs["h0_1"], inputs["c0_1"]), (inputs["h0_2"], inputs["c0_2"])
    x, (h_1, c_1) = lstm(params, "lstm_1", x, first, valid, padded)
    x, (h_2, c_2) = lstm(params, "lstm_2", x, second, valid, padded)
    return {"logits": dense(params, "logits", x), "h_1": h_1, "c_1": c_1, "h_2": h_2, "c_2": c_2}
