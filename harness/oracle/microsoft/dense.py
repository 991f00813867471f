"""Matrix products, norms and activations that ONNX Runtime fuses."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from onnx.reference.ops.op_conv import Conv

from harness.core.schema import Array
from harness.graphs.recurrent import parameters
from harness.oracle.activations import FUNCTIONS, sigmoid

_erf = np.vectorize(math.erf, otypes=[np.float64])


def gelu(x: Array) -> tuple[Array]:
    return ((x / 2 * (1 + (_erf(x / math.sqrt(2)) if x.size else x))).astype(x.dtype),)


def bias_gelu(x: Array, bias: Array) -> tuple[Array]:
    return gelu(x + bias)


def fast_gelu(x: Array, bias: Array | None = None) -> tuple[Array]:
    """Return the tanh form, with the constants that ONNX Runtime has in its kernel."""
    x = x if bias is None else x + bias
    inner = x * (0.035677408136300125 * x * x + 0.7978845608028654)
    return (x * (0.5 + 0.5 * np.tanh(inner)),)


def quick_gelu(x: Array, alpha: float = 1.702) -> tuple[Array]:
    return (x * sigmoid(alpha * x),)


def fused_matmul(
    a: Array,
    b: Array,
    alpha: float = 1.0,
    transA: int = 0,  # noqa: N803
    transB: int = 0,  # noqa: N803
    transBatchA: int = 0,  # noqa: N803
    transBatchB: int = 0,  # noqa: N803
) -> tuple[Array]:
    """Return ``alpha * a @ b``; a batch transposition moves the first axis before the last."""
    a, b = (
        np.moveaxis(x, 0, -2) if moves else x for x, moves in ((a, transBatchA), (b, transBatchB))
    )
    a, b = (
        np.swapaxes(x, -1, -2) if moves and x.ndim > 1 else x
        for x, moves in ((a, transA), (b, transB))
    )
    return (np.asarray(alpha * (a @ b)),)


def fused_conv(
    x: Array,
    w: Array,
    b: Array | None = None,
    z: Array | None = None,
    *,
    activation: str = "",
    activation_params: Sequence[float] = (),
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> tuple[Array]:
    """Return the activation of a convolution, to which ``z`` is added."""
    geometry = (auto_pad, dilations, group, kernel_shape, pads, strides)
    (y,) = Conv._run(None, x, w, b, *geometry)
    y = y if z is None else y + z
    return (_activated("FusedConv", activation, y, activation_params),)


def fused_gemm(
    a: Array,
    b: Array,
    c: Array | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,  # noqa: N803
    transB: int = 0,  # noqa: N803
    activation: str = "",
    activation_alpha: float = 0.0,
    activation_beta: float = 0.0,
    activation_gamma: float = 0.0,
) -> tuple[Array]:
    """Return the activation of ``alpha * a @ b + beta * c``; NotImplementedError for another."""
    y = alpha * ((a.T if transA else a) @ (b.T if transB else b))
    y = y if c is None else y + beta * c
    return (_activated("FusedGemm", activation, y, (activation_alpha, activation_beta)),)


def _activated(op: str, name: str, y: Array, given: Sequence[float]) -> Array:
    """Return an activation by its name, none by an empty one; NotImplementedError for another."""
    if not name:
        return y
    if name == "Clip":
        low, high = given
        return np.clip(y, low, high)
    if name not in FUNCTIONS:
        raise NotImplementedError(f"the oracle has no {op} with the activation {name!r}")
    return FUNCTIONS[name](y, *given[: len(parameters(name))])


def skip_layer_normalization(
    x: Array,
    skip: Array,
    gamma: Array,
    beta: Array | None = None,
    bias: Array | None = None,
    epsilon: float = 1e-12,
) -> tuple[Array, ...]:
    """Return the norm of the sum, its mean and inverse deviation, and the sum."""
    total = x + skip if bias is None else x + skip + bias
    y, mean, inverse = _normal(total, gamma, beta, epsilon)
    return y, mean, inverse, total


def simplified_layer_normalization(
    x: Array, scale: Array, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> tuple[Array, Array]:
    """Return the input over its root mean square from ``axis`` on, and the inverse root."""
    axes = tuple(range(axis % x.ndim, x.ndim))
    inverse = 1 / np.sqrt(np.square(x).mean(axes, keepdims=True) + epsilon)
    return (x * inverse * scale).astype(x.dtype), inverse.astype(x.dtype)


def skip_simplified_layer_normalization(
    x: Array, skip: Array, gamma: Array, bias: Array | None = None, epsilon: float = 1e-12
) -> tuple[Array, ...]:
    """Return the sum over its root mean square, an unused mean, the inverse root, and the sum."""
    total = x + skip if bias is None else x + skip + bias
    inverse = 1 / np.sqrt(np.square(total).mean(-1, keepdims=True) + epsilon)
    return total * inverse * gamma, np.zeros_like(inverse), inverse, total


def embed_layer_normalization(
    input_ids: Array,
    segment_ids: Array | None,
    word_embedding: Array,
    position_embedding: Array,
    segment_embedding: Array | None = None,
    gamma: Array | None = None,
    beta: Array | None = None,
    mask: Array | None = None,
    position_ids: Array | None = None,
    epsilon: float = 1e-12,
    mask_index_type: int = 1,
) -> tuple[Array, ...]:
    """Return the norm of the summed embeddings, the count of each row's steps, and the sum."""
    steps = input_ids.shape[1]
    places = np.arange(steps)[None] if position_ids is None else position_ids
    total = word_embedding[input_ids] + position_embedding[places]
    if segment_ids is not None and segment_embedding is not None:
        total = total + segment_embedding[segment_ids]
    assert gamma is not None
    y, _, _ = _normal(total, gamma, beta, epsilon)
    count = np.zeros(len(input_ids), np.int32)
    if mask is not None:
        count = (mask == 1).sum(1).astype(np.int32)
    return y, count, total


def _normal(x: Array, gamma: Array, beta: Array | None, epsilon: float) -> tuple[Array, ...]:
    mean = x.mean(-1, keepdims=True)
    inverse = 1 / np.sqrt(np.square(x - mean).mean(-1, keepdims=True) + epsilon)
    y = (x - mean) * inverse * gamma
    return (y if beta is None else y + beta), mean, inverse
