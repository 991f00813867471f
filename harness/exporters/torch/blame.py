"""The error of a failed export of PyTorch: the module at fault and the reason, in one line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from traceback import walk_tb

import torch
from torch import nn

from harness.core.errors import ExportError, flattened

_STEPS = re.compile(r"No ONNX function found for <OpOverload\(op='([^']+)'")
_NODE = re.compile(r"Error when translating node %(\w+) ")


def module_of(node: torch.fx.Node) -> str:
    """Return the qualified name of the module with a node in its forward; empty for the model."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]).removeprefix("model").lstrip(".") if stack else ""


def trace_error(
    error: Exception, names: Mapping[int, str], calls: Mapping[str, int]
) -> ExportError:
    """Return the error of a failed trace.

    ``names`` maps a module's id to its qualified name, ``calls`` a cell's name to its calls.
    """
    root = next(iter(names.values()))
    for cause in _chain(error):
        if isinstance(cause, ExportError):
            return ExportError(f"{_frame_module(error, names) or root}: {cause}")
    violations = re.findall(r"^  - (.*)$", str(error), re.MULTILINE)
    if violations:
        looped = [name for name, count in calls.items() if count > 1]
        if looped:
            steps = f"called {calls[looped[0]]} times in a Python loop over a dynamic axis"
            return ExportError(f"{looped[0]}: {steps}; use a recurrent layer")
        return ExportError(f"{root}: {_violation(violations[0])}")
    return ExportError(f"{_frame_module(error, names) or root}: {_short(list(_chain(error))[-1])}")


def conversion_error(
    error: Exception, program: torch.export.ExportedProgram, root: str
) -> ExportError:
    """Return the error of a failed conversion of ``program``, of a model of class ``root``."""
    text = "\n".join(str(cause) for cause in _chain(error))
    missing = _STEPS.search(text)
    named = _NODE.search(text)
    op = missing[1].split("::")[-1].split(".")[-1] if missing else named[1] if named else ""
    at = next((n for n in program.graph.nodes if op and op in str(n.target)), None)
    module = module_of(at) if at is not None else ""
    reason = f"no ONNX operator for {missing[1]}" if missing else _short(list(_chain(error))[-1])
    return ExportError(f"{module or root}: {reason}")


def _violation(text: str) -> str:
    marked = re.search(
        r"You marked (\S+) as dynamic but your code specialized it to be a constant \((\d+)\)", text
    )
    if marked:
        return (
            f"axis {marked[1]!r} becomes the number {marked[2]} in the trace, as in a loop over it;"
            " use a recurrent layer, torch.scan, or torch.jit.script with --exporter torch-script"
        )
    return f"the axes are not free of each other: {text}"


def _short(error: BaseException) -> str:
    text = str(error).partition("\n\n")[0]
    return flattened(f"{type(error).__name__}: {text}", 200)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _frame_module(error: BaseException, names: Mapping[int, str]) -> str:
    """Return the module whose forward is innermost on the error's stack; empty without one."""
    for cause in _chain(error):
        innermost = ""
        for frame, _ in walk_tb(cause.__traceback__):
            for value in (frame.f_locals.get(n) for n in ("self", "module")):
                if isinstance(value, nn.Module):
                    innermost = names.get(id(value), innermost)
        if innermost:
            return innermost
    return ""
