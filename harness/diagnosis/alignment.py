"""Pairs of nodes of two graphs, by name and by structure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping

from harness.graphs.view import Net

Pairs = dict[int, int]
Signatures = dict[int, Hashable]


def align(net: Net, other: Net) -> Pairs:
    """Return the number in ``other`` of every node of ``net`` that has a counterpart there.

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
        if between := _between(net, other, pairs):
            pairs.update([between])
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
    for ours_alike, theirs_alike in groups.values():
        if len(ours_alike) == len(theirs_alike):
            pairs.update(zip(ours_alike, theirs_alike, strict=True))


def _by_name(net: Net) -> Signatures:
    nodes = [(i, net.nodes[i]) for i in net.computing]
    return {i: (node.name, node.op_type) for i, node in nodes if node.name}


def _forward(net: Net, paired: Mapping[int, int], ids: dict[Hashable, int]) -> Signatures:
    """Return each node's signature by its operator and the makers of its inputs."""
    tensors: dict[str, Hashable] = {name: ("input", name) for name in net.inputs}
    tensors |= dict.fromkeys(net.constants, "constant")
    signatures: Signatures = {}
    for i in net.computing:
        node = net.nodes[i]
        signatures[i] = _signature(i, paired, (node.op_type, *map(tensors.get, node.input)), ids)
        tensors.update((name, (signatures[i], slot)) for slot, name in enumerate(node.output))
    return signatures


def _backward(net: Net, paired: Mapping[int, int], ids: dict[Hashable, int]) -> Signatures:
    """Return each node's signature by its operator and the readers of its outputs."""
    readers: dict[str, set[Hashable]] = defaultdict(set)
    for name in net.outputs:
        readers[name].add(("output", name))
    signatures: Signatures = {}
    for i in reversed(net.computing):
        node = net.nodes[i]
        read = frozenset(readers[node.output[0]]) if node.output else frozenset()
        signatures[i] = _signature(i, paired, (node.op_type, read), ids)
        for slot, name in enumerate(node.input):
            readers[name].add((signatures[i], slot))
    return signatures


def _signature(
    number: int, paired: Mapping[int, int], description: Hashable, ids: dict[Hashable, int]
) -> Hashable:
    """Return a small key, equal for equal descriptions, which nested would grow without end.

    A paired node has the key of its pair.
    """
    if number in paired:
        return ("pair", paired[number])
    return ("alike", ids.setdefault(description, len(ids)))


def _between(net: Net, other: Net, pairs: Pairs) -> tuple[int, int] | None:
    """Return free nodes that a pair reads at one input, and that read what another pair makes."""
    taken = set(pairs.values())
    common = [name for name in net.outputs if name in other.outputs]
    slots = [(net.nodes[i].input, other.nodes[j].input) for i, j in pairs.items()]
    for ours, theirs in [*slots, (common, common)]:
        for our_name, their_name in zip(ours, theirs, strict=False):
            a, b = net.maker.get(our_name), other.maker.get(their_name)
            if a is None or b is None or a in pairs or b in taken:
                continue
            origins = _origin(net, a, pairs) & _origin(other, b, {j: j for j in taken})
            if a in net.computing and b in other.computing and origins:
                return a, b
    return None


def _origin(net: Net, number: int, paired: Mapping[int, int]) -> set[Hashable]:
    """Return the graph's inputs, and the outputs of paired nodes, that a node reads."""
    origins: set[Hashable] = set()
    for name in net.reads(number):
        maker = net.maker.get(name)
        if name in net.inputs:
            origins.add(name)
        elif maker is not None and maker in paired:
            origins.add((paired[maker], list(net.nodes[maker].output).index(name)))
    return origins
