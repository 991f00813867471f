"""The dialogue acts in float64 NumPy."""

from harness.core.schema import Arrays, PaddedSteps
from reference_models.numerics import dense, embedding, last_valid, lstm, sigmoid


def run(name: str, params: Arrays, inputs: Arrays, padded: PaddedSteps) -> Arrays:
    """Return ``acts`` [batch, steps, acts], or [batch, acts] after each row's last valid step."""
    valid = inputs["words"] != 0
    x = embedding(params, "embedding", inputs["words"])
    x, _ = lstm(params, "lstm", x, valid=valid, padded=padded)
    if name == "dialog_act_classifier":
        x = last_valid(x, valid)
    return {"acts": sigmoid(dense(params, "acts", x))}
