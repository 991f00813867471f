"""``nn.LSTM``, ``nn.GRU`` and ``nn.RNN`` as native ONNX nodes during a trace."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized
from torch.nn.utils.rnn import PackedSequence

from harness.core.errors import ExportError
from harness.exporters.torch.packed import Rows, packed, rows_of
from harness.graphs.recurrent import gate_order

_GATES = {"LSTM": "ifco", "GRU": "rzh", "RNN_TANH": "h", "RNN_RELU": "h"}
"""The gates in PyTorch's order, by ONNX's letters: PyTorch writes g for c, and n for h."""
_DIRECTIONS = ("forward", "reverse")


def pack_weights(module: nn.RNNBase) -> None:
    """Add to ``module`` the weights of its ONNX nodes as buffers, one set per layer and direction.

    With R the recurrent and P the projection matrix, a projected LSTM is one without projection
    whose recurrent matrix is R P and whose outputs are multiplied by P afterwards.
    """
    for layer in range(module.num_layers):
        sets = [_direction_weights(module, layer, d) for d in range(1 + module.bidirectional)]
        for name in [*sets[0]]:
            whole = torch.cat([weights.pop(name) for weights in sets])
            for d in range(len(sets)):
                part = whole[d : d + 1]  # shares the memory of both
                module.register_buffer(f"{name}_l{layer}_{_DIRECTIONS[d]}", part)
            if module.bidirectional:
                module.register_buffer(f"{name}_l{layer}_bidirectional", whole)


def _direction_weights(module: nn.RNNBase, layer: int, direction: int) -> dict[str, Tensor]:
    def ordered(name: str) -> Tensor:
        gates = getattr(module, f"{name}_l{layer}{'_reverse' * direction}").detach()
        return gates.unflatten(0, (len(order), module.hidden_size))[order].flatten(0, 1)

    order = gate_order(_operator(module), _GATES[module.mode])
    weights = {"W": ordered("weight_ih")[None], "R": ordered("weight_hh")[None]}
    if module.bias:
        weights["B"] = torch.cat([ordered("bias_ih"), ordered("bias_hh")])[None]
    if module.proj_size:
        project = getattr(module, f"weight_hr_l{layer}{'_reverse' * direction}").detach()
        recurrent = weights["R"]
        weights["R"] = (recurrent.double() @ project.double()).to(recurrent.dtype)
        weights["P"] = project.T.contiguous()[None]
        weights["W_h0"] = torch.cat([weights["W"], recurrent], dim=2)
    return weights


def _operator(module: nn.RNNBase) -> str:
    return str(module.mode).partition("_")[0]


@contextmanager
def native_layers(model: nn.Module) -> Iterator[None]:
    """Trace every recurrent layer of ``model``, to which buffers are added, as ONNX nodes.

    ExportError, raised while tracing, says what a layer cannot do.
    """
    for module in model.modules():
        if isinstance(module, nn.RNNBase) and _unsupported(module) is None:
            pack_weights(module)
    with ExitStack() as stack:
        for kind in (nn.RNNBase, nn.RNN, nn.GRU, nn.LSTM):
            stack.enter_context(patch.object(kind, "forward", _forward))
        yield


def _unsupported(module: nn.RNNBase) -> str | None:
    names = [name for layer in module._all_weights for name in layer]
    if module.mode not in _GATES:
        return f"mode {module.mode} has no ONNX operator"
    for name in names:
        if name not in module._parameters and not is_parametrized(module, name):
            return f"{name} is not a parameter but computed while the model runs"
        if (dtype := getattr(module, name).dtype) != torch.float32:
            return f"{name} is {dtype}, expected torch.float32, which every runtime has"
    if module._forward_pre_hooks:
        return "it has a forward pre-hook, which may change its weights"
    return None


def _forward(module: nn.RNNBase, input: Any, hx: Any = None) -> Any:
    """Trace ``module.forward`` as ONNX nodes."""
    if (reason := _unsupported(module)) is not None:
        raise ExportError(reason)
    lstm = module.mode == "LSTM"
    states = (None, None) if hx is None else hx if lstm else (hx, None)
    if isinstance(input, PackedSequence):
        rows = rows_of(input)
        _check_states(module, rows.values, states)
        output, final = _layers(module, rows.values, states, rows)
        return packed(rows.like(output)), final if lstm else final[0]
    batched, time = input.dim() == 3, int(module.batch_first)
    x = input.transpose(0, time) if batched else input.unsqueeze(1)
    if not batched:
        states = tuple(None if s is None else s.unsqueeze(1) for s in states)
    _check_states(module, x, states)
    output, final = _layers(module, x, states, None)
    if not batched:
        output, final = output.squeeze(1), tuple(s.squeeze(1) for s in final)
    return output.transpose(0, time) if batched else output, final if lstm else final[0]


def _check_states(module: nn.RNNBase, x: Tensor, states: Any) -> None:
    if x.dim() != 3 or x.shape[2] != module.input_size:
        raise ExportError(f"expected {module.input_size} features, got an input {_text(x)}")
    layers = module.num_layers * (1 + module.bidirectional)
    sizes = module.proj_size or module.hidden_size, module.hidden_size
    for state, size in zip(states, sizes, strict=True):
        if state is not None and state.shape != (layers, x.shape[1], size):
            expected = f"[{layers}, batch, {size}]"
            raise ExportError(f"an initial state is {_text(state)}, expected {expected}")


def _text(value: Tensor) -> str:
    return f"[{', '.join(str(n) if isinstance(n, int) else '?' for n in value.shape)}]"


def _layers(
    module: nn.RNNBase, x: Tensor, states: tuple[Tensor | None, ...], rows: Rows | None
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Run all layers over ``x`` [steps, batch, features]; return outputs and final states."""
    directions = 1 + module.bidirectional
    finals = []
    for layer in range(module.num_layers):
        h, c = (None if s is None else s[layer * directions :][:directions] for s in states)
        if directions == 2 and rows is None and not module.proj_size:
            y, *final = _node(module, layer, "bidirectional", x, h, c, None)
            x = y.transpose(1, 2).flatten(2)
        else:
            parts = []
            for d in range(directions):
                h_0, c_0 = (None if s is None else s[d : d + 1] for s in (h, c))
                parts.append(_one_direction(module, layer, d, x, h_0, c_0, rows))
            x, final = parts[0]
            if directions == 2:
                x = torch.cat([y for y, _ in parts], dim=-1)
                final = [torch.cat(f) for f in zip(*(f for _, f in parts), strict=True)]
        finals.append(final)
    return x, tuple(torch.cat(f) if len(f) > 1 else f[0] for f in zip(*finals, strict=True))


