"""The texts in a ``.pt2`` file that PyTorch evaluates as Python, held to small grammars.

PyTorch gives symbolic sizes to ``sympify`` and guards to ``exec``, and imports what the
description of a container names. Each function here raises ValueError, which quotes the text, for
what is beyond its grammar.
"""

from __future__ import annotations

import ast
import json
import keyword
import re
from collections.abc import Callable, Collection
from typing import Any

LONGEST = 10_000
"""Characters of an expression; those of real programs have at most a few hundred."""
_POWER = 64
_LARGEST = 2**64
_SYMBOL = re.compile(r"(?:s|u|zf|zuf|ps|i)\d{1,6}")
_DOTTED = re.compile(r"[\w.-]*")
# fmt: off
OPAQUE = (
    "sqrt", "cos", "cosh", "sin", "sinh", "tan", "tanh", "asin", "acos", "atan", "exp", "log",
    "log2",
)
FUNCTIONS = frozenset({
    *(f"OpaqueUnaryFn_{name}" for name in OPAQUE),
    "Add", "Mul", "Pow", "Max", "Min", "Abs", "Integer", "Float", "Rational", "floor", "ceiling",
    "And", "Or", "Not", "Eq", "Ne", "Lt", "Le", "Gt", "Ge", "Equality", "Unequality",
    "StrictLessThan", "LessThan", "StrictGreaterThan", "GreaterThan", "ITE", "Piecewise",
    "ExprCondPair", "FloorDiv", "ModularIndexing", "Where", "PythonMod", "Mod", "CleanDiv",
    "CeilToInt", "FloorToInt", "CeilDiv", "LShift", "RShift", "PowByNatural", "FloatPow",
    "FloatTrueDiv", "IntTrueDiv", "IsNonOverlappingAndDenseIndicator", "TruncToFloat", "TruncToInt",
    "RoundToInt", "RoundDecimal", "ToFloat", "Identity",
})
_POWERS = {"Pow", "PowByNatural", "FloatPow", "LShift"}
_GUARDS = FUNCTIONS - {"Integer", "Float", "Rational"} | {"max", "min", "abs", "int", "float"}
_VALUES = {"true", "false", "oo", "int_oo"}
_SIZES = {"size", "stride", "storage_offset", "dim"}
_ARITHMETIC = ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare
_OPERATORS = ast.operator, ast.unaryop, ast.boolop, ast.cmpop
_CONTAINERS = {
    "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict",
    *(f"torch.fx.immutable_collections.immutable_{kind}" for kind in ("list", "dict")),
}
# fmt: on


def name(text: str) -> None:
    """Take an identifier, or nothing: PyTorch writes it into the code that it generates."""
    if text and (not text.isidentifier() or keyword.iskeyword(text)):
        raise ValueError(f"{cut(text)} is no name")


def dotted(text: str) -> None:
    """Take the dotted name of a parameter or a module, without a part such as ``__class__``."""
    if not _DOTTED.fullmatch(text) or any(part.startswith("__") for part in text.split(".")):
        raise ValueError(f"{cut(text)} is no name of a parameter or a module")


def expression(text: str) -> None:
    """Take arithmetic of symbols, as ``Mul(Integer(2), Symbol('s77', integer=True))``."""
    _take(text, "no arithmetic of sizes", _part_of_expression, FUNCTIONS)


def guard(text: str) -> None:
    """Take a comparison of sizes, as ``L['x'].size()[1] <= 2*L['y'].size()[0]``."""
    _take(text, "no comparison of sizes", _part_of_guard, _GUARDS)


def containers(text: str) -> None:
    """Take nested tuples, lists and dicts, as PyTorch describes a model's arguments."""
    try:
        version, root = json.loads(text)
        _container(root)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        version = None
    if version != 1:
        raise ValueError(f"{cut(text)} is no description of tuples, lists and dicts")


def _container(node: Any) -> None:
    kind, context, children = node["type"], node["context"], node["children_spec"]
    if kind is None:
        if context is not None or children:
            raise ValueError
        return
    if kind not in _CONTAINERS:
        raise ValueError
    keys = json.loads(context)
    if keys is not None and not (isinstance(keys, list) and all(map(_is_key, keys))):
        raise ValueError
    for child in children:
        _container(child)


def _is_key(key: Any) -> bool:
    return type(key) is int or (isinstance(key, str) and bool(_DOTTED.fullmatch(key)))


Part = Callable[[ast.AST, Collection[str]], bool]


