"""Weights of a PyTorch model from a file: a state dict that was saved, or safetensors."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import nn

from harness.core.errors import UsageError, one_line
from harness.core.names import visible
from harness.core.reading import TENSOR_BYTES, read_bytes


def load_weights(module: nn.Module, path: Path) -> None:
    """Set a module's weights to those in a file; UsageError where they are not all its own."""
    try:
        data = read_bytes(path, TENSOR_BYTES)
        if path.suffix == ".safetensors":
            from safetensors.torch import load

            state = load(data)
        else:
            state = torch.load(io.BytesIO(data), "cpu", weights_only=True)
    except UsageError:
        raise
    except Exception as error:
        safe = path.suffix == ".safetensors"
        reason = visible(one_line(error)) if safe else "it is no plain state dict"
        raise UsageError(
            f"{path} cannot be read: {reason}; expected what torch.save(model.state_dict()) or"
            " safetensors wrote"
        ) from None
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping):
        raise UsageError(f"{path} holds a {type(state).__name__}; expected a state dict")
    own = module.state_dict()
    if differing := sorted(set(own) ^ set(state)):
        kind = "lacks" if differing[0] in own else "has, and the model has not,"
        raise UsageError(f"{path} {kind} {differing[0]!r} ({len(differing)} names differ)")
    for name, value in own.items():
        if value.shape != state[name].shape:
            raise UsageError(
                f"{path}: {name!r} is {list(state[name].shape)}, the model's is {list(value.shape)}"
            )
    module.load_state_dict(state)
