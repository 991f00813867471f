"""The first wrong node of a graph, found by comparing it with a good graph of the same model.

Both are evaluated in float64 at one case, so that they differ where one is wrong and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from harness.core.schema import Array, Arrays
from harness.diagnosis import differences
from harness.diagnosis.alignment import Pairs, align
from harness.diagnosis.blame import Blame
from harness.diagnosis.values import SAME, Exact, Failure, agree, apart, first_step, scale
from harness.graphs.view import Net
from harness.graphs.walk import input_at

ENOUGH = 0.5
"""With a counterpart for less than this part of the good graph's nodes, nodes do not compare."""


def first(net: Net, good: Net, outputs: Sequence[str], inputs: Arrays) -> Blame | None:
    """The first node that ``outputs`` depend on and that departs by itself; None if none does.

    ``outputs`` are those of the graph that depart. A constant that differs is its reader's fault.
    """
    search = _Search(net, good, inputs)
    needed = net.ancestors(outputs)
    computing = [i for i in needed if i in search.computing]
    if len(search.pairs) < ENOUGH * len(good.computing):
        return search.frontier(computing)
    for number in computing:
        if number in search.pairs and (found := search.at(number)):
            return found
    for name in outputs:
        if name in good.outputs and (found := search.read(name, name, "graph output")):
            return found
    return search.failing(search.failed, None) if search.failed else None


def interface(net: Net, good: Net) -> Blame | None:
    """The node that makes the first output whose name or declared type the good graph has not."""
    theirs = {v.name: v.SerializeToString() for v in good.model.graph.output}
    names = [v.name for v in net.model.graph.output]
    for number, value in enumerate(net.model.graph.output):
        maker = net.maker.get(value.name)
        twice = value.name in names[:number]
        if maker is not None and (twice or theirs.get(value.name) != value.SerializeToString()):
            words = f"the graph's output {value.name!r}, which it makes, is not declared so there"
            label = net.label(maker)
            return Blame(maker, label, value.name, 0.0, 1.0, words, nodes=())
    return None


