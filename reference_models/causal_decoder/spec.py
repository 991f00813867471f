"""``causal_decoder``: a state that grows, the keys and values of all steps so far."""

from harness.core.axis_rules import AxisRule
from harness.core.schema import ModelSpec, TensorSpec

TOKENS = 3
SYMBOLS = 3
"""The labels of a step."""
DIM = 16
WIDE = 48
HEADS = 2
HEAD = 4
"""The features of a head: the golden holds those of all heads for every step of many cases."""
EPSILON = 2.0**-17
LONGEST = 100
"""The steps at most, and those of the past: the table of positions has twice as many."""

CAUSAL_DECODER = ModelSpec(
    name="causal_decoder",
    summary="Embedding, learned positions, causal attention of 2 heads to past keys too, Dense",
    inputs=(
        TensorSpec("tokens", "int32", ("batch", "time"), low=0, high=TOKENS),
        TensorSpec("past_key", "float32", ("batch", HEADS, "past", HEAD)),
        TensorSpec("past_value", "float32", ("batch", HEADS, "past", HEAD)),
    ),
    outputs=(
        TensorSpec("labels", "float32", ("batch", "time", SYMBOLS)),
        TensorSpec("present_key", "float32", ("batch", HEADS, "past_time", HEAD)),
        TensorSpec("present_value", "float32", ("batch", HEADS, "past_time", HEAD)),
    ),
    weights="causal_decoder",
    states={"past_key": "present_key", "past_value": "present_value"},
    rules={
        "time": AxisRule(most=LONGEST),
        "past": AxisRule(least=0, most=LONGEST),
        "past_time": AxisRule(terms={"past": 1, "time": 1}),
    },
)
