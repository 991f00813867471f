"""``language_model``: logits at every step and the states to go on from."""

from harness.core.schema import ModelSpec, TensorSpec

VOCABULARY = 100
DIM = int(VOCABULARY**0.25)
UNITS = 32
DROPOUT = 0.5
STATES = ("h0_1", "c0_1", "h0_2", "c0_2")
NEXT_STATES = ("h_1", "c_1", "h_2", "c_2")

LANGUAGE_MODEL = ModelSpec(
    name="language_model",
    summary="masked Embedding, two stacked LSTM(32) cells with their state given, Dense per step",
    inputs=(
        TensorSpec("tokens", "int32", ("batch", "sequence"), low=1, high=VOCABULARY),
        *(TensorSpec(n, "float32", ("batch", UNITS)) for n in STATES),
    ),
    outputs=(
        TensorSpec("logits", "float32", ("batch", "sequence", VOCABULARY)),
        *(TensorSpec(n, "float32", ("batch", UNITS)) for n in NEXT_STATES),
    ),
    weights="language_model",
    padded="tokens",
    padded_steps={"keras": "repeat", "torch": "zero"},
    states=dict(zip(STATES, NEXT_STATES, strict=True)),
)
