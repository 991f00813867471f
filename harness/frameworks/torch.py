"""PyTorch: build a twin, move parameters in and out, run it, train it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.schema import Array, Arrays, ModelSpec

Report = Callable[[int, float], None]


def build(
    twin: ModuleType, spec: ModelSpec, parameters: Arrays | None, dtype: str = "float32"
) -> nn.Module:
    """The twin's module in evaluation mode, with ``parameters`` loaded if given.

    KeyError names a parameter that the module has and ``parameters`` lacks.
    """
    module: nn.Module = twin.build(spec.name)
    if parameters is not None:
        with torch.no_grad():
            for name, tensor, transposed in _named(module):
                value = parameters[name]
                tensor.copy_(torch.from_numpy(np.array(value.T if transposed else value)))
    return module.to(getattr(torch, dtype)).eval()


def parameters(module: nn.Module) -> Arrays:
    """Every parameter of the module, in the shared layout."""
    return {
        name: np.ascontiguousarray((t.T if transposed else t).detach().numpy())
        for name, t, transposed in _named(module)
    }


def run(module: nn.Module, spec: ModelSpec, inputs: Arrays) -> Arrays:
    """Outputs by name; float inputs are cast to the module's dtype."""
    dtype = next(module.parameters()).dtype
    tensors = [torch.from_numpy(np.array(inputs[t.name])) for t in spec.inputs]
    with torch.inference_mode():
        result = module(*(t.to(dtype) if t.is_floating_point() else t for t in tensors))
    values = result if isinstance(result, tuple) else (result,)
    return {t.name: v.numpy() for t, v in zip(spec.outputs, values, strict=True)}


def fit(twin: ModuleType, spec: ModelSpec, task: Any, seed: int, report: Report) -> nn.Module:
    """Train a fresh twin on ``task`` with Adam, a cosine schedule and clipped gradients."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    module = build(twin, spec, None).train()
    optimizer = torch.optim.Adam(module.parameters(), lr=task.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, task.steps)
    index = [t.name for t in spec.outputs].index(task.output)
    for step in range(task.steps):
        batch = task.batch(rng)
        result = module(*(torch.from_numpy(batch.inputs[t.name]) for t in spec.inputs))
        output = result[index] if isinstance(result, tuple) else result
        loss = _loss(task.loss, output, batch.target, batch.weight)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        report(step + 1, float(loss.detach()))
    return module.eval()


def _loss(kind: str, output: torch.Tensor, target: Array, weight: Array | None) -> torch.Tensor:
    truth = torch.from_numpy(target)
    if kind == "binary":
        losses = nn.functional.binary_cross_entropy(output, truth.float(), reduction="none")
    else:
        scores = (
            output.log_softmax(-1) if kind == "categorical_logits" else output.clamp(1e-9).log()
        )
        losses = -scores.gather(-1, truth.long()[..., None])[..., 0]
    if weight is None:
        return losses.mean()
    weights = torch.from_numpy(weight).to(losses.dtype)
    return (losses * weights).sum() / weights.expand_as(losses).sum()


def _named(module: nn.Module) -> Iterator[tuple[str, torch.Tensor, bool]]:
    """(shared name, tensor, whether the shared layout is its transpose) of every parameter."""
    for name, child in module.named_modules():
        if isinstance(child, nn.Embedding):
            yield f"{name}.table", child.weight, False
        elif isinstance(child, nn.Linear):
            yield f"{name}.kernel", child.weight, True
            yield f"{name}.bias", child.bias, False
        elif isinstance(child, nn.LSTM):
            for layer in range(child.num_layers):
                prefix = name if child.num_layers == 1 else f"{name}_{layer + 1}"
                yield f"{prefix}.kernel", getattr(child, f"weight_ih_l{layer}"), True
                yield f"{prefix}.recurrent_kernel", getattr(child, f"weight_hh_l{layer}"), True
                yield f"{prefix}.bias", getattr(child, f"bias_ih_l{layer}"), False
                yield f"{prefix}.recurrent_bias", getattr(child, f"bias_hh_l{layer}"), False
