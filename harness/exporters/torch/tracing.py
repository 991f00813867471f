"""A model traced by ``torch.export`` at sizes that vary, its recurrent layers as ONNX nodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from harness.core.errors import ExportError, one_line
from harness.core.schema import Arrays, ModelSpec, TensorSpec
from harness.exporters.torch.axes import dynamic
from harness.exporters.torch.blame import trace_error
from harness.exporters.torch.guards import Guard, is_free, watched
from harness.exporters.torch.masks import given_masks
from harness.exporters.torch.packed import padded_packing
from harness.exporters.torch.recurrent import native_layers
from harness.exporters.torch.rolled.confirmed import confirmed, lengthened
from harness.exporters.torch.rolled.unrolled import Looped, unrolled
from harness.exporters.torch.sizes import longest, shortest_only, size_one_counts
from harness.exporters.torch.weights import copied


class Interface(nn.Module):  # type: ignore[misc]
    """Calls a model with the inputs in ``example``; returns its outputs in the spec's order."""

    def __init__(self, model: nn.Module, spec: ModelSpec, example: Arrays) -> None:
        super().__init__()
        self.model = model
        self._outputs = tuple(t.name for t in spec.outputs)
        self._present = tuple(t.name in example for t in spec.inputs)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        remaining = iter(inputs)
        before = _state(self.model)
        result = self.model(*(next(remaining) if here else None for here in self._present))
        if (place := _changed(before, _state(self.model))) is not None:
            raise ExportError(f"{place} changes in forward; make it an input and an output")
        if isinstance(result, dict) and set(result) == set(self._outputs):
            result = [result[name] for name in self._outputs]
        outputs = [value for value in pytree.tree_leaves(result) if value is not None]
        if other := next((v for v in outputs if not isinstance(v, Tensor)), None):
            raise ExportError(f"an output is a {type(other).__name__}, expected a tensor")
        if len(outputs) != len(self._outputs):
            expected = ", ".join(self._outputs)
            raise ExportError(f"forward returns {len(outputs)} tensors, expected {expected}")
        return tuple(value.clone() for value in outputs)


def _state(model: nn.Module) -> dict[Any, Any]:
    """Return what a module may carry from one call to the next: its tensors and plain numbers."""
    state: dict[Any, Any] = {}
    for name, module in model.named_modules():
        own = {**vars(module), **module._parameters, **module._buffers}
        for key in own.keys() - {"_modules", "_parameters", "_buffers"}:
            for position, leaf in enumerate(pytree.tree_leaves(own[key])):
                place = f"{name}.{key}".lstrip("."), position
                if isinstance(leaf, Tensor):
                    state[place] = leaf, leaf._version
                elif type(leaf) in (bool, int, float):
                    state[place] = leaf
    return state


def _changed(before: dict[Any, Any], after: dict[Any, Any]) -> str | None:
    """Return the first attribute that holds another tensor, or another number, than before."""
    for place, value in after.items():
        old = before.get(place)
        if isinstance(value, tuple):
            if not isinstance(old, tuple) or old[0] is not value[0] or old[1] != value[1]:
                return str(place[0])
        elif place in before and old != value:
            return str(place[0])
    return None


@contextmanager
def native_parts(model: nn.Module) -> Iterator[None]:
    """Trace a model, to which buffers are added, with what stands for its recurrent layers."""
    with (
        padded_packing(),
        native_layers(model),
        given_masks(),
        torch.backends.opt_einsum.flags(enabled=False),  # its choice fixes every size
    ):
        yield


def arguments(inputs: Sequence[TensorSpec], example: Arrays) -> tuple[Tensor, ...]:
    return tuple(torch.from_numpy(np.array(example[tensor.name])) for tensor in inputs)


def trace(
    model: nn.Module, spec: ModelSpec, example: Arrays, one_counts: bool = True
) -> torch.export.ExportedProgram:
    """Return a program of any batch and lengths; ExportError with its cause where there is none.

    Without ``one_counts``, branches go the way of longer sizes where an axis has size 1.
    """
    try:
        interface = Interface(copied(model), spec, example).eval()
    except Exception as error:
        raise ExportError(f"{type(model).__name__}: cannot be copied: {one_line(error)}") from error
    inputs = [t for t in spec.inputs if t.name in example]
    given = arguments(inputs, example)
    names = {id(interface): type(model).__name__, id(interface.model): type(model).__name__}
    names |= {id(m): name for name, m in interface.model.named_modules() if name}
    calls: Counter[str] = Counter()
    for module in interface.modules():
        if isinstance(module, nn.RNNCellBase):
            module.register_forward_pre_hook(lambda m, _: calls.update([names[id(m)]]))

    guards: list[Guard] = []

    def traced(
        longer: bool = False,
        most: Mapping[str, int] = MappingProxyType({}),
        unproved: bool = False,
    ) -> torch.export.ExportedProgram:
        shapes = dynamic(inputs, example if longer else {}, most, spec.rules)
        with (
            torch.no_grad(),
            native_parts(interface.model),
            size_one_counts(one_counts) as branches,
            watched(guards),
        ):
            try:
                return torch.export.export(
                    interface,
                    given,
                    dynamic_shapes=(shapes,),
                    strict=False,
                    prefer_deferred_runtime_asserts_over_guards=unproved,
                )
            except torch._dynamo.exc.UserError as error:
                bounded = dict(most) | longest(error)
                end = bounded == dict(most) and (branches or longer or not shortest_only(error))
                if end and (branches or unproved or not is_free(guards, inputs)):
                    raise
        if end:  # PyTorch cannot tell that it holds, or chooses between ways to the same values
            return traced(longer, most, True)
        return traced(longer or bounded == dict(most), bounded, unproved)

    try:
        return traced()
    except Exception as error:
        raise trace_error(error, names, calls, guards, inputs) from error


def looped(model: nn.Module, spec: ModelSpec, example: Arrays) -> torch.export.ExportedProgram:
    """Return a program whose Python loops over dynamic lengths are scans.

    Without such a loop, it is one whose sizes stay symbols where the model makes them numbers.
    NotALoopError, or PyTorch's own error, where it cannot be one.
    """
    inputs = [t for t in spec.inputs if t.name in example]
    shapes = dynamic(inputs, {}, {}, spec.rules)
    least = dynamic(inputs, example, {}, spec.rules)
    interface = Interface(copied(model), spec, example).eval()

    def traced(module: nn.Module, sizes: Any) -> torch.export.ExportedProgram:
        return torch.export.export(
            module, arguments(inputs, example), dynamic_shapes=sizes, strict=False
        )

    def unfolded(arrays: Arrays) -> tuple[torch.export.ExportedProgram, list[Looped]]:
        with unrolled(interface) as loops:
            sizes = (dynamic(inputs, arrays, {}, spec.rules),)
            given = arguments(inputs, arrays)
            program = torch.export.export(interface, given, dynamic_shapes=sizes, strict=False)
            return program, loops

    with torch.no_grad(), native_parts(interface.model):
        program, loops = unfolded(example)
        if all(loop.fixed for loop in loops):
            with unrolled(interface), size_one_counts():
                return traced(interface, (shapes,))
        module = confirmed((program, loops), (unfolded(a) for a in lengthened(spec, example)))
        try:
            return traced(module, shapes)
        except torch._dynamo.exc.UserError as error:
            if not shortest_only(error):
                raise
        return traced(module, least)
