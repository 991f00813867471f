"""PyTorch: build a twin, move parameters in and out, run it, train it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from harness.core.schema import Array, Arrays, ModelSpec

Report = Callable[[int, float], None]


def build(
    twin: ModuleType, spec: ModelSpec, parameters: Arrays | None, dtype: str = "float32"
) -> nn.Module:
    """Return the twin's module in evaluation mode, with ``parameters`` unless they are None."""
    module: nn.Module = twin.build(spec.name)
    if parameters is not None:
        load(module, parameters)
    return module.to(getattr(torch, dtype)).eval()


def load(module: nn.Module, parameters: Arrays) -> None:
    """Set every parameter of the module; KeyError names one that ``parameters`` lacks."""
    with torch.no_grad():
        for name, blocks in _named(module):
            value = torch.from_numpy(np.array(parameters[name]))
            parts = value.split([block.shape[-1] for block in blocks], dim=-1)
            for block, part in zip(blocks, parts, strict=True):
                block.copy_(part)


def parameters(module: nn.Module) -> Arrays:
    """Return every parameter of the module, in the shared layout."""
    return {
        name: np.ascontiguousarray(torch.cat(blocks, -1).detach().numpy())
        for name, blocks in _named(module)
    }


def run(module: nn.Module, spec: ModelSpec, inputs: Arrays) -> Arrays:
    """Return the outputs by name; float inputs are cast to the module's dtype."""
    weight = next(module.parameters())
    tensors = [torch.from_numpy(np.array(inputs[t.name])).to(weight.device) for t in spec.inputs]
    with torch.inference_mode():
        result = module(*(t.to(weight.dtype) if t.is_floating_point() else t for t in tensors))
    values = result if isinstance(result, tuple) else (result,)
    return {t.name: v.cpu().numpy() for t, v in zip(spec.outputs, values, strict=True)}


def fit(twin: ModuleType, spec: ModelSpec, task: Any, seed: int, report: Report) -> nn.Module:
    """Train and return a new twin: ``task``, Adam, a cosine schedule, clipped gradients."""
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
    elif kind == "ctc":
        frames, labels = torch.from_numpy(np.asarray(weight)).long(), (truth != 0).sum(1)
        scores = output.log_softmax(-1).transpose(0, 1)
        losses = nn.functional.ctc_loss(scores, truth, frames, labels, reduction="none")
    else:
        scores = (
            output.log_softmax(-1) if kind == "categorical_logits" else output.clamp(1e-9).log()
        )
        losses = -scores.gather(-1, truth.long()[..., None])[..., 0]
    if weight is None:
        return losses.mean()
    weights = torch.from_numpy(weight).to(losses.dtype)
    return (losses * weights).sum() / weights.expand_as(losses).sum()


Blocks = tuple[torch.Tensor, ...]


def _named(module: nn.Module) -> Iterator[tuple[str, Blocks]]:
    """Yield the shared name and views of every parameter.

    Joined on the last axis the views are the parameter in the shared layout.
    """
    for name, child in module.named_modules():
        if isinstance(child, nn.Embedding):
            yield f"{name}.table", (child.weight,)
        elif isinstance(child, nn.Linear):
            yield f"{name}.kernel", (child.weight.T,)
            yield f"{name}.bias", (child.bias,)
        elif isinstance(child, nn.Conv1d):
            yield f"{name}.kernel", (child.weight.permute(2, 1, 0),)
            yield f"{name}.bias", (child.bias,)
        elif isinstance(child, nn.LayerNorm):
            yield f"{name}.gamma", (child.weight,)
            yield f"{name}.beta", (child.bias,)
        elif isinstance(child, nn.LSTM | nn.GRU):
            ways = {"_forward": "", "_backward": "_reverse"} if child.bidirectional else {"": ""}
            for layer in range(child.num_layers):
                prefix = name if child.num_layers == 1 else f"{name}_{layer + 1}"
                for way, suffix in ways.items():
                    yield from _recurrent(child, f"l{layer}{suffix}", f"{prefix}{way}")


def _recurrent(child: nn.LSTM | nn.GRU, suffix: str, owner: str) -> Iterator[tuple[str, Blocks]]:
    """Yield the four parameters of one layer and direction; PyTorch's GRU gates are r z n."""
    for name, attribute in (
        ("kernel", "weight_ih"),
        ("recurrent_kernel", "weight_hh"),
        ("bias", "bias_ih"),
        ("recurrent_bias", "bias_hh"),
    ):
        parameter = getattr(child, f"{attribute}_{suffix}")
        shared = parameter.T if parameter.ndim == 2 else parameter
        if isinstance(child, nn.GRU):
            r, z, n = shared.chunk(3, dim=-1)
            yield f"{owner}.{name}", (z, r, n)
        else:
            yield f"{owner}.{name}", (shared,)
