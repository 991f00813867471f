"""``ctc_recogniser``: fewer frames than steps, whose number is an output."""

from harness.core.axis_rules import AxisRule
from harness.core.schema import ModelSpec, TensorSpec

FEATURES = 3
CHANNELS = 8
WIDTH = 3
STRIDE = 2
UNITS = 12
LABELS = FEATURES + 1
"""A label for each feature, and 0, the blank."""

CTC_RECOGNISER = ModelSpec(
    name="ctc_recogniser",
    summary="two convolutions of stride 2, LSTM(12) in both directions, CTC logits and lengths",
    inputs=(
        TensorSpec("features", "float32", ("batch", "time", FEATURES)),
        TensorSpec("lengths", "int32", ("batch",)),
    ),
    outputs=(
        TensorSpec("logits", "float32", ("batch", "frames", LABELS)),
        TensorSpec("frame_counts", "int32", ("batch",)),
    ),
    weights="ctc_recogniser",
    padded_steps={"keras": "zero", "torch": "zero"},
    lengths={"lengths": "time"},
    rules={"frames": AxisRule(terms={"time": 1}, plus=STRIDE**2 - 1, divisor=STRIDE**2)},
)
