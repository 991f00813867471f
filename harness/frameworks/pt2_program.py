"""What a ``.pt2`` file says of its program, checked before PyTorch makes code of it.

PyTorch generates Python from the names in a file, calls the functions that it names and evaluates
its expressions. So every text in it is held to a rule by where it stands; one without a rule of its
own is an identifier.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from typing import Any

import torch
from torch._export.serde import schema
from torch._export.serde.serialize import _dataclass_to_dict, _dict_to_dataclass

from harness.frameworks import pt2_grammars as grammars

Rule = Callable[[str], None]
# fmt: off
ON_SIZES = frozenset({
    *(f"_operator.{name}" for name in (
        "add", "and_", "eq", "floordiv", "ge", "getitem", "gt", "le", "lshift", "lt", "mod", "mul",
        "ne", "neg", "or_", "pos", "pow", "rshift", "sub", "truediv",
    )),
    *(f"torch.sym_{name}" for name in ("float", "int", "ite", "max", "min", "not", "sqrt", "sum")),
    *(f"torch._sym_{name}" for name in grammars.OPAQUE),
    "math.trunc",
})
"""Functions of symbolic sizes."""
CONTROL = frozenset(f"torch.ops.higher_order.{name}" for name in (
    "associative_scan", "cond", "map_impl", "scan", "while_loop", "wrap_with_autocast",
    "wrap_with_set_grad_enabled",
))
"""Operators that call graphs of the same file."""
TYPES = frozenset({"Tensor", "Device", "Generator", "number", "int", "float", "bool", "str"})
# fmt: on
_OPERATOR = re.compile(r"torch\.ops\.(aten|prims)\.([A-Za-z_]\w*)\.([A-Za-z_]\w*)")
_TYPE = re.compile(r"\b(?!List\b|Optional\b|Dict\b)[\w.]+")
_STACK = re.compile(r"[\w\s.,;:@<>()\[\]'-]*")
_VERIFIERS = {"", "ATEN", "TRAINING"}


def program(data: Any) -> Any:
    """Return the JSON of a program without what it says for people; ValueError where it is unsafe.

    What is kept is what PyTorch's own schema knows.
    """
    read = _dict_to_dataclass(schema.ExportedProgram, data)
    _check(read)
    return _dataclass_to_dict(read)


def payload(data: Any) -> dict[str, Any]:
    """Return the ``PayloadMeta`` of each tensor by its name; ValueError where one is unsafe."""
    read = _dict_to_dataclass(schema.PayloadConfig, data)
    _check(read)
    return dict(read.config)


def as_json(tensors: dict[str, Any]) -> Any:
    """Return the JSON of what ``payload`` returns."""
    return _dataclass_to_dict(schema.PayloadConfig(tensors))


def operator(text: str) -> None:
    """Take an operator that computes tensors or sizes; ValueError for any other function.

    An operator of ATen takes no file's name: ``from_file`` and ``save`` read and write any.
    """
    if text in ON_SIZES or text in CONTROL:
        return
    match = _OPERATOR.fullmatch(text)
    found = match and getattr(getattr(getattr(torch.ops, match[1]), match[2], None), match[3], None)
    if not (isinstance(found, torch._ops.OpOverload) and _computes(found)):
        raise ValueError(
            f"{grammars.cut(text)} is no operator that a file may name; expected those of ATen"
        )


def _computes(found: Any) -> bool:
    """Return whether an operator of ATen has a kernel and takes tensors and values alone.

    Those that make a sparse tensor of unchecked indices are none.
    """
    types = [str(one.type) for one in found._schema.arguments]
    return (
        torch._C._dispatch_has_kernel(found.name())
        and TYPES.issuperset(kind for text in types for kind in _TYPE.findall(text))
        and all(one.name != "filename" for one in found._schema.arguments)
        and not re.search("sparse.*unsafe", found.name())
    )


def _anything(_: str) -> None:
    """Take any text: PyTorch writes its ``repr`` where it writes it at all."""


def _verifier(text: str) -> None:
    if text not in _VERIFIERS:
        raise ValueError(f"verifier {grammars.cut(text)} is not one of ATEN, TRAINING")


def _refused(text: str) -> None:
    raise ValueError(
        f"{grammars.cut(text)} is an object of a class of its own; expected tensors and numbers"
    )


_RULES: dict[tuple[str, str], Rule] = {
    ("Argument", "as_operator"): operator,
    ("Argument", "as_string"): _anything,
    ("Argument", "as_strings"): _anything,
    ("ConstantValue", "as_string"): _anything,
    ("CustomObjArgument", "name"): _refused,
    ("CustomObjArgument", "class_fqn"): _refused,
    ("ExportedProgram", "guards_code"): grammars.guard,
    ("ExportedProgram", "torch_version"): _anything,
    ("ExportedProgram", "verifiers"): _verifier,
    ("InputToBufferSpec", "buffer_name"): grammars.dotted,
    ("InputToParameterSpec", "parameter_name"): grammars.dotted,
    ("InputToTensorConstantSpec", "tensor_constant_name"): grammars.dotted,
    ("BufferMutationSpec", "buffer_name"): grammars.dotted,
    ("ModuleCallEntry", "fqn"): grammars.dotted,
    ("ModuleCallSignature", "in_spec"): grammars.containers,
    ("ModuleCallSignature", "out_spec"): grammars.containers,
    ("Node", "target"): operator,
    ("SymExpr", "expr_str"): grammars.expression,
}
_KEYS: dict[tuple[str, str], Rule] = {
    ("ExportedProgram", "range_constraints"): grammars.expression,
    ("PayloadConfig", "config"): grammars.dotted,
}


def _check(value: Any) -> None:
    """Hold each text of a dataclass of the schema to its rule, and drop what is for people."""
    kind = type(value).__name__
    if kind == "Node":
        stack = value.metadata.get("nn_module_stack", "")
        kept = isinstance(stack, str) and stack and _STACK.fullmatch(stack)
        value.metadata = {"nn_module_stack": stack} if kept else {}
    elif kind == "GraphModule":
        value.metadata, value.treespec_namedtuple_fields = {}, {}
    for name, part in _parts(value):
        if (kind, name) not in (("Node", "metadata"),):
            rule = _RULES.get((kind, name), grammars.name)
            _hold(part, rule, _KEYS.get((kind, name), grammars.name))


def _parts(value: Any) -> Iterable[tuple[str, Any]]:
    """Return the fields of a dataclass with their values; of a union the one that is set."""
    if hasattr(value, "create"):
        return [(str(value.type), value.value)]
    return [(field.name, getattr(value, field.name)) for field in fields(value)]


def _hold(value: Any, rule: Rule, keys: Rule) -> None:
    if isinstance(value, str):
        rule(value)
    elif isinstance(value, list):
        for one in value:
            _hold(one, rule, keys)
    elif isinstance(value, dict):
        for key, one in value.items():
            keys(key)
            _hold(one, rule, keys)
    elif is_dataclass(value):
        _check(value)
