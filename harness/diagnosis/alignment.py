"""Which node of one graph stands for which of another, by name and by structure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator, Mapping

from harness.graphs.view import Net

Pairs = dict[int, int]
Signatures = dict[int, Hashable]


def align(net: Net, other: Net) -> Pairs:
    """The number in ``other`` of every node of ``net`` that has a counterpart there.

    Nodes of one name and operator are a pair; then those that are reached from the inputs by the
    same operators, then those from which the outputs are reached so; last those that stand between
    the same neighbours, whatever their operators.
    """
    pairs: Pairs = {}
    _match(net, other, pairs, _by_name(net), _by_name(other))
    while True:
        before = len(pairs)
        for signed in (_forward, _backward):
            ids: dict[Hashable, int] = {}
            theirs = signed(other, {j: j for j in pairs.values()}, ids)
            _match(net, other, pairs, signed(net, pairs, ids), theirs)
        for one, two in _between(net, other, pairs):
            pairs[one] = two
        if len(pairs) == before:
            return pairs


def _match(net: Net, other: Net, pairs: Pairs, ours: Signatures, theirs: Signatures) -> None:
    """Pair the free nodes of equal signature, in their order, where there are as many of each."""
    taken = set(pairs.values())
    groups: dict[Hashable, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for number in net.computing:
        if number not in pairs and number in ours:
            groups[ours[number]][0].append(number)
    for number in other.computing:
        if number not in taken and number in theirs:
            groups[theirs[number]][1].append(number)
    for one, two in groups.values():
        if len(one) == len(two):
            pairs.update(zip(one, two, strict=True))


def _by_name(net: Net) -> Signatures:
    nodes = [(i, net.nodes[i]) for i in net.computing]
    return {i: (node.name, node.op_type) for i, node in nodes if node.name}


def _forward(net: Net, known: Mapping[int, int], ids: dict[Hashable, int]) -> Signatures:
    """A node's operator and what makes its inputs; a paired node is known by its pair."""
    tensors: dict[str, Hashable] = {name: ("input", name) for name in net.inputs}
    tensors |= dict.fromkeys(net.constants, "constant")
    found: Signatures = {}
    for i in net.computing:
        node = net.nodes[i]
        found[i] = _signature(i, known, (node.op_type, *map(tensors.get, node.input)), ids)
        tensors.update((name, (found[i], slot)) for slot, name in enumerate(node.output))
    return found


def _backward(net: Net, known: Mapping[int, int], ids: dict[Hashable, int]) -> Signatures:
    """A node's operator and who reads what it makes; a paired node is known by its pair."""
    readers: dict[str, set[Hashable]] = defaultdict(set)
    for name in net.outputs:
        readers[name].add(("output", name))
    found: Signatures = {}
    for i in reversed(net.computing):
        node = net.nodes[i]
        read = frozenset(readers[node.output[0]]) if node.output else frozenset()
        found[i] = _signature(i, known, (node.op_type, read), ids)
        for slot, name in enumerate(node.input):
            readers[name].add((found[i], slot))
    return found


def _signature(
    number: int, known: Mapping[int, int], told: Hashable, ids: dict[Hashable, int]
) -> Hashable:
    """A small key, equal for what is told in equal words: nested ones would grow without end."""
    if number in known:
        return ("pair", known[number])
    return ("alike", ids.setdefault(told, len(ids)))


def _between(net: Net, other: Net, pairs: Pairs) -> Iterator[tuple[int, int]]:
    """Free nodes that a pair reads at the same input, and that read what another pair makes."""
    taken = set(pairs.values())
    common = [name for name in net.outputs if name in other.outputs]
    slots = [(net.nodes[i].input, other.nodes[j].input) for i, j in pairs.items()]
    for ours, theirs in [*slots, (common, common)]:
        for one, two in zip(ours, theirs, strict=False):
            a, b = net.maker.get(one), other.maker.get(two)
            if a is None or b is None or a in pairs or b in taken:
                continue
            here, there = _origin(net, a, pairs), _origin(other, b, {j: j for j in taken})
            if a in net.computing and b in other.computing and here & there:
                taken.add(b)
                yield a, b
                return


def _origin(net: Net, number: int, known: Mapping[int, int]) -> set[Hashable]:
    """The inputs of the graph, and what paired nodes make, that a node reads."""
    found: set[Hashable] = set()
    for name in net.reads(number):
        maker = net.maker.get(name)
        if name in net.inputs:
            found.add(name)
        elif maker is not None and maker in known:
            found.add((known[maker], list(net.nodes[maker].output).index(name)))
    return found
