"""``echo``: at every step, the token of the step before."""

from harness.core.schema import ModelSpec, TensorSpec

TOKENS = 4
DIM = 4
UNITS = 12

ECHO = ModelSpec(
    name="echo",
    summary="Embedding, GRU(12) over all steps, Dense softmax",
    inputs=(TensorSpec("tokens", "int64", ("batch", "sequence"), low=0, high=TOKENS),),
    outputs=(TensorSpec("before", "float32", ("batch", "sequence", TOKENS)),),
    weights="echo",
    frameworks=("torch",),
)
