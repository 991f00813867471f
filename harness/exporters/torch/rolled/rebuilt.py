"""A traced model written anew, with each of its loops as a scan."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import fx, nn
from torch._higher_order_ops.scan import scan
from torch.multiprocessing.reductions import StorageWeakRef

from harness.exporters.torch.rolled.cells import (
    cell_of,
    packed_weights,
    recurrent_node,
    sources_of,
)
from harness.exporters.torch.rolled.repeats import loops_of
from harness.exporters.torch.rolled.steps import Every, Loop, NotALoopError
from harness.exporters.torch.rolled.unrolled import JOIN, Looped

aten = torch.ops.aten


def rolled(program: torch.export.ExportedProgram, looped: Sequence[Looped]) -> nn.Module:
    """Return a module that computes what an unrolled program does, at any length.

    NotALoopError where its steps are not alike, or are used one by one.
    """
    loops = loops_of(program.graph, looped)
    if not loops:
        raise NotALoopError("nothing in the trace repeats itself")
    return _Rebuilding(program, loops).module()


def repeated(
    body: Any, count: Any, skipped: int, carried: Any, read: Any, states_of: Sequence[int | None]
) -> Any:
    """Return the last carried values and, stacked, the results of every step.

    A result that is carried on has a number in ``states_of``: at a skipped step, it is what is
    carried into that step.
    """
    states = [start.clone() for start in carried] or [torch.zeros(1)]
    read = _apart(read)

    def step(state: Any, both: Any) -> Any:
        at, back = both
        new, kept = body(state, at, back, read)
        new = new or state
        if skipped:
            new = [torch.where(at[0] >= skipped, a, b) for a, b in zip(new, state, strict=True)]
            kept = [k if n is None else new[n] for k, n in zip(kept, states_of, strict=True)]
        return [a.clone() for a in new], [a.clone() for a in kept]

    steps = torch.arange(count)[:, None]
    return scan(step, states, [steps, steps.flip(0)])


def _apart(values: Sequence[torch.Tensor]) -> list[torch.Tensor]:
    """Return tensors of which no two share their memory, as parts of one do: no scan takes them."""
    parts: dict[StorageWeakRef, torch.Tensor] = {}
    return [
        value
        if parts.setdefault(StorageWeakRef(value.untyped_storage()), value) is value
        else value.clone()
        for value in values
    ]


class _Rebuilding:
    def __init__(self, program: torch.export.ExportedProgram, loops: Sequence[Loop]) -> None:
        self._program, self._loops = program, loops
        self._root: dict[str, Any] = {}
        self._graph = fx.Graph()
        self._written: set[Loop] = set()
        self._held: dict[fx.Node, torch.Tensor] = {}
        self._new: dict[fx.Node, fx.Node] = {}
        self._every: dict[tuple[int, int], fx.Node] = {}
        self._of = {node: loop for loop in loops for node in loop.places}

    def module(self) -> nn.Module:
        signature = self._program.graph_signature
        fixed = {
            **signature.inputs_to_parameters,
            **signature.inputs_to_buffers,
            **signature.inputs_to_lifted_tensor_constants,
        }
        held = {**self._program.state_dict, **self._program.constants}
        firsts = {loop.steps[0][0]: loop for loop in self._loops}
        self._note()
        for node in self._program.graph.nodes:
            if node.op == "placeholder" and node.name in fixed:
                self._root[fixed[node.name]] = self._held[node] = held[fixed[node.name]]
                self._new[node] = self._graph.get_attr(fixed[node.name])
            elif node in firsts:
                self._write(firsts[node])
            elif node in self._of:
                continue
            elif node.target is JOIN:
                self._new[node] = self._join(*node.args)
            elif (step := self._last_step(node)) is not None:
                self._new[node] = step
            else:
                self._new[node] = self._graph.node_copy(node, self._value)
        self._graph.eliminate_dead_code()
        return fx.GraphModule(self._root, self._graph)

    def _note(self) -> None:
        """Have every loop keep what is used outside it."""
        for node, loop in self._of.items():
            if any(self._of.get(user) is not loop for user in node.users):
                loop.keep(loop.places[node][1])

    def _last_step(self, node: fx.Node) -> fx.Node | None:
        """Return what takes the last of as many steps as a loop has; None where a node does not.

        What only the last step's value needs is in the trace once, after the loop.
        """
        takes = node.target in (aten.select.int, aten.slice.Tensor, aten.narrow.default)
        if not takes or len(node.args) < 3:
            return None
        source, axis, at, *rest = node.args
        size = source.meta["val"].shape[axis]
        for loop in self._loops if isinstance(size, torch.SymInt) else ():
            one = [at + 1] if node.target is aten.slice.Tensor else [1]
            if size.node.expr != loop.size.meta["val"].node.expr or at != loop.length - 1:
                continue
            if node.target is aten.select.int:
                return self._call(aten.select.int, self._value(source), axis, -1)
            if rest == one:
                return self._call(aten.slice.Tensor, self._value(source), axis, -1)
        return None

    def _call(self, target: Any, *args: Any) -> fx.Node:
        return self._graph.call_function(target, args)

    def _write(self, loop: Loop) -> None:
        if loop not in self._written:
            self._written.add(loop)
            if not self._cell(loop) and not self._whole(loop):
                self._scan(loop)

    def _whole(self, loop: Loop) -> bool:
        """Write a loop as one call for all steps; return whether it can be."""
        sources = sources_of(loop)
        for place, source in enumerate(sources or ()):
            if not isinstance(source, Every):
                source = Every(loop, loop.places[source][1])
            node = loop.steps[0][place]
            others = [self._new[a] if isinstance(a, fx.Node) else a for a in node.args[1:]]
            result = self._call(node.target, self._value(source), *others)
            self._every[id(loop), place] = result
        return sources is not None

    def _cell(self, loop: Loop) -> bool:
        """Write a loop as a recurrent node; return whether it is one."""
        cell = cell_of(loop)
        weights = packed_weights(cell, self._held) if cell else None
        if cell is None or weights is None:
            return False
        owner = str(self._new[cell.weights[0]].target).rpartition(".")[0]
        packed = []
        for name in "WRB":
            key = f"{owner}.{name}_l0_forward"
            self._root[key] = weights.get(name)
            packed.append(self._graph.get_attr(key) if name in weights else None)
        states = [None if s is None else self._value(s) for s in cell.states]
        x = self._value(cell.source)
        given = cell.target, x, cell.axis, cell.backward, packed, states
        results = self._call(recurrent_node, *given)
        for number, place in enumerate(cell.places):
            result = self._call(operator.getitem, results, number)
            self._every[id(loop), place] = result
        return True

    def _scan(self, loop: Loop) -> None:
        new = [loop.local[place] for place, _ in loop.carried]
        loop.body.output((new, [loop.local[place] for place in loop.kept]))
        name = f"loop_{self._loops.index(loop)}"
        self._root[name] = fx.GraphModule({}, loop.body)
        count = self._value(loop.size)
        if loop.count > loop.length:
            count = self._call(operator.add, count, loop.count - loop.length)
        starts = [self._value(start) for _, start in loop.carried]
        read = [self._value(source) for source in loop.read]
        body = self._graph.get_attr(name)
        states_of = [_state_of(loop, place) for place in loop.kept]
        results = self._call(repeated, body, count, loop.skipped, starts, read, states_of)
        every = self._call(operator.getitem, results, 1)
        for number, place in enumerate(loop.kept):
            key = id(loop), place
            self._every[key] = self._call(operator.getitem, every, number)

    def _value(self, node: Any) -> fx.Node:
        if isinstance(node, Every):
            self._write(node.loop)
            return self._every[id(node.loop), node.place]
        loop = self._of.get(node)
        if loop is None:
            return self._new[node]
        step, place = loop.places[node]
        last = 2 * step > loop.count
        if last and loop.skipped and _state_of(loop, place) is None:
            return self._last_of_list(node, loop)
        at = step - loop.count if last else step + loop.skipped
        return self._call(aten.select.int, self._every[id(loop), place], 0, at)

    def _last_of_list(self, node: fx.Node, loop: Loop) -> fx.Node:
        """Return a last step's value, which is the first's at the length 1, from their list."""
        for user in node.users:
            if user.target is JOIN and user.args[3]:
                parts, _, dim, _ = user.args
                if len(parts) == loop.skipped + loop.count and parts[-1] is node:
                    return self._call(aten.select.int, self._join(*user.args), dim, -1)
        raise NotALoopError("at the length 1, there is no step with this value")

    def _join(self, parts: Any, _: Any, dim: int, stacked: bool) -> fx.Node:
        pieces = []
        at = 0
        while at < len(parts):
            run = self._run(parts[at:])
            if run is None:
                piece = self._value(parts[at])
                at += 1
                pieces.append(self._call(aten.unsqueeze.default, piece, dim) if stacked else piece)
                continue
            many, piece = run
            at += many
            piece = self._call(torch.movedim, piece, 0, dim)
            pieces.append(piece if stacked else self._call(torch.flatten, piece, dim, dim + 1))
        return pieces[0] if len(pieces) == 1 else self._call(aten.cat.default, pieces, dim)

    def _run(self, parts: Sequence[fx.Node]) -> tuple[int, fx.Node] | None:
        """Return how many parts are all steps of one loop in order, and their tensor."""
        loop = self._of.get(parts[0])
        if loop is None:
            return None
        place = loop.places[parts[0]][1]
        steps = [loop.places[n][0] for n in parts[: loop.count] if n in loop.places]
        whole = list(range(loop.count))
        if steps not in (whole, whole[::-1]):
            return None
        every = self._every[id(loop), place]
        if loop.skipped:
            every = self._call(aten.slice.Tensor, every, 0, loop.skipped)
        if steps != whole:
            every = self._call(torch.flip, every, [0])
        return loop.count, every


def _state_of(loop: Loop, place: int) -> int | None:
    """Return the number of the carried value that a node of a step is; None where it is none."""
    return next((n for n, (own, _) in enumerate(loop.carried) if own == place), None)
