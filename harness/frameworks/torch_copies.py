"""A copy of a user's PyTorch module, with weights that are computed by hooks as plain ones."""

from __future__ import annotations

import copy
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm
from torch.utils import _pytree as pytree

_REMOVE = {WeightNorm: remove_weight_norm, SpectralNorm: remove_spectral_norm}


def copied(module: nn.Module) -> nn.Module:
    """Return a deep copy; a tensor that the module has computed is a tensor of its own there."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        for leaf in pytree.tree_leaves(list(vars(part).values())):
            if isinstance(leaf, Tensor) and not leaf.is_leaf:
                memo[id(leaf)] = leaf.detach().clone()
    result: nn.Module = copy.deepcopy(module, memo)
    return result


def quantised(module: nn.Module) -> str:
    """Return the first layer that PyTorch's quantization made, for a sentence; empty without."""
    for name, part in module.named_modules():
        kind = type(part)
        if ".quantized." in f"{kind.__module__}.":
            return f"{name or 'the model'} is a quantised {kind.__name__}"
    return ""


def fold_norms(module: nn.Module) -> None:
    """Make each weight that ``weight_norm`` or ``spectral_norm`` computes in a hook a parameter.

    Evaluation computes the same weight at every call.
    """
    for part in module.modules():
        for hook in [*part._forward_pre_hooks.values()]:
            if (remove := _REMOVE.get(type(hook))) is not None:
                remove(part, hook.name)
