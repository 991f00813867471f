"""Fourier transforms of ``keras.ops`` as ``DFT`` nodes: tf2onnx has no complex numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import tensorflow as tf
from keras.src.backend.tensorflow import math

from harness.exporters.keras.tf_graph import Tensor, node


@contextmanager
def native_transforms() -> Iterator[None]:
    """Trace ``fft``, ``fft2``, ``ifft2`` and ``rfft`` of real and imaginary parts in this block."""
    with ExitStack() as patches:
        for name, function in (("fft", _fft), ("fft2", _fft2), ("rfft", _rfft)):
            patches.enter_context(patch.object(math, name, function))
        yield


def _fft(x: Sequence[Any]) -> tuple[Tensor, Tensor]:
    return _along(x, 1)


def _fft2(x: Sequence[Any]) -> tuple[Tensor, Tensor]:
    return _along(x, 2)


def _along(x: Sequence[Any], axes: int) -> tuple[Tensor, Tensor]:
    """Return the transform of both parts along the last ``axes``."""
    both = tf.stack([tf.convert_to_tensor(part) for part in x], axis=-1)
    for axis in range(both.shape.rank - 1 - axes, both.shape.rank - 1):
        both = tf.ensure_shape(node("DFT", both, None, axis=axis), both.shape)
    return both[..., 0], both[..., 1]


def _rfft(x: Any, fft_length: int | None = None) -> tuple[Tensor, Tensor]:
    x = tf.convert_to_tensor(x)
    rank = x.shape.rank
    length = None if fft_length is None else np.asarray(fft_length, np.int64)
    both = node("DFT", x[..., None], length, axis=rank - 1, onesided=1)
    steps = x.shape[-1] if fft_length is None else fft_length
    own = [*x.shape[:-1], None if steps is None else steps // 2 + 1, 2]
    both = tf.ensure_shape(both, own)
    return both[..., 0], both[..., 1]
