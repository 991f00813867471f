"""Masks of ``nn.Transformer`` as they are given, without a look at their values."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any
from unittest.mock import patch

import torch


def given_masks() -> AbstractContextManager[Any]:
    """Let a trace add a mask whether or not it is a causal one.

    PyTorch compares its values with a causal mask's to choose a faster way to the same result;
    a trace has no values.
    """

    def told(mask: Any, is_causal: bool | None = None, size: int | None = None) -> bool:
        return bool(is_causal)

    return patch.object(torch.nn.modules.transformer, "_detect_is_causal_mask", told)
