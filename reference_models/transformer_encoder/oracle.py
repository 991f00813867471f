"""The Transformer encoder in float64 NumPy."""

import numpy as np

from harness.core.schema import Arrays, PaddedSteps
from reference_models.numerics import attention, dense, embedding, layer_norm, relu
from reference_models.transformer_encoder.spec import EPSILON, HEADS


def run(name: str, params: Arrays, inputs: Arrays, padded: PaddedSteps) -> Arrays:
    """Return ``labels`` [batch, steps, labels], zero at padded steps.

    The position of a step is its number among the valid ones, from 1.
    """
    valid = inputs["tokens"] != 0
    x = embedding(params, "embedding", inputs["tokens"])
    x = x + embedding(params, "positions", np.cumsum(valid, axis=1) * valid)
    y = layer_norm(params, "attention_norm", x, EPSILON)
    query, key, value = (dense(params, layer, y) for layer in ("query", "key", "value"))
    x = x + dense(params, "attended", attention(query, key, value, valid[:, None], HEADS))
    y = dense(params, "wide", layer_norm(params, "wide_norm", x, EPSILON))
    x = x + dense(params, "narrow", relu(y))
    return {"labels": np.where(valid[..., None], dense(params, "labels", x), 0.0)}
