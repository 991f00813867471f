"""``bidirectional_tagger``: a tag at every step, from both sides of it."""

from harness.core.schema import ModelSpec, TensorSpec

TOKENS = 21
TAGS = 16
DIM = 12
UNITS = 28

BIDIRECTIONAL_TAGGER = ModelSpec(
    name="bidirectional_tagger",
    summary="masked Embedding, LSTM(28) in both directions, concatenated, Dense softmax per step",
    inputs=(TensorSpec("tokens", "int32", ("batch", "sequence"), low=1, high=TOKENS),),
    outputs=(TensorSpec("probabilities", "float32", ("batch", "sequence", TAGS)),),
    weights="bidirectional_tagger",
    padded="tokens",
    # Keras' Bidirectional gives zero at padded steps, unlike the layer that it wraps.
    padded_steps={"keras": "zero", "torch": "zero"},
)
