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
    """Return the first node that departs by itself and that ``outputs`` depend on; None if none.

    ``outputs`` are those of the graph that depart. A constant that differs is its reader's fault.
    """
    search = _Search(net, good, inputs)
    needed = net.ancestors(outputs)
    computing = [i for i in needed if i in search.computing]
    if len(search.pairs) < ENOUGH * len(good.computing):
        return search.frontier(computing)
    for number in computing:
        if number in search.pairs and (blame := search.at(number)):
            return blame
    for name in outputs:
        if name in good.outputs and (blame := search.read(name, name, "graph output")):
            return blame
    return search.failing(search.failed, None) if search.failed else None


def interface(net: Net, good: Net) -> Blame | None:
    """Return the maker of the first output whose name or declared type the good graph lacks."""
    theirs = {v.name: v.SerializeToString() for v in good.model.graph.output}
    names = [v.name for v in net.model.graph.output]
    for number, value in enumerate(net.model.graph.output):
        maker = net.maker.get(value.name)
        twice = value.name in names[:number]
        if maker is not None and (twice or theirs.get(value.name) != value.SerializeToString()):
            words = f"the graph's output {value.name!r}, which it makes, is not declared so there"
            return Blame.of(net, maker, words, tensor=value.name, error=0.0, nodes=())
    return None