def _take(text: str, what: str, part: Part, functions: Collection[str]) -> None:
    """Raise ValueError where a text is no Python expression of known parts and functions."""
    try:
        tree = ast.parse(text, mode="eval").body if len(text) <= LONGEST else None
        taken = tree is not None and part(tree, functions) and not _tower(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        taken = False
    if not taken:
        raise ValueError(f"{cut(text)} is {what}")


def _part_of_expression(node: ast.AST, functions: Collection[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in _VALUES or bool(_SYMBOL.fullmatch(node.id))
    if isinstance(node, ast.Call):
        return _is_symbol(node) or _is_float(node) or _call(node, _part_of_expression, functions)
    return _arithmetic(node, _part_of_expression, functions)


def _part_of_guard(node: ast.AST, functions: Collection[str]) -> bool:
    if isinstance(node, ast.Call) and isinstance(method := node.func, ast.Attribute):
        return method.attr in _SIZES and not (node.args or node.keywords) and _input(method.value)
    if isinstance(node, ast.Call):
        return _call(node, _part_of_guard, functions)
    if isinstance(node, ast.Subscript):
        sized = isinstance(node.value, ast.Call) and isinstance(node.value.func, ast.Attribute)
        return _input(node) or (
            sized and _part_of_guard(node.value, functions) and _literal(node.slice, int)
        )
    return _arithmetic(node, _part_of_guard, functions)


def _input(node: ast.AST) -> bool:
    """Return whether a node is an input, as ``L['x']`` or ``L['args'][0]``."""
    indexed = isinstance(node, ast.Subscript)
    while isinstance(node, ast.Subscript):
        if not (isinstance(node.slice, ast.Constant) and _is_key(node.slice.value)):
            return False
        node = node.value
    return indexed and isinstance(node, ast.Name) and node.id == "L"


def _call(node: ast.Call, part: Part, functions: Collection[str]) -> bool:
    known = isinstance(node.func, ast.Name) and node.func.id in functions
    return known and not node.keywords and all(part(one, functions) for one in node.args)


def _arithmetic(node: ast.AST, part: Part, functions: Collection[str]) -> bool:
    if isinstance(node, ast.Constant):
        value = node.value
        return isinstance(value, float) or (isinstance(value, int) and abs(value) <= _LARGEST)
    return isinstance(node, _ARITHMETIC) and all(
        isinstance(child, _OPERATORS) or part(child, functions)
        for child in ast.iter_child_nodes(node)
    )


def _literal(node: ast.AST, kind: type) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) is kind


def _is_symbol(node: ast.Call) -> bool:
    """Return whether a call is ``Symbol('s77', positive=True, …)``."""
    return (
        isinstance(node.func, ast.Name)
        and node.func.id == "Symbol"
        and len(node.args) == 1
        and isinstance(first := node.args[0], ast.Constant)
        and isinstance(first.value, str)
        and bool(_SYMBOL.fullmatch(first.value))
        and all(one.arg is not None and _literal(one.value, bool) for one in node.keywords)
    )


def _is_float(node: ast.Call) -> bool:
    """Return whether a call is ``Float('0.5', precision=53)``."""
    return (
        isinstance(node.func, ast.Name)
        and node.func.id == "Float"
        and len(node.args) == 1
        and isinstance(first := node.args[0], ast.Constant)
        and isinstance(first.value, str)
        and bool(re.fullmatch(r"-?[\d.]{1,40}(e[-+]?\d{1,3})?", first.value))
        and [ast.unparse(one) for one in node.keywords] in ([], ["precision=53"])
    )


def _tower(tree: ast.AST) -> bool:
    """Return whether a tree has a power of a power, or a large one, which may never be computed."""
    for node in ast.walk(tree):
        if parts := _power(node):
            if any(_power(inner) for part in parts for inner in ast.walk(part)):
                return True
            numbers = [n.value for n in ast.walk(parts[1]) if isinstance(n, ast.Constant)]
            if any(isinstance(n, int | float) and abs(n) > _POWER for n in numbers):
                return True
    return False


def _power(node: ast.AST) -> tuple[ast.AST, ast.AST] | None:
    """Return the base and the exponent of a power; None where a node is none."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow | ast.LShift):
        return node.left, node.right
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _POWERS:
        return (node.args[0], node.args[1]) if len(node.args) == 2 else (node, node)
    return None


def cut(text: str) -> str:
    """Return a text as a message quotes it."""
    return repr(text if len(text) <= 80 else f"{text[:79]}…")
