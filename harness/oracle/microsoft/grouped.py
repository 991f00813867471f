"""ONNX Runtime's attention of language models: rotated positions, fewer keys than queries, a cache.

Letters: B rows, S steps, T with the past, H heads, K heads of keys and values, D their size.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from harness.core.schema import Array
from harness.oracle.microsoft.attention import heads

FORMS = ("qk_output", "sliding_window_cache", "k_scale", "v_scale", "q_norm_weight")
"""What ONNX Runtime's CPU kernel lacks, or has for few types: nothing proves a formula."""


def rotary_embedding(
    x: Array,
    position_ids: Array,
    cos_cache: Array,
    sin_cache: Array,
    *,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    interleaved: int = 0,
    is_packed_batching: int = 0,
    scale: float = 1.0,
) -> tuple[Array]:
    """Return [B, S, H * D] or [B, H, S, D] with rotated heads; one position is the first step's."""
    split = x.ndim == 3
    size = 2 * cos_cache.shape[1] if rotary_embedding_dim == 0 else x.shape[-1] // num_heads
    parts = heads(x, x.shape[-1] // size) if split else x
    places = position_ids
    if position_ids.ndim == 1:
        places = np.broadcast_to(position_ids + np.arange(parts.shape[2]), parts.shape[::2][:2])
    y = _rotated(parts, places, cos_cache, sin_cache, interleaved)
    return (_joined(y) if split else y,)


def group_query_attention(
    query: Array,
    key: Array | None = None,
    value: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    seqlens_k: Array | None = None,
    total_sequence_length: Array | None = None,
    cos_cache: Array | None = None,
    sin_cache: Array | None = None,
    position_ids: Array | None = None,
    attention_bias: Array | None = None,
    head_sink: Array | None = None,
    k_scale: Array | None = None,
    v_scale: Array | None = None,
    q_norm_weight: Array | None = None,
    k_norm_weight: Array | None = None,
    *,
    num_heads: int,
    kv_num_heads: int,
    scale: float = 0.0,
    softcap: float = 0.0,
    causal: int = 1,
    do_rotary: int = 0,
    rotary_interleaved: int = 0,
    local_window_size: int = -1,
    smooth_softmax: int = 0,
    qk_norm_epsilon: float = 1e-6,
    qk_output: int = 0,
    sliding_window_cache: int = 0,
    k_quant_type: str = "NONE",
    v_quant_type: str = "NONE",
    kv_cache_bit_width: int = 0,
) -> tuple[Array, ...]:
    """Return the output [B, S, H * D], keys and values [B, K, T, D]: 0 after a row's last step.

    ``seqlens_k`` is each row's last place. A step of padding sees what the row has.
    NotImplementedError for a cache in few bits or of a window, and for scores as an output.
    """
    optional = (value is not None for value in (k_scale, v_scale, q_norm_weight))
    for name, form in zip(FORMS, (qk_output, sliding_window_cache, *optional), strict=True):
        if form:
            raise NotImplementedError(f"the oracle has no GroupQueryAttention with {name}")
    assert seqlens_k is not None
    assert total_sequence_length is not None
    if key is None or value is None:
        size = query.shape[-1] // (num_heads + 2 * kv_num_heads)
        ends = [num_heads * size, (num_heads + kv_num_heads) * size]
        query, key, value = np.split(query, ends, axis=-1)
    q = heads(query, num_heads)
    k, v = (heads(part, kv_num_heads) for part in (key, value))
    steps, total = q.shape[2], int(np.asarray(total_sequence_length).reshape(-1)[0])
    totals = np.asarray(seqlens_k).reshape(-1) + 1
    before = np.zeros_like(totals) if steps == total else totals - steps
    if do_rotary:
        assert cos_cache is not None
        assert sin_cache is not None
        places = before[:, None] + np.arange(steps) if position_ids is None else position_ids
        q, k = (_rotated(part, places, cos_cache, sin_cache, rotary_interleaved) for part in (q, k))
    length = max(total, 0 if past_key is None else past_key.shape[2])
    keys, values = (
        _cached(past, new, before, length) for past, new in ((past_key, k), (past_value, v))
    )
    scores = q @ np.swapaxes(np.repeat(keys, num_heads // kv_num_heads, 1), -1, -2)
    scores = scores * (scale or q.dtype.type(1 / np.sqrt(np.float64(q.shape[-1]))))
    if softcap:
        scores = softcap * np.tanh(scores / softcap)
    if attention_bias is not None:
        missing = length - attention_bias.shape[-1]
        scores = scores + np.pad(attention_bias, [*[(0, 0)] * 3, (0, missing)])
    seen = _seen(before, totals, steps, length, causal, local_window_size)[:, None]
    weights = _weights(np.where(seen, scores, -np.inf), _sink(head_sink, smooth_softmax))
    y = weights @ np.repeat(values, num_heads // kv_num_heads, 1)
    return _joined(y), keys, values


def _rotated(
    x: Array, places: Array, cos_cache: Array, sin_cache: Array, interleaved: int
) -> Array:
    """Return [B, H, S, D] whose first features are turned by the angles of their places [B, S]."""
    cos, sin = cos_cache[places][:, None], sin_cache[places][:, None]
    turned, rest = np.split(x, [2 * cos.shape[-1]], axis=-1)
    a, b = (turned[..., ::2], turned[..., 1::2]) if interleaved else np.split(turned, 2, axis=-1)
    pair = cos * a - sin * b, sin * a + cos * b
    y = np.stack(pair, -1).reshape(turned.shape) if interleaved else np.concatenate(pair, -1)
    return np.concatenate([y, rest], -1)


def _cached(past: Array | None, new: Array, before: Array, length: int) -> Array:
    """Return what each row has of the past, and the new steps after it; 0 up to ``length``."""
    y = np.zeros((*new.shape[:2], length, new.shape[3]), new.dtype)
    for row, count in enumerate(before):
        if past is not None:
            y[row, :, :count] = past[row, :, :count]
        kept = y[row, :, count : count + new.shape[2]]
        kept[...] = new[row, :, : kept.shape[1]]
    return y


def _seen(before: Array, totals: Array, steps: int, length: int, causal: int, window: int) -> Array:
    """Return which of ``length`` places each step sees, [B, S, T]."""
    at = before[:, None, None] + np.arange(steps)[:, None]
    place = np.arange(length)
    seen = np.broadcast_to(place < totals[:, None, None], (len(before), steps, length))
    if causal:
        seen = seen & (place <= at)
    return seen & (place > at - window) if window > 0 else seen


def _sink(head_sink: Array | None, smooth: int) -> Array | None:
    if head_sink is not None:
        return head_sink.reshape(-1, 1, 1)
    return np.zeros((1, 1, 1)) if smooth else None


def _weights(scores: Array, sink: Array | None) -> Array:
    """Return the softmax; ``sink`` is a score beside the others that has no value."""
    top = scores.max(-1, keepdims=True)
    top = top if sink is None else np.maximum(top, sink)
    weights = np.exp(scores - top)
    spread: Any = 0 if sink is None else np.exp(sink - top)
    return np.asarray(weights / (weights.sum(-1, keepdims=True) + spread), scores.dtype)


def _joined(x: Array) -> Array:
    """Return [B, H, S, D] as [B, S, H * D]."""
    return np.asarray(np.moveaxis(x, 1, 2).reshape(len(x), x.shape[2], -1))
