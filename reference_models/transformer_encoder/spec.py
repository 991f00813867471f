"""``transformer_encoder``: attention over the valid steps, at positions that are learned."""

from harness.core.axis_rules import AxisRule
from harness.core.schema import ModelSpec, TensorSpec

TOKENS = 13
LABELS = 3
DIM = 16
HEADS = 2
HEAD = 16
WIDE = 32
LONGEST = 1025
"""The positions that the table has, after one for padded steps."""
EPSILON = 2.0**-17

TRANSFORMER_ENCODER = ModelSpec(
    name="transformer_encoder",
    summary="Embedding and learned positions, masked attention of 2 heads, Dense(32), Dense labels",
    inputs=(TensorSpec("tokens", "int32", ("batch", "sequence"), low=1, high=TOKENS),),
    outputs=(TensorSpec("labels", "float32", ("batch", "sequence", LABELS)),),
    weights="transformer_encoder",
    padded="tokens",
    rules={"sequence": AxisRule(most=LONGEST)},
)
