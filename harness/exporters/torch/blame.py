"""The error of a failed export of PyTorch: module, reason, place and the way on, in one line."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise
from traceback import walk_tb

import onnx_ir as ir
import torch
from torch import nn

from harness.core import places
from harness.core.errors import ExportError, flattened
from harness.core.places import at, chain
from harness.core.schema import TensorSpec
from harness.exporters.finish import CONTROL_FLOW
from harness.exporters.torch.guards import Guard, restriction

_NO_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='([^']+)'")
_NO_SYMBOLIC = re.compile(r"operator '([^']+)' to ONNX opset version \d+ is not supported")
_STACK = re.compile(r'File "([^"]+)", line (\d+)')
_RAW = re.compile(
    r"\b[suz]\d+\b|\b(?:Eq|Ne|Mod)\(|Sym(?:Int|Bool|Float)|torch\._|L\[|data.dependent|[Ff]ake"
    r" ?[Tt]ensor|Proxy|symbolic|tensor subclass"
)
"""Words of PyTorch's own machinery, which say nothing to the user of it."""
_CONFLICTS = ("Constraints violated", "conflicts between user-specified ranges")
_VIOLATED = re.compile(r"Constraints violated \(([^)]*)\)")
_OF_VALUES = "data-dependent"
_ON_BOOL = re.compile(r"expression Eq\(u\d+, 1\)")
_BRANCHES = ("__bool__", "checked")
"""The functions that Python calls for the truth of a size, PyTorch's and ``sizes.checked``."""
BRANCH = "a Python branch (if, while, bool()) asks for the value of a tensor"
WAY_OF_BRANCH = "choose with torch.where, which computes both"
VALUE = "a Python number is read from the values of a tensor (item(), int(), tolist())"
WAY_OF_VALUE = "take sizes from shapes and leave steps out by a mask"
WAY_OF_OPERATOR = "write it with operators that ONNX has"
WAY_OF_LINE = "write that line with PyTorch's operators on tensors alone"


class ValueBranchError(ExportError):
    """A Python branch on a tensor's value, of which a trace of values takes one side."""

    baking = ("torch-script",)


def module_of(node: torch.fx.Node) -> str:
    """Return the qualified name of the module with a node in its forward; empty for the model."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]).removeprefix("model").lstrip(".") if stack else ""


def place_of(node: torch.fx.Node) -> str:
    """Return the place in the user's code that a node is from, as ``at`` has it."""
    found = _STACK.findall(node.meta.get("stack_trace") or "")
    return at(places.of_frames((file, int(line)) for file, line in reversed(found)))


def trace_error(
    error: Exception,
    names: Mapping[int, str],
    calls: Mapping[str, int],
    guards: Sequence[Guard],
    inputs: Sequence[TensorSpec],
) -> ExportError:
    """Return the error of a failed trace.

    ``names`` maps a module's id to its qualified name, ``calls`` a cell's name to its calls,
    ``guards`` are what the trace took for granted of the axes of ``inputs``.
    """
    where = _frame_module(error, names) or next(iter(names.values()), "")
    place = at(places.of_error(error))
    for cause in chain(error):
        if isinstance(cause, ExportError):
            reason, _, way = str(cause).partition("; ")
            return ExportError(f"{where}: {reason}{place}{way and f'; {way}'}")
    text = "\n".join(str(cause) for cause in chain(error))
    if "ScriptModule" in next(iter(names.values()), ""):
        return ExportError(f"{where}: a script cannot be traced again; --exporter torch-script")
    if _OF_VALUES in text:
        if not _ON_BOOL.search(text) and not _branches(error):
            return ExportError(f"{where}: {VALUE}{place}; {WAY_OF_VALUE}")
        return ValueBranchError(f"{where}: {BRANCH}{place}; {WAY_OF_BRANCH}")
    conflict = any(words in text for words in _CONFLICTS)
    if conflict or _RAW.search(text):
        violated = _VIOLATED.search(text)
        blamed = violated[1].split(", ") if violated else ()
        if found := restriction(guards, inputs, blamed):
            looped = [name for name, count in calls.items() if count > 1]
            module = next((names[m] for m in found.guard.modules if m in names), where)
            named = looped[0] if looped else module
            words = found.words + " in a Python loop that calls it" * bool(looped)
            return ExportError(f"{named}: {words}{at(found.guard.place)}; {found.way}")
        if conflict:
            return ExportError(f"{where}: what is done depends on the sizes of its inputs{place}")
    return ExportError(f"{where}: {_short(list(chain(error))[-1], place)}{place}; {WAY_OF_LINE}")


