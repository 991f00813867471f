"""``attention_seq2seq``: two padded inputs, each on an axis of its own."""

from harness.core.schema import ModelSpec, TensorSpec

SYMBOLS = 6
BOUNDARY = SYMBOLS + 1
"""The first symbol of a target and the last one of the decoder."""
VOCABULARY = BOUNDARY + 1
DIM = 12
UNITS = 16
"""A power of four, so that the scale of the scores is exact."""

ATTENTION_SEQ2SEQ = ModelSpec(
    name="attention_seq2seq",
    summary="masked Embedding, GRU(16); masked Embedding, GRU(16) that attends to it, Dense",
    inputs=(
        TensorSpec("source", "int32", ("batch", "source_length"), low=1, high=VOCABULARY),
        TensorSpec("target", "int32", ("batch", "target_length"), low=1, high=VOCABULARY),
    ),
    outputs=(TensorSpec("logits", "float32", ("batch", "target_length", VOCABULARY)),),
    weights="attention_seq2seq",
    padded="source",
    also_padded={"target": 0},
    padded_steps={"keras": "repeat", "torch": "zero"},
)
