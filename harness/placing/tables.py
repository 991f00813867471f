"""Which operators have CUDA kernels, by version of ONNX Runtime, as its partitioner answered.

``ci/placement_tables.py`` writes the files in ``kernels/``, from models of one node: one for all
versions that answer alike, named after the oldest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import onnx

from harness.core.reading import read_json
from harness.graphs.attributes import attributes
from harness.graphs.recurrent import RECURRENT, SEQUENCE_LENS
from harness.graphs.walk import MAIN, nodes, opset

FOLDER = Path(__file__).with_name("kernels")


@dataclass(frozen=True)
class Table:
    """The answers of one ONNX Runtime.

    ``kernels`` holds, by operator and by the opset of its definition, whether a node of each type
    goes to CUDA; None where no such node could be made. ``forms`` holds, by recurrent operator,
    whether a node with one trait of ``traits`` does, at an opset with a kernel.
    """

    onnxruntime: str
    cuda: str
    kernels: Mapping[str, Mapping[int, Mapping[str, bool] | None]]
    forms: Mapping[str, Mapping[str, bool]]

    def __str__(self) -> str:
        return f"{self.onnxruntime} (CUDA {self.cuda.partition('.')[0]})"

    def kernel(self, op_type: str, opset: int) -> Mapping[str, bool]:
        """Return whether a node goes to CUDA, by its first input's type; empty where unknown."""
        since = [first for first in self.kernels.get(op_type, {}) if first <= opset]
        return (self.kernels[op_type][max(since)] or {}) if since else {}

    def on_cuda(self, op_type: str, opset: int) -> bool | None:
        """Return whether a node of any type goes to CUDA; None where that differs or is unknown."""
        answers = set(self.kernel(op_type, opset).values())
        return answers.pop() if len(answers) == 1 else None

    def fallen(self, op_type: str, traits: Iterable[str]) -> list[str]:
        """Return those traits of a recurrent node that put it on the CPU."""
        forms = self.forms.get(op_type, {})
        return [trait for trait in traits if forms.get(trait) is False]

    def predicted(self, node: Any, opset: int) -> bool | None:
        """Return whether a ``NodeProto`` of ONNX's operators goes to CUDA; None where unknown."""
        if node.op_type not in RECURRENT:
            return self.on_cuda(node.op_type, opset)
        if self.fallen(node.op_type, traits(node)):
            return False
        return self.kernel(node.op_type, opset).get("float32")


@cache
def stored() -> tuple[Table, ...]:
    """Return every stored table, oldest version first."""
    tables = [table for path in FOLDER.glob("*.json") for table in _read(path)]
    return tuple(sorted(tables, key=lambda table: _numbers(table.onnxruntime)))


def nearest(version: str) -> Table | None:
    """Return the table of an ONNX Runtime, or of the nearest patch release of its minor version."""
    same = [t for t in stored() if _numbers(t.onnxruntime)[:2] == _numbers(version)[:2]]
    return next((t for t in same if t.onnxruntime == version), same[-1] if same else None)


def lacking(op_type: str, opset: int) -> list[Table]:
    """Return the tables of the ONNX Runtimes without a CUDA kernel of float32 for an operator."""
    return [table for table in stored() if table.kernel(op_type, opset).get("float32") is False]


def highest_opset(op_types: Sequence[str]) -> int:
    """Return the highest opset at which every stored ONNX Runtime has all these CUDA kernels."""
    first = min(
        since
        for op_type in op_types
        for table in stored()
        for since, answers in table.kernels[op_type].items()
        if (answers or {}).get("float32") is False
    )
    return first - 1


def versions_text(tables: Sequence[Table]) -> str:
    """Return versions for a sentence; those that follow one another as a range."""
    places = [stored().index(table) for table in tables]
    if len(tables) > 2 and places == list(range(places[0], places[-1] + 1)):
        return f"{tables[0]} to {tables[-1]}"
    return ", ".join(map(str, tables))


def predictions(path: str, table: Table) -> dict[tuple[str, str], bool]:
    """Return whether a named node goes to CUDA, by operator and name, where the table has it."""
    model = onnx.load(path, load_external_data=False)
    own = opset(model)
    on_cuda = {}
    for node in nodes(model.graph):
        expected = table.predicted(node, own) if node.domain in MAIN else None
        if node.name and expected is not None:
            on_cuda[node.op_type, node.name] = expected
    return on_cuda


def traits(node: Any) -> Iterator[str]:
    """Yield what a recurrent ``NodeProto`` has beside its defaults, and its direction."""
    present, operator = attributes(node), RECURRENT[node.op_type]
    yield f"direction={present.get('direction', 'forward')}"
    optional = zip(node.input, operator.inputs, strict=False)
    yield from (role for name, role in [*optional][SEQUENCE_LENS:] if name)
    yield from (name for name in ("clip", "activation_alpha", "activation_beta") if name in present)
    yield from (f"{name}=1" for name in ("layout", "input_forget") if present.get(name, 0))
    if node.op_type == "GRU":
        yield f"linear_before_reset={present.get('linear_before_reset', 0)}"
    activations = {name.lower() for name in present.get("activations", ())}
    if activations - {name.lower() for name in operator.activations}:
        names = ",".join(sorted(activations)) if node.op_type == "RNN" else "other"
        yield f"activations={names}"


def _read(path: Path) -> list[Table]:
    table = read_json(path)
    kernels = {
        op_type: {int(since): answers for since, answers in versions.items()}
        for op_type, versions in table["kernels"].items()
    }
    versions = table["versions"].items()
    return [Table(version, cuda, kernels, table["forms"]) for version, cuda in versions]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())
