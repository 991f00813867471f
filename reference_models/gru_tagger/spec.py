"""``gru_tagger`` and ``gru_tagger_reset_before``: two conventions, each with its own weights."""

from harness.core.schema import ModelSpec, PaddedSteps, TensorSpec

TOKENS = 25
TAGS = 6
DIM = 10
UNITS = 36

_TOKENS = TensorSpec("tokens", "int32", ("batch", "sequence"), low=1, high=TOKENS)
_PROBABILITIES = TensorSpec("probabilities", "float32", ("batch", "sequence", TAGS))
_PADDED_STEPS: dict[str, PaddedSteps] = {"keras": "repeat", "torch": "zero"}

GRU_TAGGER = ModelSpec(
    name="gru_tagger",
    summary="masked Embedding, GRU(36) over all steps, its reset gate after, Dense softmax",
    inputs=(_TOKENS,),
    outputs=(_PROBABILITIES,),
    weights="gru_tagger",
    padded="tokens",
    padded_steps=_PADDED_STEPS,
)

GRU_TAGGER_RESET_BEFORE = ModelSpec(
    name="gru_tagger_reset_before",
    summary="the same with the reset gate before the recurrent product, which PyTorch lacks",
    inputs=(_TOKENS,),
    outputs=(_PROBABILITIES,),
    weights="gru_tagger_reset_before",
    padded="tokens",
    padded_steps=_PADDED_STEPS,
    frameworks=("keras",),
)