class _Search:
    def __init__(self, net: Net, good: Net, inputs: Arrays) -> None:
        self.net, self.good = net, good
        self.pairs: Pairs = align(net, good)
        self.computing = set(net.computing)
        self.ours, self.failed = Exact(net).all(inputs)
        self.theirs, _ = Exact(good).all(inputs)
        self._groups: dict[Any, list[Array]] = {}
        for value in self.theirs.values():
            if value is not None:
                self._groups.setdefault(_kind(value), []).append(np.asarray(value))

    def at(self, number: int) -> Blame | None:
        """A paired node: is what it reads another thing, or what it makes of the same?

        An input that one of the two does without may be what it is by default, such as an initial
        state of zeros: then what is made tells.
        """
        net, counterpart = self.net, self.pairs[number]
        node, other = net.nodes[number], self.good.nodes[counterpart]
        for slot in range(max(len(node.input), len(other.input))):
            one, two = input_at(node, slot), input_at(other, slot)
            optional = not one or not two
            if optional or (one in net.constants and two in self.good.constants):
                continue
            if self._differ(one, two):
                what = f"{net.label(number)} {net.role(number, slot)}"
                return self.read(one, two, what) or self._own(number, counterpart, what)
        if self.failed and self.failed.node == number:
            return self.failing(self.failed, counterpart)
        for one, two in zip(node.output, other.output, strict=False):
            if one and two and one in self.ours and not agree(self.ours[one], self.theirs[two]):
                return self._own(number, counterpart, "")
        return None

    def read(self, one: str, two: str, what: str) -> Blame | None:
        """What departs where ``one`` is read though paired nodes agree: nodes without a pair."""
        if not self._differ(one, two):
            return None
        extra: set[int] = set()
        waiting = [one]
        while waiting:
            maker = self.net.maker.get(waiting.pop())
            if maker is not None and maker in self.computing - self.pairs.keys() - extra:
                extra.add(maker)
                waiting += self.net.reads(maker)
        if not extra:
            return None
        chain = sorted(extra)
        wanted = self.theirs.get(two)
        number = next((i for i in chain if self._new(i, wanted)), chain[-1])
        tensor = self.net.makes(number)[0]
        listed = ", ".join(self.net.label(i) for i in chain)
        words = (
            f"{what} reads {one!r}, which departs; it is made by {listed}, of which the good graph"
            f" knows nothing: there it reads {two!r}"
        )
        error, size = apart(self.ours.get(one), wanted), scale(wanted)
        fed = self._fed(chain)
        due = {one: wanted} if wanted is not None else {}
        return Blame(
            number,
            self.net.label(number),
            tensor,
            error,
            size,
            words,
            "",
            (f"{listed}: not in the good graph",),
            tuple(chain),
            fed,
            due,
        )

    def frontier(self, needed: Sequence[int]) -> Blame | None:
        """Graphs of other structure: the first node all of whose inputs hold values that the good
        graph computes, too, in whatever order they lie, while its own does not."""
        for number in needed:
            known = all(self._known(name) for name in self.net.reads(number))
            name = next(iter(self.net.makes(number)), "")
            if known and not self._known(name):
                words = (
                    f"the graphs are built in other ways ({len(self.pairs)} of the good"
                    f" one's {len(self.good.computing)} nodes have a"
                    " counterpart); this is the first node that makes what the good graph does not"
                    " compute from what it does, which may be no fault"
                )
                value = self.ours.get(name)
                return Blame(
                    number,
                    self.net.label(number),
                    name,
                    float("inf") if value is None else 0.0,
                    scale(value),
                    words,
                    certain=False,
                    nodes=(number,),
                )
        return None

    def _own(self, number: int, counterpart: int, what: str) -> Blame:
        net = self.net
        node, other = net.nodes[number], self.good.nodes[counterpart]
        told = differences.told(net, number, self.good, counterpart)
        if what:
            words = f"{what} is read from another place than in the good graph"
            told = [words, *told]
        else:
            words = "what it reads agrees with the good graph, what it makes does not"
        outputs = [
            (one, two)
            for one, two in zip(node.output, other.output, strict=False)
            if one and two and not agree(self.ours.get(one), self.theirs.get(two))
        ]
        (one, two) = (outputs or [(node.output[0], other.output[0])])[0]
        due = {one: self.theirs[two]} if two in self.theirs else {}
        theirs = {
            a: self.theirs[b]
            for a, b in zip(node.output, other.output, strict=False)
            if b in self.theirs
        }
        return Blame(
            number,
            net.label(number),
            one,
            apart(self.ours.get(one), self.theirs.get(two)),
            scale(self.theirs.get(two)),
            words,
            self.good.label(counterpart),
            tuple(told),
            () if what else (number,),
            self._fed([number]),
            due,
            step=first_step(net, number, self.ours, theirs, SAME),
        )

    def failing(self, failed: Failure, counterpart: int | None) -> Blame:
        """The node that does not run at all."""
        net, told, label = self.net, [], ""
        if counterpart is not None:
            told = differences.told(net, failed.node, self.good, counterpart)
            label = self.good.label(counterpart)
        return Blame(
            failed.node,
            net.label(failed.node),
            next(iter(net.makes(failed.node)), ""),
            float("inf"),
            1.0,
            f"it fails: {failed.reason}",
            label,
            tuple(told),
            (failed.node,),
            self._fed([failed.node]),
        )

    def _differ(self, one: str, two: str) -> bool:
        if one and one not in self.ours:
            return False
        return not agree(self.ours.get(one), self.theirs.get(two))

    def _new(self, number: int, wanted: Array | None) -> bool:
        """Whether a node makes something like what is wanted that the good graph nowhere has."""
        for name in self.net.nodes[number].output:
            value = self.ours.get(name)
            if value is not None and wanted is not None and _kind(value) == _kind(wanted):
                held = np.asarray(value)
                return not any(agree(held, known) for known in self._groups[_kind(wanted)])
        return False

    def _known(self, name: str) -> bool:
        """Whether the good graph has a tensor's values, in whatever order and shape."""
        value = self.ours.get(name)
        if name in self.net.inputs or name in self.net.constants or value is None:
            return value is not None
        held = np.sort(np.asarray(value), axis=None)
        return any(
            agree(held, np.sort(known, axis=None))
            for group in self._groups.values()
            for known in group
            if known.size == held.size and (known.dtype.kind == "f") == (held.dtype.kind == "f")
        )

    def _fed(self, nodes: Sequence[int]) -> Arrays:
        """What some nodes read that they do not make."""
        read = [n for n in self.net.needs(nodes) if n not in self.net.constants]
        return {name: self.ours[name] for name in read if name in self.ours}


def _kind(value: Any) -> Any:
    array = np.asarray(value)
    return array.shape, array.dtype.kind
