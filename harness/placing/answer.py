"""The placement of one model file, at its own opset and at others."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import onnx
from msgspec import Struct

from harness.core.errors import UsageError, one_line
from harness.core.reading import MODEL_BYTES, check_file
from harness.core.temporary import temporary_folder
from harness.graphs import walk
from harness.graphs.interface import read_structure
from harness.placing.partition import PlacedNodes, Versions, partition
from harness.placing.sizes import OnSizes, on_sizes
from harness.placing.verdict import misplaced
from harness.typed_json import Size

SCHEMA: Final = 1


class NodePlaced(Struct, forbid_unknown_fields=True):
    provider: str
    op_type: str
    node: str


class PlacedAtOpset(Struct, forbid_unknown_fields=True):
    """Where every node goes, and why the model would not run on CUDA; empty where it would."""

    opset: Size
    verdict: str
    nodes_by_provider: dict[str, dict[str, Size]]
    nodes: list[NodePlaced]


class PlacementFile(Struct, forbid_unknown_fields=True):
    """Where the nodes of a file go by this ONNX Runtime, which is built for this CUDA."""

    schema: Literal[1]
    file: str
    onnxruntime: str
    cuda: str
    placements: list[PlacedAtOpset]


@dataclass(frozen=True)
class Answer:
    """Where the nodes of a model go at one opset."""

    opset: int
    placed: PlacedNodes
    sizes: OnSizes

    @property
    def verdict(self) -> str:
        """Why the model would not run on CUDA, in one line; empty where it would."""
        return misplaced(self.placed.nodes, self.sizes)

    def lines(self) -> list[str]:
        """Return the lines for a terminal: nodes, those off CUDA first, counts, the verdict."""
        nodes = self.placed.ordered(self.sizes)
        width = max((len(node.provider) for node in nodes), default=0)
        ops = max((len(node.op_type) for node in nodes), default=0)
        each = [f"{n.provider:<{width}}  {n.op_type:<{ops}}  {n.node}".rstrip() for n in nodes]
        counts = [
            f"{sum(ops.values())} on {provider}: {', '.join(f'{op} {n}' for op, n in ops.items())}"
            for provider, ops in self.placed.summary().items()
        ]
        return [*each, *counts, self.verdict or "all but shape arithmetic on CUDAExecutionProvider"]

    def entry(self) -> PlacedAtOpset:
        nodes = [NodePlaced(*node) for node in self.placed.ordered(self.sizes)]
        return PlacedAtOpset(self.opset, self.verdict, self.placed.summary(), nodes)


def opsets(texts: Iterable[str]) -> list[int]:
    """Return the opsets in ``N,…``, in their order; UsageError for what is none."""
    items = [item.strip() for text in texts for item in text.split(",")]
    newest = onnx.defs.onnx_opset_version()
    for item in items:
        if not (item.isdecimal() and 1 <= int(item) <= newest):
            raise UsageError(f"--opset {item!r}: expected opsets from 1 to {newest}, such as 18,22")
    return list(dict.fromkeys(map(int, items)))


def of_file(path: Path, opsets: Sequence[int] = ()) -> tuple[Versions, list[Answer]]:
    """Return where the nodes of a file go at each opset; by default at the file's own.

    UsageError where the file is no ONNX model, cannot be converted, or is refused by ONNX Runtime.
    """
    if path.exists():
        check_file(path, MODEL_BYTES)
    own = walk.opset(read_structure(path))
    opsets = opsets or [own]
    with temporary_folder() as folder:
        files = [path if n == own else folder / f"{n}.onnx" for n in opsets]
        for opset, file in zip(opsets, files, strict=True):
            if opset != own:
                onnx.save(_converted(path, opset), file)
        versions, placed = partition(files)
        sizes = [on_sizes(str(file)) for file in files]
    answers = [Answer(*parts) for parts in zip(opsets, placed, sizes, strict=True)]
    for answer in answers:
        if answer.placed.error:
            raise UsageError(f"{path} at opset {answer.opset}: {answer.placed.error}")
    return versions, answers


def _converted(path: Path, opset: int) -> onnx.ModelProto:
    try:
        return onnx.version_converter.convert_version(onnx.load(str(path)), opset)
    except Exception as error:  # the converter raises whatever its adapters do
        raise UsageError(
            f"{path} cannot be converted to opset {opset} ({one_line(error)}); export it at that"
            " opset instead"
        ) from None
