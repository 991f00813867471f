"""Recurrent nodes in forms that some runtimes ignore, refuse or run slowly."""

from __future__ import annotations

from collections.abc import Iterator

from harness.graphs.attributes import attribute
from harness.graphs.inference import Facts
from harness.graphs.recurrent import SEQUENCE_LENS
from harness.graphs.walk import input_at
from harness.linting.finding import Finding
from harness.placing.tables import highest_opset, lacking, stored, traits, versions_text


def sequence_lens(facts: Facts) -> Iterator[Finding]:
    """A recurrent node takes computed sequence_lens: some runtimes ignore them, some refuse."""
    for scope, node in facts.recurrent():
        lens = input_at(node, SEQUENCE_LENS)
        if lens and lens not in scope.constants:
            yield Finding(
                "sequence-lens",
                "warning",
                scope.label(node),
                "takes sequence_lens that are computed: onnx.reference and OpenVINO ignore them,"
                " tract refuses them",
                "validate in the runtime that it is deployed in",
            )


def recurrent_opset(facts: Facts) -> Iterator[Finding]:
    """A recurrent operator has no CUDA kernel at this opset in some stored ONNX Runtime."""
    without: dict[str, list[str]] = {}
    for kind in sorted({node.op_type for _, node in facts.recurrent()}):
        if tables := lacking(kind, facts.opset):
            without.setdefault(versions_text(tables), []).append(kind)
    for versions, kinds in without.items():
        yield Finding(
            "recurrent-opset",
            "warning",
            f"opset {facts.opset}",
            f"{' and '.join(kinds)} run on the CPU with the CUDA provider of ONNX Runtime"
            f" {versions}",
            f"export at opset {highest_opset(kinds)} or lower",
        )


def recurrent_on_cpu(facts: Facts) -> Iterator[Finding]:
    """A recurrent node has what no CUDA kernel of ONNX Runtime computes: it runs on the CPU."""
    for scope, node in facts.recurrent():
        fallen = [(table, table.fallen(node.op_type, traits(node))) for table in stored()]
        refusing = [table for table, refused in fallen if refused]
        if refusing:
            names = sorted({trait for _, refused in fallen for trait in refused})
            yield Finding(
                "recurrent-on-cpu",
                "warning",
                scope.label(node),
                f"has {', '.join(names)}: runs on the CPU with the CUDA provider of ONNX Runtime"
                f" {versions_text(refusing)}",
                "train without it, or deploy on the CPU",
            )


def recurrent_layout(facts: Facts) -> Iterator[Finding]:
    """A recurrent node has layout 1 (batch first), which ONNX Runtime refuses to load."""
    for scope, node in facts.recurrent():
        if attribute(node, "layout", 0) == 1:
            yield Finding(
                "recurrent-layout",
                "warning",
                scope.label(node),
                "has layout 1, which ONNX Runtime does not load",
                "use layout 0 and Transpose around it",
            )
