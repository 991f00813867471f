"""``stacked_classifier`` and ``streaming_classifier``: one set of weights, two interfaces."""

from harness.core.schema import ModelSpec, TensorSpec

FEATURES = 100
UNITS = 100
LABELS = 2
STATES = ("h0_1", "c0_1", "h0_2", "c0_2")
NEXT_STATES = ("h_1", "c_1", "h_2", "c_2")

_FEATURES = TensorSpec("features", "float32", ("batch", "sequence", FEATURES))
_LABEL = TensorSpec("label", "float32", ("batch", LABELS))

STACKED_CLASSIFIER = ModelSpec(
    name="stacked_classifier",
    summary="LSTM(100) over all steps, LSTM(100) last, Dense softmax",
    inputs=(_FEATURES,),
    outputs=(_LABEL,),
    weights="stacked_classifier",
)

STREAMING_CLASSIFIER = ModelSpec(
    name="streaming_classifier",
    summary="the stacked classifier with its state as inputs and outputs",
    inputs=(_FEATURES, *(TensorSpec(n, "float32", ("batch", UNITS)) for n in STATES)),
    outputs=(_LABEL, *(TensorSpec(n, "float32", ("batch", UNITS)) for n in NEXT_STATES)),
    weights="stacked_classifier",
    states=dict(zip(STATES, NEXT_STATES, strict=True)),
)
