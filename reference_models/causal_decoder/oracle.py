"""The causal decoder in float64 NumPy."""

import numpy as np

from harness.core.schema import Arrays, PaddedSteps
from reference_models.causal_decoder.spec import EPSILON
from reference_models.numerics import attention, dense, embedding, layer_norm, relu


def run(name: str, params: Arrays, inputs: Arrays, padded: PaddedSteps) -> Arrays:
    """Return ``labels`` [batch, steps, labels], and all keys and values so far."""
    tokens, past = inputs["tokens"], inputs["past_key"].shape[1]
    steps = tokens.shape[1]
    x = embedding(params, "embedding", tokens)
    x = x + embedding(params, "positions", past + np.arange(steps))
    y = layer_norm(params, "attention_norm", x, EPSILON)
    query = dense(params, "query", y)
    key, value = (
        np.concatenate([inputs[f"past_{layer}"].astype(np.float64), dense(params, layer, y)], 1)
        for layer in ("key", "value")
    )
    seen = np.tri(steps, past + steps, past, dtype=bool)[None]
    x = x + dense(params, "attended", attention(query, key, value, seen))
    x = layer_norm(params, "wide_norm", x, EPSILON)
    labels = dense(params, "labels", relu(dense(params, "wide", x)))
    return {"labels": labels, "present_key": key, "present_value": value}
