"""The stacked classifier in float64 NumPy."""

from harness.core.schema import Arrays, PaddedSteps
from reference_models.numerics import dense, lstm, softmax


def run(name: str, params: Arrays, inputs: Arrays, padded: PaddedSteps) -> Arrays:
    """Return the outputs by name; the streaming model takes a state and returns the next."""
    first = second = None
    if name == "streaming_classifier":
        first = inputs["h0_1"], inputs["c0_1"]
        second = inputs["h0_2"], inputs["c0_2"]
    x, (h_1, c_1) = lstm(params, "lstm_1", inputs["features"], first)
    _, (h_2, c_2) = lstm(params, "lstm_2", x, second)
    outputs = {"label": softmax(dense(params, "label", h_2))}
    if name == "streaming_classifier":
        outputs |= {"h_1": h_1, "c_1": c_1, "h_2": h_2, "c_2": c_2}
    return outputs
