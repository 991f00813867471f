"""``sequence_autoencoder`` and its two halves: one set of weights, three interfaces."""

from harness.core.schema import ModelSpec, TensorSpec

SYMBOLS = 100
FEATURES = 7
UNITS = 3

DRAWN = 5
"""The symbols that training draws, the first of the 100; three units can separate them."""
UNSEEN_LOGIT = -8.0
"""The initial output bias of every other symbol."""

_WEIGHTS = "sequence_autoencoder"
_TOKENS = TensorSpec("tokens", "int32", ("batch", "sequence"), low=0, high=SYMBOLS)
_CODE = TensorSpec("code", "float32", ("batch", UNITS))

SEQUENCE_AUTOENCODER = ModelSpec(
    name="sequence_autoencoder",
    summary="Embedding, LSTM(3) last, repeated to the input's length, LSTM(3), Dense softmax",
    inputs=(_TOKENS,),
    outputs=(TensorSpec("probabilities", "float32", ("batch", "sequence", SYMBOLS)),),
    weights=_WEIGHTS,
)

SEQUENCE_ENCODER = ModelSpec(
    name="sequence_encoder",
    summary="the autoencoder's first half: Embedding, LSTM(3) last",
    inputs=(_TOKENS,),
    outputs=(_CODE,),
    weights=_WEIGHTS,
)

SEQUENCE_DECODER = ModelSpec(
    name="sequence_decoder",
    summary="the autoencoder's second half: a code repeated to a given length, LSTM(3), softmax",
    inputs=(_CODE, TensorSpec("length", "int32", ())),
    outputs=(TensorSpec("probabilities", "float32", ("batch", "length", SYMBOLS)),),
    weights=_WEIGHTS,
    lengths={"length": "length"},
)
