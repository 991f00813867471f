"""The weights of a traced copy of a model: one of each, for as long as they are needed."""

from __future__ import annotations

import copy

import torch
from torch import nn


def copied(model: nn.Module) -> nn.Module:
    """Return a copy on the CPU that shares the model's parameters there, which no trace alters."""
    here = {id(p): p for p in model.parameters() if p.device.type == "cpu"}
    return copy.deepcopy(model, here).cpu()


def free(program: torch.export.ExportedProgram, model: nn.Module) -> None:
    """Free the weights of a converted program, but for those that the model itself has.

    Whatever refers to them still, they are empty: onnxscript's rules keep the last graph that they
    rewrote, and PyTorch's caches keep programs.
    """
    kept = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    for tensor in program.state_dict.values():
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in kept and storage.resizable():
            storage.resize_(0)
