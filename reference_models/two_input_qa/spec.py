"""``two_input_qa``: two inputs whose lengths are independent of each other."""

from harness.core.schema import ModelSpec, TensorSpec

WORDS = 10_000
ANSWERS = 500
TEXT_FEATURES = 64
TEXT_UNITS = 32
QUESTION_FEATURES = 32
QUESTION_UNITS = 16

TWO_INPUT_QA = ModelSpec(
    name="two_input_qa",
    summary="Embedding, LSTM(32) of a text; Embedding, LSTM(16) of a question; Dense softmax(500)",
    inputs=(
        TensorSpec("text", "int32", ("batch", "text_length"), low=0, high=WORDS),
        TensorSpec("question", "int32", ("batch", "question_length"), low=0, high=WORDS),
    ),
    outputs=(TensorSpec("answer", "float32", ("batch", ANSWERS)),),
    weights="two_input_qa",
)
