"""The account: every parameter of a framework's model, and where its elements are in the export."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx

from harness.accounting import derive, doubts, scales
from harness.accounting.constants import Constant, Piece, collect, joined, kind, pieces, whole
from harness.accounting.doubts import Suspicion
from harness.accounting.form import Account, Block, Parameter, Status, Unsourced
from harness.accounting.rows import RowIndex, RowMatches
from harness.accounting.search import Home, Pool
from harness.accounting.telling import at, blocks_text, elsewhere, in_order, labels, vague
from harness.accounting.terms import layer, parts
from harness.core.schema import Array, Arrays
from harness.goldens.manifest import sha256

OF_TRAINING = ("num_batches_tracked", "seed_generator_state", "count")
"""The last parts of the names of integers that only training reads."""
QUANTISED = {"DequantizeLinear", "MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv"}

Probe = Callable[[Mapping[str, Array]], bool]
"""Returns whether the framework's model, with these values, gives the same outputs to the bit."""


def account(parameters: Arrays, model: onnx.ModelProto, probe: Probe | None = None) -> Account:
    """Return where every parameter of a framework's model lies in the constants of its export.

    With a ``probe`` what is not found is tried on the framework's model: whether it does anything.
    """
    return _Ledger(parameters, model, probe).account()


class _Ledger:
    """What is known so far of each parameter, and which elements of constants are explained."""

    def __init__(self, parameters: Arrays, model: onnx.ModelProto, probe: Probe | None) -> None:
        self.parameters, self.model, self.probe = parameters, model, probe
        self.found = collect(model)
        self.pool = Pool(pieces(self.found))
        self.homes: dict[str, list[Home]] = {}
        self.entries: dict[str, Parameter] = {}
        self.vague = True
        self._blocks: dict[str, set[Block]] = {}

    def account(self) -> Account:
        self._copied()
        self._in_rows()
        self._derived()
        self._doubtful()
        self._parts()
        self._left()
        listed = tuple(self.entries[name] for name in self.parameters)
        return Account(1, listed, tuple(self._without_source()))

    def _open(self) -> list[str]:
        return [name for name in self.parameters if name not in self.entries]

    def _enter(
        self, name: str, status: Status, how: str, home: Home | None = None, hashed: bool = False
    ) -> None:
        value = self.parameters[name]
        place = (home.axes, home.blocks) if home else ((), ())
        digest = None
        if home:
            self._take(home)
        if home and hashed:
            digest = sha256(joined(self.found, home.blocks))
        dtype = str(value.dtype)
        self.entries[name] = Parameter(name, status, value.shape, dtype, how, *place, digest)

    def _take(self, home: Home) -> None:
        """Count the blocks as explained."""
        for block in home.blocks:
            self._blocks.setdefault(block.constant, set()).add(block)

    def _copied(self) -> None:
        """Enter what is a whole constant, or one of the weights of a recurrent node.

        Biases have their gates in the order of their node's matrices. Of places that are alike,
        theirs is where the matrices of their layer are.
        """
        for name, value in self.parameters.items():
            if value.dtype.kind in "iu" and parts(name)[-1] in OF_TRAINING:
                self._enter(name, "unused", "is unused: only training reads it")
            elif value.dtype.kind not in "fiub" or value.dtype.itemsize > 8:
                self._enter(name, "unproven", f"is {value.dtype}, which is not looked for")
            elif not value.size:
                self._enter(name, "copied", "has no elements")
        every = {name: list(self.pool.homes(self.parameters[name])) for name in self._open()}
        orders: dict[str, set[str]] = {}
        nodes: dict[str, set[str]] = {}
        for name, homes in every.items():
            if self.parameters[name].squeeze().ndim > 1:
                for home in homes:
                    if home.piece and home.piece.role in ("W", "R"):
                        orders.setdefault(home.piece.node, set()).add(home.piece.order)
                        nodes.setdefault(layer(name), set()).add(home.piece.node)
        for name, homes in every.items():
            ordered = [home for home in homes if in_order(orders, home.piece)]
            if ordered:
                ordered.sort(key=lambda home: not at(nodes.get(layer(name), set()), home.piece))
                self.homes[name] = ordered
                self._enter(name, "copied", f"→ {labels(ordered)}", ordered[0])
                for home in ordered:
                    self._take(home)
        wrong = {**doubts.strayed(self.homes), **doubts.doubled(self.homes)}
        for name, doubt in wrong.items():
            self._enter(name, doubt.status, doubt.text)

    def _in_rows(self) -> None:
        """Enter what lies in blocks of larger constants, or is split into several."""
        self.rows: dict[str, RowIndex] = {}
        for name in self._open():
            value = self.parameters[name]
            found = self._rows(value).best(value)
            if found and found.share == 1 and found.telling and found.in_order and found.fits:
                home = found.home()
                if not any(self.found[name].weight_of for name in home.constants):
                    self._enter(name, "copied", f"→ {home.label}{blocks_text(home)}", home)

    def _derived(self) -> None:
        names = self._open()
        free = Pool(piece for piece in self.pool.pieces if self._free(piece))
        for name, text, home in derive.narrowed(self.parameters, names, free):
            self._enter(name, "derived", f"= {text} → {home.label}", home, hashed=True)
        names = self._open()
        results = derive.derived(self.parameters, names, self.parameters, free)
        for name, (formula, home) in results.known.items():
            self._enter(name, "derived", f"in {formula} → {home.label}", home, hashed=True)
        for home in results.homes:
            self._take(home)
        for name, near in results.near.items():
            if name not in self.entries:
                self._enter(name, "altered", near.text)

    def _parts(self) -> None:
        """Take out of what has no source the constants that are parts of parameters, or copies."""
        self.vague = any(map(vague, self._unsourced()))
        spare = [c for c in self._floats() if not doubts.constant(c.array)]
        if not spare:
            return
        own = {
            name: Constant(name, value.squeeze(), value.shape, name, ())
            for name, value in self.parameters.items()
            if value.dtype.kind == "f" and value.size > 1
        }
        kinds: dict[str, RowIndex] = {}
        for one in spare:
            rows = kinds.setdefault(kind(one.array), RowIndex(own, kind(one.array)))
            found = rows.best(one.array)
            if found and found.share == 1 and found.telling and found.in_order and found.fits:
                self._blocks[one.name] = {whole(one)}
            elif found and (second := doubts.second(one, found)):
                name, doubt = second
                if name in self.entries and self.entries[name].status == "copied":
                    self._enter(name, doubt.status, doubt.text)

    def _doubtful(self) -> None:
        """Enter what is altered, misplaced or doubled, where nothing else may explain it."""
        open_ = [name for name in self._open() if self._matters(name)]
        found = {
            name: doubts.of(value, self.pool, self._rows(value), self._free)
            for name in open_
            for value in [self.parameters[name]]
        }
        known = {name: doubt for name, doubt in found.items() if doubt}
        nodes = {home.piece.node for homes in self.homes.values() for home in homes if home.piece}
        for name, doubt in self._copies().items():
            self._enter(name, doubt.status, doubt.text)
        other = [n for n in open_ if n not in known and self._strange(self.parameters[n])]
        for name, doubt in known.items():
            if doubt.home and self._own_order(doubt.home, nodes):
                label = f"→ {doubt.home.label}, gates in an order of its own"
                self._enter(name, "copied", label, doubt.home)
            elif (doubt.sure or not other) and not self._same(name, doubt):
                self._enter(name, doubt.status, doubt.text)

    def _copies(self) -> dict[str, Suspicion]:
        """Return what is wrong with a second copy of a parameter that is also there as it is."""
        spare = [p for p in self.pool.pieces if not {*self._blocks} & p.constants]
        wrong = {}
        for name, entry in self.entries.items():
            if entry.status == "copied" and spare:
                doubt = doubts.near(self.parameters[name], spare)
                if (
                    doubt
                    and doubt.sure
                    and (doubt.share >= doubts.COPY or doubt.tiny)
                    and not self._same(name, doubt)
                ):
                    wrong[name] = doubt
        return wrong

    def _strange(self, value: Array) -> bool:
        """Return whether nothing at all is known of a parameter: others may be mixed with it."""
        return value.size > 1 and bool(np.any(value)) and self._part(value) is None

    def _own_order(self, home: Home, nodes: set[str]) -> bool:
        """Return whether no weight of the same recurrent node has the framework's order."""
        of_node = [n for c in home.constants for n, _ in self.found[c].weight_of]
        return bool(of_node) and not any(
            known.startswith(f"{node.output} ") for node in of_node for known in nodes
        )

    def _left(self) -> None:
        """Enter what was not found: it does nothing, is missing, or nothing is proved of it."""
        quantised = any(node.op_type in QUANTISED for node in self.model.graph.node)
        for name in self._open():
            value = self.parameters[name]
            if not self._matters(name):
                self._enter(name, "unused", "is unused: no output depends on it")
            elif value.size and not np.any(value):
                self._enter(name, "derived", "is zero everywhere, and is folded away")
            elif quantised:
                self._enter(name, "unproven", "is not accounted for: the graph is quantised")
            elif value.size > 1 and not self.vague:
                if self.probe and value.dtype.kind == "f":
                    text = "is missing: outputs depend on it, and nothing was computed of it"
                    self._enter(name, "missing", text)
                else:
                    text = "is unused: the graph is made of other parameters alone"
                    self._enter(name, "unused", text)
            else:
                self._enter(name, "unproven", self._partly(value))

    def _partly(self, value: Array) -> str:
        """Return what is known of a parameter of which nothing is proved."""
        whole_ = self._rows(value).best(value)
        if whole_ and whole_.share == 1 and whole_.telling:
            return f"is there with its rows in another order → {whole_.home().label}"
        found = self._part(value)
        if found is None:
            return "is in no constant as it is, nor as a known formula gives it"
        (first, end), axis = found.runs[0], found.parameter.axes[0]
        return (
            f"is there in part: {first} to {end - 1} of {len(found.owner)} along axis {axis} →"
            f" {found.home().label}"
        )

    def _part(self, value: Array) -> RowMatches | None:
        """Return the one block of a parameter that is there, if there is one."""
        found = self._rows(value).best(value)
        small = found is None or found.parameter.rows.shape[1] == 1
        return None if small or found is None or len(found.runs) != 1 else found

    def _rows(self, value: Array) -> RowIndex:
        """Return the rows of the constants that are not wholly some parameters'."""
        if kind(value) not in self.rows:
            some = {n: c for n, c in self.found.items() if self._explained(c) < c.array.size}
            self.rows[kind(value)] = RowIndex(some, kind(value))
        return self.rows[kind(value)]

    def _matters(self, name: str) -> bool:
        """Return whether outputs may depend on a parameter."""
        value = self.parameters[name]
        if self.probe is None or value.dtype.kind != "f":
            return True
        return not self.probe({name: elsewhere(value)})

    def _same(self, name: str, doubt: Suspicion) -> bool:
        """Return whether the model itself makes no difference between both values.

        Values as far away on the other side then show that those places count, unless one value
        stands in all of them: those are masked.
        """
        if self.probe is None or doubt.instead is None or doubt.tiny:
            return False
        value = self.parameters[name]
        mirrored = (2 * value.astype(np.float64) - doubt.instead).astype(value.dtype)
        if not self.probe({name: doubt.instead}):
            return False
        return doubt.masked or not self.probe({name: mirrored})

    def _free(self, piece: Piece) -> bool:
        constants = [self.found[name] for name in piece.constants]
        return any(self._explained(constant) < constant.array.size for constant in constants) and (
            not piece.node or not self._blocks_of(piece) & {*piece.blocks}
        )

    def _blocks_of(self, piece: Piece) -> set[Block]:
        return {block for name in piece.constants for block in self._blocks.get(name, set())}

    def _explained(self, constant: Constant) -> int:
        blocks = self._blocks.get(constant.name, set())
        return sum(block.rows * block.width for block in blocks)

    def _unsourced(self) -> list[Constant]:
        return [c for name, c in self.found.items() if name not in self._blocks]

    def _floats(self) -> list[Constant]:
        return [c for c in self._unsourced() if c.array.dtype.kind == "f" and c.array.size > 1]

    def _without_source(self) -> list[Unsourced]:
        sizes = {size for value in self.parameters.values() for size in value.shape}
        numbers = [(c, scales.off(c.array, sizes)) for c in self._unsourced()]
        return [
            *(Unsourced(c.name, c.shape, doubts.uneven(c.array)) for c in self._floats()),
            *(Unsourced(c.name, c.shape, wrong) for c, wrong in numbers if wrong),
        ]
