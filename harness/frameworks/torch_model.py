"""A user's PyTorch model: read it, describe its inputs, run it in float32 and in float64."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from harness.core import archives
from harness.core.errors import UsageError, one_line
from harness.core.names import visible
from harness.core.reading import check_file
from harness.core.schema import Array, Arrays
from harness.frameworks import pt2_archive
from harness.frameworks.torch_arguments import ByName, argument_of, arranged, call
from harness.frameworks.torch_attention import by_formula
from harness.frameworks.torch_copies import copied, fold_norms, quantised
from harness.frameworks.torch_float64 import EveryOperator, OwnCalls, precision
from harness.frameworks.torch_weights import load_weights
from harness.subjects.description import InputDescription

FRAMEWORK = "torch"


def recognises(model: object) -> bool:
    """Return whether an object is a PyTorch model."""
    return isinstance(model, nn.Module | torch.export.ExportedProgram)


def read(path: Path) -> Any:
    """Return the model in a ``.pt2`` or TorchScript file; UsageError where it holds none.

    A TorchScript file may read and write any file when it is run; a ``.pt2`` file may not.
    """
    program = path.suffix.lower() == ".pt2"
    check_file(path, archives.BYTES)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return pt2_archive.load(path) if program else torch.jit.load(str(path), "cpu")
    except UsageError:
        raise
    except Exception as error:
        kind = "torch.export program (.pt2)" if program else "TorchScript file"
        raise UsageError(visible(f"{path} is no readable {kind}: {one_line(error)}")) from None


class TorchModel:
    """A copy of a PyTorch model, in evaluation mode."""

    framework = FRAMEWORK

    def __init__(self, model: Any, weights: Path | None = None) -> None:
        self._program = model if isinstance(model, torch.export.ExportedProgram) else None
        kind = type(model).__name__
        if self._program is None and (odd := quantised(model)):
            raise UsageError(
                f"{kind}: {odd}, whose packed weights have no float64 form; export the float model"
                " and quantise its model.onnx (onnxruntime.quantization.quantize_dynamic)"
            )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = model.module() if self._program is not None else model
                module = copied(module).cpu()
        except Exception as error:
            raise UsageError(
                f"{kind} cannot be copied: {visible(one_line(error))}; make what it holds copyable"
                " by copy.deepcopy"
            ) from None
        if self._program is None:
            module.eval()
        if weights is not None:
            load_weights(module, weights)
        if not isinstance(module, torch.jit.ScriptModule):
            fold_norms(module)
        for name, tensor in _tensors(module):
            if tensor.is_floating_point() and tensor.dtype != torch.float32:
                raise UsageError(f"{kind}: {name} is not float32; export float32")
        self._module = module
        self._wide: Any = None
        self._mode: Any = None
        self._start = {name: value.detach() for name, value in module.named_parameters()}
        self._buffers = {name: value.detach().clone() for name, value in module.named_buffers()}
        self._names: tuple[str, ...] = ()

    @property
    def class_name(self) -> str:
        return "ExportedProgram" if self._program is not None else type(self._module).__name__

    def inputs(self) -> list[InputDescription]:
        """Return every input that needs a value; a program's with its dtype and axes."""
        if self._program is None:
            return [InputDescription(p.name) for p in self._parameters() if p.default is p.empty]
        nodes = {node.name: node for node in self._program.graph.nodes}
        described = []
        for name in self._program.graph_signature.user_inputs:
            value = nodes[name].meta.get("val") if name in nodes else None
            if not isinstance(value, Tensor):
                raise UsageError("an input of the program is no tensor; expected tensors alone")
            axes = tuple(int(s) if isinstance(s, int) else None for s in value.shape)
            dtype = str(value.dtype).removeprefix("torch.")
            described.append(InputDescription(name, dtype, axes))
        return described

    def arrange(self, names: Sequence[str]) -> list[str]:
        """Set and return the order of inputs; UsageError where ``names`` are not the model's."""
        parameters = self._parameters()
        if any(p.kind is p.VAR_POSITIONAL for p in parameters) or not parameters:
            self._names = tuple(names)
            return list(names)
        own = [p.name for p in parameters]
        if unknown := [name for name in names if not argument_of(name, own)]:
            raise UsageError(
                f"{self.class_name} has no input {unknown[0]!r}; it takes: {', '.join(own)}"
            )
        required = [p.name for p in parameters if p.default is p.empty]
        given = {argument_of(name, own) for name in names}
        if missing := [name for name in required if name not in given]:
            raise UsageError(f"{self.class_name} also takes {', '.join(missing)}; describe it too")
        self._names = tuple(arranged(names, own))
        return list(self._names)

    @property
    def model(self) -> nn.Module:
        """The module for an exporter, which takes the arranged inputs by position.

        A program's is without the bounds on its sizes that it was saved with.
        """
        if self._program is not None:
            return self._program.module(check_guards=False)
        parameters = self._parameters()
        positional = all(p.kind is not p.KEYWORD_ONLY for p in parameters)
        first = tuple(p.name for p in parameters[: len(self._names)])
        in_place = positional and first == self._names
        if in_place:
            return self._module
        return ByName(self._module, self._names, [p.name for p in parameters])

    def run(self, inputs: Arrays, wide: bool) -> list[tuple[str, Array]]:
        """Return the outputs, named as the model does, else ``""``; float64 where ``wide``."""
        if wide and self._mode is None:
            self._mode = self._cheapest_mode(inputs)
        if not wide:
            self._wide = None  # it takes twice the memory of the model
        named = self._outputs(inputs, self._mode if wide else None)
        for name, value in named:
            if not isinstance(value, Tensor):
                which = f"output {name}" if name else "an output"
                kind = type(value).__name__
                raise UsageError(
                    f"{which} of {self.class_name} is a {kind}; expected tensors alone: return it"
                    " as one, or leave it out"
                )
            if wide and value.dtype == torch.float32:
                raise UsageError(f"{self.class_name} gives float32 for a float64 input")
        return [(name, value.numpy()) for name, value in named]

    def _outputs(self, inputs: Arrays, mode: Any) -> list[tuple[str, Any]]:
        """Return what the model gives in float32 or, under a ``mode`` that widens, in float64."""
        wide = mode is not None
        module = self._widened() if wide else self._module
        arguments = [torch.from_numpy(np.array(inputs[name])) for name in self._names]
        if wide:
            arguments = [a.double() if a.is_floating_point() else a for a in arguments]
        with (
            torch.inference_mode(),
            torch.compiler.set_stance("force_eager"),  # torch.cond and torch.scan would compile
            precision(mode),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            try:
                result = call(module, self._names, arguments, self._program is None)
            except torch.jit.Error as error:
                raise RuntimeError(_last_line(error)) from None
        return _named_outputs(result)

    def _cheapest_mode(self, inputs: Arrays) -> Any:
        """Return the mode that widens the model's own calls, where it gives the same as the other.

        That one sees every operator, at a cost: a recurrent layer is many of them for each step.
        """
        try:
            every = dict(self._outputs(inputs, EveryOperator))
            calls = dict(self._outputs(inputs, OwnCalls))
        except Exception:
            return EveryOperator
        same = every.keys() == calls.keys() and all(
            isinstance(value, Tensor)
            and value.dtype == calls[name].dtype
            and value.shape == calls[name].shape
            and torch.allclose(value, calls[name], 1e-11, 1e-11, equal_nan=True)
            for name, value in every.items()
        )
        return OwnCalls if same else EveryOperator

    def without_fast_paths(self, inputs: Arrays) -> list[tuple[str, Array]]:
        """Return the float32 outputs with attention by its documented formula, as in a graph."""
        with by_formula():
            return self.run(inputs, wide=False)

    def parameters(self) -> Arrays:
        """Return the initial weights; while none is moved, they are the module's own memory."""
        return {name: value.numpy() for name, value in {**self._start, **self._buffers}.items()}

    def move(self, change: Callable[[Arrays], Arrays]) -> None:
        """Set the float32 parameters to ``change(initial ones)``; those in float64 stay.

        One at a time takes little memory, and a copy of the initial one is kept while it is moved.
        """
        with torch.no_grad():
            for name, value in _tensors(self._module):
                initial = self._buffers[name] if name in self._buffers else self._start[name]
                start = initial.numpy()
                if start.dtype != np.float32:
                    continue
                moved = change({name: start})[name]
                if moved is not start and initial.data_ptr() == value.data_ptr():
                    self._start[name] = initial.clone()
                value.copy_(torch.from_numpy(np.require(moved, requirements="W")))
                if moved is start and name in self._start:
                    self._start[name] = value.detach()

    def _widened(self) -> Any:
        if self._wide is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self._wide = copy.deepcopy(self._module).double()
        return self._wide

    def _parameters(self) -> list[inspect.Parameter]:
        """Return the parameters of ``forward``."""
        kind, empty = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.empty
        if self._program is not None:
            names = self._program.graph_signature.user_inputs
            return [inspect.Parameter(str(name), kind) for name in names]
        if isinstance(self._module, torch.jit.ScriptModule):
            return [
                inspect.Parameter(
                    a.name, kind, default=a.default_value if a.has_default_value() else empty
                )
                for a in self._module.forward.schema.arguments[1:]
            ]
        parameters = inspect.signature(self._module.forward).parameters.values()
        return [p for p in parameters if p.kind is not p.VAR_KEYWORD]


def _named_outputs(result: Any) -> list[tuple[str, Any]]:
    if isinstance(result, Mapping):
        return [(str(name), value) for name, value in result.items() if value is not None]
    fields = getattr(result, "_fields", None)
    if fields and all(isinstance(value, Tensor) for value in result):
        return list(zip(fields, result, strict=True))
    return [("", value) for value in pytree.tree_leaves(result) if value is not None]


def _tensors(module: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and buffers by name, each once."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def _last_line(error: BaseException) -> str:
    """Return what was raised inside TorchScript, without the trace before it."""
    return [line.strip() for line in str(error).splitlines() if line.strip()][-1]
