"""Axes and shapes that a file declares, against those that its graph gives."""

from __future__ import annotations

import re
from collections.abc import Iterator

from harness.graphs.inference import Dims, Facts, dims_of
from harness.linting.finding import Finding, Severity

MACHINE = re.compile(
    r"unk__\d+|[sui]\d+|dynamic_axes_\d+|dim_?\d+|unknown.*|.*_dim_\d+|None|-1|\?", re.IGNORECASE
)


def unnamed_axis(facts: Facts) -> Iterator[Finding]:
    """An axis of an input or output has no name, or one that an exporter made up."""
    for kind, values in (("input", facts.graph.input), ("output", facts.graph.output)):
        for value in values:
            for number, dim in enumerate(dims_of(value.type) or ()):
                if dim is None or (isinstance(dim, str) and MACHINE.fullmatch(dim)):
                    yield Finding(
                        "unnamed-axis",
                        "warning",
                        f"{kind} {value.name!r} axis {number}",
                        f"is named {dim!r}" if dim else "has no name",
                        "name it in the export, such as 'batch' or 'sequence'",
                    )


def shape_contradiction(facts: Facts) -> Iterator[Finding]:
    """A declared shape is not what shape inference finds from the inputs."""
    if facts.refused:
        yield Finding(
            "shape-contradiction",
            "error",
            "graph",
            f"shapes cannot be inferred: {facts.refused}",
            "mend the node that it names",
        )
    values = [("output", value) for value in facts.graph.output]
    values += [("tensor", value) for value in facts.graph.value_info]
    for kind, value in values:
        declared, inferred = dims_of(value.type), facts.main.dims(value.name)
        if declared is None or inferred is None:
            continue
        for severity, place, problem in _differences(facts, kind, value.name, declared, inferred):
            remedy = "declare what the graph gives, or mend the graph"
            yield Finding("shape-contradiction", severity, place, problem, remedy)


def _differences(
    facts: Facts, kind: str, name: str, declared: Dims, inferred: Dims
) -> Iterator[tuple[Severity, str, str]]:
    where = f"{kind} {name!r}"
    if len(declared) != len(inferred):
        yield "error", where, f"declares {list(declared)}, the graph gives {list(inferred)}"
        return
    proven: Severity = "error" if facts.example and kind == "output" else "warning"
    for number, (stated, actual) in enumerate(zip(declared, inferred, strict=True)):
        severity: Severity | None = None
        if isinstance(stated, int) and isinstance(actual, int) and stated != actual:
            severity = "error"
        elif isinstance(stated, int) and actual in facts.axes:
            severity = proven
        elif isinstance(stated, str) and isinstance(actual, int):
            baked = actual in facts.example.values()
            severity = "warning" if kind == "output" and not baked else None
        elif {stated, actual} <= facts.axes and stated != actual:
            severity = "warning"
        if severity is not None:
            yield (
                severity,
                f"{where} axis {number}",
                f"declares {stated!r}, the graph gives {actual!r}",
            )
