"""The sequence autoencoder and its halves in float64 NumPy."""

import numpy as np

from harness.core.schema import Array, Arrays, PaddedSteps
from reference_models.numerics import dense, embedding, lstm, softmax


def run(name: str, params: Arrays, inputs: Arrays, padded: PaddedSteps) -> Arrays:
    """Return the outputs by name; the decoder's inputs are ``code`` and ``length``."""
    if name == "sequence_decoder":
        return {"probabilities": _decode(params, inputs["code"], int(inputs["length"]))}
    tokens = inputs["tokens"]
    _, (code, _) = lstm(params, "encoder_lstm", embedding(params, "embedding", tokens))
    if name == "sequence_encoder":
        return {"code": code}
    return {"probabilities": _decode(params, code, tokens.shape[1])}


def _decode(params: Arrays, code: Array, length: int) -> Array:
    x, _ = lstm(params, "decoder_lstm", np.repeat(code[:, None], length, axis=1))
    return softmax(dense(params, "probabilities", x))
