"""ONNX Runtime's fused attention. Letters: B rows, S steps, T with the past, H heads, D their size.

A masked score is ``mask_filter_value`` lower, a later one is infinitely so.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.core.schema import Array
from harness.oracle.microsoft.quantised import wide


def attention(
    x: Array,
    weights: Array,
    bias: Array | None = None,
    mask: Array | None = None,
    past: Array | None = None,
    attention_bias: Array | None = None,
    past_sequence_length: Array | None = None,
    *,
    num_heads: int,
    qkv_hidden_sizes: Sequence[int] | None = None,
    unidirectional: int = 0,
    scale: float = 0.0,
    mask_filter_value: float = -10000.0,
    do_rotary: int = 0,
    past_present_share_buffer: int = 0,
    rotary_embedding_dim: int = 0,
) -> tuple[Array, ...]:
    """Return the output [B, S, H * D], and keys and values [2, B, H, T, D] with the past."""
    _no("do_rotary", do_rotary)
    _no("past_present_share_buffer", past_present_share_buffer)
    projected = x @ weights if bias is None else x @ weights + bias
    sizes = qkv_hidden_sizes or [weights.shape[1] // 3] * 3
    q, k, v = (
        heads(part, num_heads) for part in np.split(projected, np.cumsum(sizes)[:2], axis=-1)
    )
    if past is not None:
        k, v = (np.concatenate([old, new], 2) for old, new in zip(past, (k, v), strict=True))
    added = _mask(mask, len(k), k.shape[2], mask_filter_value, projected.dtype)
    y = _attend(q, k, v, scale, [added, attention_bias], bool(unidirectional))
    return (y, np.stack([k, v])) if k.shape == v.shape else (y,)


def quantised_attention(
    x: Array,
    weights: Array,
    bias: Array,
    scale_of_x: Array,
    scale_of_weights: Array,
    mask: Array | None = None,
    zero_of_x: Array | None = None,
    zero_of_weights: Array | None = None,
    past: Array | None = None,
    **options: Any,
) -> tuple[Array, ...]:
    """Return what ``attention`` does of an input and weights that are integers."""
    x = wide(x, zero_of_x, bias.dtype) * scale_of_x
    weights = wide(weights, zero_of_weights, bias.dtype) * scale_of_weights
    return attention(x, weights, bias, mask, past, **options)


def multi_head_attention(
    query: Array,
    key: Array | None = None,
    value: Array | None = None,
    bias: Array | None = None,
    mask: Array | None = None,
    attention_bias: Array | None = None,
    past_key: Array | None = None,
    past_value: Array | None = None,
    past_sequence_length: Array | None = None,
    cache_indirection: Array | None = None,
    *,
    num_heads: int,
    scale: float = 0.0,
    mask_filter_value: float = -10000.0,
    unidirectional: int = 0,
) -> tuple[Array, ...]:
    """Return the output [B, S, H * D], keys and values [B, H, T, D] with the past.

    Keys and values are beside the query, packed with each other, packed with it, or heads first.
    """
    _no("cache_indirection", cache_indirection is not None)
    if query.ndim == 5:
        parts = [np.moveaxis(query[:, :, :, place], 2, 1) for place in range(3)]
    elif key is not None and key.ndim == 5:
        packed = [np.moveaxis(key[:, :, :, place], 2, 1) for place in range(2)]
        parts = [heads(query, num_heads), *packed]
    else:
        parts = [heads(query, num_heads)]
        parts += [heads(t, num_heads) if t.ndim == 3 else t for t in (key, value) if t is not None]
    if len(parts) != 3:
        raise ValueError("MultiHeadAttention without keys and values")
    q, k, v = parts
    if bias is not None:
        sizes = [part.shape[1] * part.shape[3] for part in parts]
        biases = np.split(bias, np.cumsum(sizes)[:2])
        given = (True, key is None or key.ndim != 4, value is None or value.ndim != 4)
        q, k, v = (
            part + b.reshape(num_heads, 1, -1) if adds else part
            for part, b, adds in zip(parts, biases, given, strict=True)
        )
    if past_key is not None and past_value is not None:
        k, v = np.concatenate([past_key, k], 2), np.concatenate([past_value, v], 2)
    added = _mask(mask, len(k), k.shape[2], mask_filter_value, query.dtype)
    return _attend(q, k, v, scale, [added, attention_bias], bool(unidirectional)), k, v


def _attend(
    q: Array, k: Array, v: Array, scale: float, added: Sequence[Array | None], causal: bool
) -> Array:
    scores = q @ np.swapaxes(k, -1, -2)
    scores = scores * (scale or q.dtype.type(1 / np.sqrt(np.float64(q.shape[-1]))))
    for bias in added:
        scores = scores if bias is None else scores + bias
    steps, total = scores.shape[-2:]
    if causal:
        later = np.arange(total) > np.arange(steps)[:, None] + (total - steps)
        scores = np.where(later, -np.inf, scores)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    y = (weights / weights.sum(-1, keepdims=True)) @ v
    return np.asarray(np.moveaxis(y, 1, 2).reshape(len(y), steps, -1))


def _mask(mask: Array | None, rows: int, total: int, low: float, dtype: Any) -> Array | None:
    """Return what a mask adds to scores [B, H, S, T]: ends, ends and starts, steps, or pairs."""
    if mask is None:
        return None
    if mask.ndim == 1:
        if len(mask) not in (rows, 2 * rows):
            raise NotImplementedError(
                f"the oracle has no attention with a mask of {len(mask)} numbers for {rows} rows;"
                " it has ends, or ends and starts"
            )
        ends, starts = mask[:rows, None], mask[rows:, None]
        steps = np.arange(total)
        mask = (steps < ends) & (steps >= starts) if len(starts) else steps < ends
    open_ = mask[:, None, None] if mask.ndim == 2 else mask[:, None]
    if open_.shape[-1] != total:
        raise ValueError(f"a mask of {open_.shape[-1]} steps for {total} keys")
    return np.asarray(np.where(open_ > 0, 0, low), dtype)


def heads(x: Array, count: int) -> Array:
    """Return [B, S, heads * size] as [B, heads, S, size]."""
    return np.asarray(np.moveaxis(x.reshape(*x.shape[:2], count, -1), 2, 1))


def _no(name: str, given: object) -> None:
    """Raise NotImplementedError where a form that the oracle lacks is given."""
    if given:
        raise NotImplementedError(f"the oracle has no attention with {name}")