def conversion_error(error: Exception, root: str) -> ExportError:
    """Return the error of a failed conversion of a program, of a model of class ``root``."""
    text = "\n".join(str(cause) for cause in chain(error))
    missing = _NO_OPERATOR.search(text) or _NO_SYMBOLIC.search(text)
    found = _translated(error)
    module = module_of(found) if found is not None else ""
    place = place_of(found) if found is not None else at(places.of_error(error))
    reason = (
        f"no ONNX operator for {missing[1]}" if missing else _short(list(chain(error))[-1], place)
    )
    way = WAY_OF_OPERATOR if missing else WAY_OF_LINE
    return ExportError(f"{module or root}: {reason}{place}; {way}")


def check_written(model: ir.Model, root: str, allowed: Collection[str]) -> None:
    """Raise ExportError where a converted model has control flow that is not ``allowed``."""
    for node in model.graph:
        if node.op_type in CONTROL_FLOW and node.op_type not in allowed:
            told = {key.split(".")[-1]: text for key, text in node.metadata_props.items()}
            scopes = ["", *re.findall(r"'([^']*)'", told.get("name_scopes", ""))]
            module = scopes[-2:][0].removeprefix("model").lstrip(".")
            stack = _STACK.findall(told.get("stack_trace", ""))
            place = places.of_frames((file, int(line)) for file, line in reversed(stack))
            raise ExportError(
                f"{module or root}: {scopes[-1] or node.name} needs {node.op_type}, which is no"
                f" native node{at(place)}; --exporter torch-dynamo may keep it"
            )


def _branches(error: BaseException) -> bool:
    """Return whether it was raised as a user's own code asked for a truth."""
    names = [(f.f_code.co_filename, f.f_code.co_name) for f, _ in walk_tb(error.__traceback__)]
    return any(
        called in _BRANCHES and places.of_frames([(file, 1)])
        for (file, _), (_, called) in pairwise(names)
    )


def _translated(error: BaseException) -> torch.fx.Node | None:
    """Return the node that was being converted when an error was raised."""
    for cause in chain(error):
        for frame, _ in walk_tb(cause.__traceback__):
            if isinstance(node := frame.f_locals.get("node"), torch.fx.Node):
                return node
    return None


def _short(error: BaseException, place: str) -> str:
    """Return an error as it is, or only its kind where its text is PyTorch's own affair."""
    text = str(error).partition("\n\n")[0]
    kind = type(error).__name__
    own = not place and isinstance(error, AttributeError | TypeError | LookupError | AssertionError)
    if own or _RAW.search(text) or _RAW.search(kind):
        return "PyTorch's trace fails" if _RAW.search(kind) else f"PyTorch's trace fails ({kind})"
    return flattened(f"{kind}: {text}", 200)


def _frame_module(error: BaseException, names: Mapping[int, str]) -> str:
    """Return the module whose forward is innermost on the error's stack; empty without one."""
    for cause in chain(error):
        innermost = ""
        for frame, _ in walk_tb(cause.__traceback__):
            for value in (frame.f_locals.get(n) for n in ("self", "module")):
                if isinstance(value, nn.Module):
                    innermost = names.get(id(value), innermost)
        if innermost:
            return innermost
    return ""