class _Search:
    """Two graphs, the pairs of their nodes, and their tensors: ``ours`` and the good graph's."""

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
        """Blame a paired node that reads other values, or makes others of the same.

        An input that one of the two lacks may have its default value, such as an initial state of
        zeros: then the outputs decide.
        """
        net, counterpart = self.net, self.pairs[number]
        node, twin = net.nodes[number], self.good.nodes[counterpart]
        for slot in range(max(len(node.input), len(twin.input))):
            name, good_name = input_at(node, slot), input_at(twin, slot)
            optional = not name or not good_name
            if optional or (name in net.constants and good_name in self.good.constants):
                continue
            if self._differ(name, good_name):
                what = f"{net.label(number)} {net.role(number, slot)}"
                return self.read(name, good_name, what) or self._own(number, counterpart, what)
        if self.failed and self.failed.node == number:
            return self.failing(self.failed, counterpart)
        for name, good_name in zip(node.output, twin.output, strict=False):
            both = name and good_name and name in self.ours
            if both and not agree(self.ours[name], self.theirs[good_name]):
                return self._own(number, counterpart, "")
        return None

    def read(self, name: str, good_name: str, what: str) -> Blame | None:
        """Blame the nodes without a pair that make ``name``, where paired nodes agree."""
        if not self._differ(name, good_name):
            return None
        extra: set[int] = set()
        waiting = [name]
        while waiting:
            maker = self.net.maker.get(waiting.pop())
            if maker is not None and maker in self.computing - self.pairs.keys() - extra:
                extra.add(maker)
                waiting += self.net.reads(maker)
        if not extra:
            return None
        chain = sorted(extra)
        expected = self.theirs.get(good_name)
        labels = ", ".join(self.net.label(i) for i in chain)
        words = (
            f"{what} reads {name!r}, which departs; it is made by {labels}, of which the good graph"
            f" knows nothing: there it reads {good_name!r}"
        )
        return Blame.of(
            self.net,
            next((i for i in chain if self._new(i, expected)), chain[-1]),
            words,
            error=apart(self.ours.get(name), expected),
            scale=scale(expected),
            differences=(f"{labels}: not in the good graph",),
            nodes=tuple(chain),
            inputs=self._inputs(chain),
            expected={} if expected is None else {name: expected},
        )

    def frontier(self, needed: Sequence[int]) -> Blame | None:
        """Blame the first node of a graph of another structure whose output the good graph lacks.

        The good graph computes the values of all its inputs, too, in whatever order they lie.
        """
        for number in needed:
            shared = all(self._is_shared(name) for name in self.net.reads(number))
            name = next(iter(self.net.makes(number)), "")
            if shared and not self._is_shared(name):
                words = (
                    f"the graphs are built in other ways ({len(self.pairs)} of the good"
                    f" one's {len(self.good.computing)} nodes have a"
                    " counterpart); this is the first node that makes what the good graph does not"
                    " compute from what it does, which may be no fault"
                )
                value = self.ours.get(name)
                error = float("inf") if value is None else 0.0
                return Blame.of(
                    self.net, number, words, error=error, scale=scale(value), certain=False
                )
        return None

    def _own(self, number: int, counterpart: int, what: str) -> Blame:
        """Blame a paired node itself; ``what`` names the input that it reads elsewhere, if any."""
        net = self.net
        sentences = differences.differences(net, number, self.good, counterpart)
        words = "what it reads agrees with the good graph, what it makes does not"
        if what:
            words = f"{what} is read from another place than in the good graph"
            sentences = [words, *sentences]
        outputs = net.nodes[number].output, self.good.nodes[counterpart].output
        pairs = list(zip(*outputs, strict=False))
        departing = [
            (a, b) for a, b in pairs if a and b and not agree(self.ours.get(a), self.theirs.get(b))
        ]
        name, good_name = (departing or pairs)[0]
        theirs = {a: self.theirs[b] for a, b in pairs if b in self.theirs}
        return Blame.of(
            net,
            number,
            words,
            tensor=name,
            error=apart(self.ours.get(name), self.theirs.get(good_name)),
            scale=scale(self.theirs.get(good_name)),
            counterpart=self.good.label(counterpart),
            differences=tuple(sentences),
            nodes=() if what else (number,),
            inputs=self._inputs([number]),
            expected={name: self.theirs[good_name]} if good_name in self.theirs else {},
            step=first_step(net, number, self.ours, theirs, SAME),
        )

    def failing(self, failed: Failure, counterpart: int | None) -> Blame:
        """Blame the node that does not run at all."""
        sentences, label = [], ""
        if counterpart is not None:
            sentences = differences.differences(self.net, failed.node, self.good, counterpart)
            label = self.good.label(counterpart)
        return Blame.of(
            self.net,
            failed.node,
            f"it fails: {failed.reason}",
            counterpart=label,
            differences=tuple(sentences),
            inputs=self._inputs([failed.node]),
        )

    def _differ(self, name: str, good_name: str) -> bool:
        if name and name not in self.ours:
            return False
        return not agree(self.ours.get(name), self.theirs.get(good_name))

    def _new(self, number: int, expected: Array | None) -> bool:
        """Return whether a node makes a tensor like the expected one that the good graph lacks."""
        for name in self.net.nodes[number].output:
            value = self.ours.get(name)
            if value is not None and expected is not None and _kind(value) == _kind(expected):
                alike = self._groups[_kind(expected)]
                return not any(agree(np.asarray(value), theirs) for theirs in alike)
        return False

    def _is_shared(self, name: str) -> bool:
        """Return whether the good graph has a tensor's values, in whatever order and shape."""
        value = self.ours.get(name)
        if name in self.net.inputs or name in self.net.constants or value is None:
            return value is not None
        ordered = np.sort(np.asarray(value), axis=None)
        is_float = ordered.dtype.kind == "f"
        return any(
            agree(ordered, np.sort(theirs, axis=None))
            for group in self._groups.values()
            for theirs in group
            if theirs.size == ordered.size and (theirs.dtype.kind == "f") == is_float
        )

    def _inputs(self, nodes: Sequence[int]) -> Arrays:
        """Return what some nodes read that they do not make."""
        read = [n for n in self.net.needs(nodes) if n not in self.net.constants]
        return {name: self.ours[name] for name in read if name in self.ours}


def _kind(value: Any) -> Any:
    array = np.asarray(value)
    return array.shape, array.dtype.kind
