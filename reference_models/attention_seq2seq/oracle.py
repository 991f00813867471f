"""The attention encoder and decoder in float64 NumPy."""

import numpy as np

from harness.core.schema import Arrays, PaddedSteps
from reference_models.numerics import attention, dense, embedding, gru


def run(name: str, params: Arrays, inputs: Arrays, padded: PaddedSteps) -> Arrays:
    """Return ``logits`` [batch, target steps, vocabulary], zero at padded steps.

    Nothing is seen of an empty source: neither a state nor a step.
    """
    source, target = inputs["source"] != 0, inputs["target"] != 0
    x = embedding(params, "source_embedding", inputs["source"])
    memory, state = gru(params, "encoder", x, valid=source, padded=padded)
    x = embedding(params, "target_embedding", inputs["target"])
    x, _ = gru(params, "decoder", x, state, valid=target, padded=padded)
    context = attention(dense(params, "query", x), memory, memory, source[:, None])
    context = np.where(source.any(axis=1)[:, None, None], context, 0.0)
    logits = dense(params, "logits", np.concatenate([x, context], axis=-1))
    return {"logits": np.where(target[..., None], logits, 0.0)}
