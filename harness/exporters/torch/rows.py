"""Direct reads of a row of a tensor that a traced program has put together row by row.

A recurrent layer takes and returns the states of all its layers as one tensor. Where a program
stacks them, or takes them apart, at constant positions, each is read from its source.
"""

from __future__ import annotations

import sys
from typing import Any, NamedTuple

import torch
from torch.fx import Node

_ATEN = torch.ops.aten


class _Row(NamedTuple):
    node: Node
    stacked: bool
    """Whether ``node`` is the row without axis 0, else with an axis 0 of size 1."""


def read_rows(program: torch.export.ExportedProgram) -> None:
    """Replace ``x[i]``, and slices of one row, of stacked or concatenated rows by the row itself.

    A program that may change a tensor in place stays as it is: a row may change before it is read.
    """
    graph = program.graph
    if any(_may_change(node.target) for node in graph.nodes):
        return
    for node in graph.nodes:
        slices = node.target is _ATEN.slice.Tensor
        if slices:
            rows = _rows(node)
        elif node.target is _ATEN.select.int and node.args[1] == 0:
            rows = _rows(node.args[0])
            rows = rows and rows[node.args[2] :][:1]
        else:
            continue
        if not rows or len(rows) > 1 or rows[0].node is node:
            continue
        source, stacked = rows[0]
        if source.meta["val"].dtype != node.meta["val"].dtype:
            continue
        if stacked == slices:
            change = _ATEN.unsqueeze.default if stacked else _ATEN.squeeze.dim
            with graph.inserting_before(node):
                source = graph.call_function(change, (source, 0))
            source.meta = dict(node.meta)
        node.replace_all_uses_with(source)
    program.graph_module.recompile()


def _may_change(target: Any) -> bool:
    """Return whether a call may change its arguments; a call of a graph counts as one that does."""
    if isinstance(target, torch._ops.OpOverload):
        return bool(target._schema.is_mutable)
    return isinstance(target, torch._ops.HigherOrderOperator)


def _rows(node: Node) -> list[_Row] | None:
    """Return the rows that a node consists of along axis 0; None where they are not known."""
    along_first = not any(node.args[1:]) and not node.kwargs
    if node.target is _ATEN.stack.default and along_first:
        return [_Row(part, stacked=True) for part in node.args[0]]
    if node.target is _ATEN.cat.default and along_first:
        parts = [_rows(part) for part in node.args[0]]
        return None if None in parts else [row for part in parts if part for row in part]
    if node.target is _ATEN.unsqueeze.default and node.args[1] == 0:
        return [_Row(node.args[0], stacked=True)]
    if node.target is _ATEN.slice.Tensor and _plain(node):
        arguments = list(node.args[1:])
        axis, start, stop, step = arguments + [0, 0, sys.maxsize, 1][len(arguments) :]
        rows = _rows(node.args[0]) if axis == 0 else None
        if rows is not None:
            return rows[start:stop:step]
    value = node.meta["val"]
    single = value.dim() > 0 and isinstance(value.shape[0], int) and value.shape[0] == 1
    return [_Row(node, stacked=False)] if single else None


def _plain(node: Node) -> bool:
    return not node.kwargs and all(isinstance(argument, int) for argument in node.args[1:])
