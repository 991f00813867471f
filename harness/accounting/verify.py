"""A stored account, held against a graph and the hashes of the parameters, without weights."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx

from harness.accounting import doubts, scales
from harness.accounting.constants import Constant, collect, joined, pieces
from harness.accounting.form import Account, Block, Parameter
from harness.accounting.rows import ascending
from harness.accounting.search import Pool
from harness.core.errors import CheckError
from harness.core.schema import Array
from harness.goldens.manifest import sha256


def check(account: Account, model: onnx.ModelProto, hashes: Mapping[str, str]) -> None:
    """Raise CheckError, with a parameter's name, where the graph does not hold what is said.

    ``hashes`` are those of the model's parameters, by name. Each one that was copied is put
    together from the graph's constants; a constant that was computed has to be as it was.
    """
    account.refuse()
    said = [parameter.name for parameter in account.parameters]
    if sorted(said) != sorted(hashes):
        differing = sorted({*said} ^ {*hashes}) or said
        raise CheckError(f"weights: the account and the golden differ in {differing[0]!r}")
    found = collect(model)
    allowed = {piece.blocks for piece in pieces(found)}
    ordered = {
        node
        for parameter in account.parameters
        if parameter.blocks in allowed
        for node in _nodes(parameter.blocks, found)
    }
    for parameter in account.parameters:
        elsewhere = parameter.blocks not in allowed
        nodes = _nodes(parameter.blocks, found)
        if elsewhere and (nodes & ordered or not (nodes or ascending(parameter.blocks))):
            raise CheckError(f"weights: {parameter.name} is not in its order: {parameter.how}")
        if wrong := _wrong(parameter, found, hashes[parameter.name]):
            raise CheckError(f"weights: {parameter.name} {wrong}")
    _rest(account, found)


def _rest(account: Account, found: Mapping[str, Constant]) -> None:
    """Raise CheckError where a constant that the account has no use for was altered.

    It may be a second copy of a parameter, or one number.
    """
    sources = {block.constant for parameter in account.parameters for block in parameter.blocks}
    rest = {name: constant for name, constant in found.items() if name not in sources}
    sizes = {size for parameter in account.parameters for size in parameter.shape}
    for name, constant in rest.items():
        if wrong := doubts.uneven(constant.array) or scales.off(constant.array, sizes):
            raise CheckError(f"weights: constant {name!r} {wrong}")
    spare = [piece for piece in pieces(rest) if piece.values.dtype.kind == "f"]
    sizes = {piece.values.size for piece in spare}
    for parameter in account.of("copied"):
        if parameter.blocks and parameter.elements in sizes:
            value = _values(parameter, found)
            same = [home.piece for home in Pool(spare).homes(value)]
            doubt = doubts.near(value, [piece for piece in spare if piece not in same])
            if doubt and doubt.sure and doubt.tiny:
                raise CheckError(f"weights: {parameter.name} {doubt.text}")


def _nodes(blocks: tuple[Block, ...], found: Mapping[str, Constant]) -> set[str]:
    """Return the recurrent nodes that blocks are weights of, each by its first output.

    Those in whose order of gates nothing lies have one of their own.
    """
    constants = [found[block.constant] for block in blocks if block.constant in found]
    return {node.output[0] for constant in constants for node, _ in constant.weight_of}


def _wrong(parameter: Parameter, found: Mapping[str, Constant], expected: str) -> str:
    """Return what is wrong with a parameter, in words that follow its name; empty for nothing."""
    blocks = parameter.blocks
    if not blocks:
        some = parameter.status == "copied" and parameter.elements
        none = some or parameter.constant is not None
        return "is copied to no place" if none else ""
    elements = sum(block.rows * block.width for block in blocks)
    if parameter.status == "copied" and elements != parameter.elements:
        return f"has {parameter.elements:,} elements, and its blocks have not"
    try:
        copied = parameter.status == "copied"
        values = _values(parameter, found) if copied else joined(found, blocks)
    except (ValueError, IndexError, TypeError) as error:
        return f"is not where the account has it: {error}"
    stated = expected if parameter.status == "copied" else parameter.constant
    if sha256(values) != stated:
        return f"is altered: its SHA-256 is not the recorded one; it was found {parameter.how}"
    return ""


def _values(parameter: Parameter, found: Mapping[str, Constant]) -> Array:
    """Return a parameter that was copied, put together from its blocks."""
    shape = tuple(size for size in parameter.shape if size != 1)
    moved = joined(found, parameter.blocks).reshape([shape[axis] for axis in parameter.axes])
    values = moved.transpose(np.argsort(parameter.axes)).reshape(parameter.shape)
    return np.asarray(values.astype(parameter.dtype, copy=False))
