"""``fixed_length_autoencoder``: its output has sixteen steps whatever the input's length."""

from harness.core.schema import ModelSpec, TensorSpec

VOCABULARY = 100
STEPS = 16
DIM = 32
UNITS = 64

FIXED_LENGTH_AUTOENCODER = ModelSpec(
    name="fixed_length_autoencoder",
    summary="masked Embedding, LSTM(64) last, repeated 16 times, LSTM(64), Dense softmax per step",
    inputs=(TensorSpec("tokens", "int32", ("batch", "sequence"), low=1, high=VOCABULARY),),
    outputs=(TensorSpec("probabilities", "float32", ("batch", STEPS, VOCABULARY)),),
    weights="fixed_length_autoencoder",
    padded="tokens",
    padded_steps={"keras": "repeat", "torch": "zero"},
)
