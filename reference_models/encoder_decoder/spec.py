"""``encoder_decoder``: two independent lengths, joined by the encoder's final state."""

from harness.core.schema import ModelSpec, TensorSpec

SYMBOLS = 6
BOUNDARY = SYMBOLS + 1
"""The first symbol of a target and the last one of the decoder."""
VOCABULARY = BOUNDARY + 1
DIM = 12
UNITS = 44

ENCODER_DECODER = ModelSpec(
    name="encoder_decoder",
    summary="masked Embedding, LSTM(44) last; Embedding, LSTM(44) from its state, Dense per step",
    inputs=(
        TensorSpec("source", "int32", ("batch", "source_length"), low=1, high=VOCABULARY),
        TensorSpec("target", "int32", ("batch", "target_length"), low=1, high=VOCABULARY),
    ),
    outputs=(TensorSpec("logits", "float32", ("batch", "target_length", VOCABULARY)),),
    weights="encoder_decoder",
    padded="source",
    padded_steps={"keras": "repeat", "torch": "zero"},
)
