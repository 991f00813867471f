"""The causal decoder in float64 NumPy."""

import numpy as np

from harness.core.schema import Array, Arrays, PaddedSteps
from reference_models.causal_decoder.spec import EPSILON, HEAD, HEADS
from reference_models.numerics import attention, dense, embedding, layer_norm, relu


def run(name: str, params: Arrays, inputs: Arrays, padded: PaddedSteps) -> Arrays:
    """Return ``labels`` [batch, steps, labels], and all keys and values so far."""
    tokens, past = inputs["tokens"], inputs["past_key"].shape[2]
    steps = tokens.shape[1]
    x = embedding(params, "embedding", tokens)
    x = x + embedding(params, "positions", past + np.arange(steps))
    y = layer_norm(params, "attention_norm", x, EPSILON)
    query = dense(params, "query", y)
    key, value = (
        np.concatenate([inputs[f"past_{layer}"].astype(np.float64), _split(new)], 2)
        for layer in ("key", "value")
        for new in [dense(params, layer, y)]
    )
    seen = np.tri(steps, past + steps, past, dtype=bool)[None]
    attended = attention(query, _joined(key), _joined(value), seen, HEADS)
    x = x + dense(params, "attended", attended)
    x = layer_norm(params, "wide_norm", x, EPSILON)
    labels = dense(params, "labels", relu(dense(params, "wide", x)))
    return {"labels": labels, "present_key": key, "present_value": value}


def _split(x: Array) -> Array:
    """Return features as those of heads, [batch, heads, steps, features of a head]."""
    return x.reshape(*x.shape[:2], HEADS, HEAD).swapaxes(1, 2)


def _joined(x: Array) -> Array:
    """Return the features of heads side by side, [batch, steps, features]."""
    return x.swapaxes(1, 2).reshape(len(x), -1, HEADS * HEAD)
