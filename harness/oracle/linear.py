"""ONNX's two recurrences without an activation between steps, in the dtype of their input.

Formulas: https://onnx.ai/onnx/operators/onnx__LinearAttention.html and
onnx__CausalConvWithState.html. Letters: B rows, T steps, H heads, K and V sizes of a key and a
value, C channels.
"""

from __future__ import annotations

import numpy as np

from harness.core.schema import Array
from harness.oracle.activations import sigmoid

RULES = {
    "linear": (False, False),
    "gated": (True, False),
    "delta": (False, True),
    "gated_delta": (True, True),
}
"""Whether an update rule reads ``decay``, and ``beta``."""


def linear_attention(
    query: Array,
    key: Array,
    value: Array,
    past_state: Array | None = None,
    decay: Array | None = None,
    beta: Array | None = None,
    *,
    q_num_heads: int,
    kv_num_heads: int,
    scale: float = 0.0,
    update_rule: str = "gated_delta",
    chunk_size: int = 64,
) -> tuple[Array, Array]:
    """Return the output [B, T, heads of the query * V] and the state [B, H, K, V].

    ValueError where a rule lacks an input, or has one that it does not read.
    """
    for name, reads, given in zip(
        ("decay", "beta"), RULES[update_rule], (decay, beta), strict=True
    ):
        if reads != (given is not None):
            needs = "needs" if reads else "takes no"
            raise ValueError(f"the update rule {update_rule!r} {needs} {name}")
    q, k, v = _heads(query, q_num_heads), _heads(key, kv_num_heads), _heads(value, kv_num_heads)
    (rows, steps, _, size), shared = q.shape, q_num_heads // kv_num_heads
    state = np.zeros((rows, kv_num_heads, size, v.shape[-1]), query.dtype)
    state = state if past_state is None else past_state
    outputs = np.zeros((rows, steps, q_num_heads, v.shape[-1]), query.dtype)
    for t in range(steps):
        new = v[:, t]
        if decay is not None:
            state = state * np.exp(_heads(decay, kv_num_heads)[:, t])[..., None]
        if beta is not None:
            known = np.einsum("bhkv,bhk->bhv", state, k[:, t])
            new = beta[:, t, :, None] * (new - known)
        state = state + k[:, t, :, :, None] * new[:, :, None, :]
        read = np.repeat(state, shared, axis=1)
        outputs[:, t] = np.einsum("bhk,bhkv->bhv", q[:, t], read)
    factor = scale or query.dtype.type(1 / np.sqrt(np.float64(size)))
    return factor * outputs.reshape(rows, steps, -1), state


def causal_conv(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    past_state: Array | None = None,
    *,
    activation: str = "none",
) -> tuple[Array, Array]:
    """Return the convolution [B, C, T] of each channel with its own kernel, and the last inputs.

    ValueError for an unknown activation.
    """
    if activation not in ("none", "silu", "swish"):
        raise ValueError(f"unknown activation {activation!r}; expected none, silu or swish")
    width, steps = weight.shape[-1], x.shape[-1]
    past = np.zeros((*x.shape[:2], width - 1), x.dtype) if past_state is None else past_state
    padded = np.concatenate([past, x], axis=-1)
    y = np.zeros_like(x) if bias is None else np.broadcast_to(bias[:, None], x.shape)
    for place in range(width):
        y = y + weight[:, 0, place, None] * padded[..., place : place + steps]
    return (y if activation == "none" else y * sigmoid(y)), padded[..., steps:]


def _heads(x: Array, count: int) -> Array:
    """Return [B, T, heads * size] as [B, T, heads, size]."""
    return x.reshape(*x.shape[:2], count, -1)