def _one_direction(
    module: nn.RNNBase,
    layer: int,
    direction: int,
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    rows: Rows | None,
) -> tuple[Tensor, list[Tensor]]:
    """Run one direction of a layer; return [steps, batch, size] and final states [1, batch, size].

    Packed rows run forward in both directions, the reverse one over reversed rows, and the hidden
    state is read at each row's last step; only the cell state depends on ``sequence_lens``.
    """
    name = _DIRECTIONS[direction]
    if rows is not None and direction:
        x = rows.reverse(x)
    first = None
    if module.proj_size and h is not None:
        step = torch.arange(x.shape[0])
        at_start = step == (0 if rows is not None or not direction else x.shape[0] - 1)
        first = torch.where(at_start[:, None, None], h, 0.0)
        x, h = torch.cat([x, first], dim=-1), None
    y, h_n, *c_n = _node(module, layer, name, x, h, c, rows, first is not None)
    y = y.squeeze(1)
    if module.proj_size:
        project = getattr(module, f"P_l{layer}_{name}")
        y = y @ project[0]
        h_n = h_n @ project
    if rows is not None:
        h_n = rows.last(y)[None]
        y = rows.reverse(y) if direction else y
    return y, [h_n, *c_n]


def _node(
    module: nn.RNNBase,
    layer: int,
    direction: str,
    x: Tensor,
    h: Tensor | None,
    c: Tensor | None,
    rows: Rows | None,
    first: bool = False,
) -> list[Tensor]:
    """Add a node; return Y [steps, directions, batch, units], Y_h and for an LSTM Y_c.

    With ``first`` the initial hidden state is in ``x``, after the features.
    """
    lstm = module.mode == "LSTM"
    steps, batch = x.shape[:2]
    directions = 2 if direction == "bidirectional" else 1
    attributes: dict[str, Any] = {"hidden_size": module.hidden_size, "direction": direction}
    if rows is not None:
        attributes["direction"] = "forward"
    if module.mode == "GRU":
        attributes["linear_before_reset"] = 1
    if module.mode == "RNN_RELU":
        attributes["activations"] = ["Relu"] * directions
    suffix = f"l{layer}_{direction}"
    state = (directions, batch, module.hidden_size)
    nodes: list[Tensor] = torch.onnx.ops.symbolic_multi_out(
        "::" + _operator(module),
        (
            x,
            getattr(module, f"{'W_h0' if first else 'W'}_{suffix}"),
            getattr(module, f"R_{suffix}"),
            getattr(module, f"B_{suffix}", None),
            rows.lengths.to(torch.int32) if rows is not None and lstm else None,
            h,
            c,
        ),
        attributes,
        dtypes=(torch.float32,) * (2 + lstm),
        shapes=((steps, directions, batch, module.hidden_size), *(state,) * (1 + lstm)),
    )
    return nodes
