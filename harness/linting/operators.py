"""Operators: valid, in use, and part of ONNX."""

from __future__ import annotations

from collections.abc import Iterator

import onnx
from google.protobuf.message import Error as ProtobufError  # type: ignore[import-untyped]

from harness.core.errors import clipped
from harness.graphs import interface
from harness.graphs.attributes import schema
from harness.graphs.inference import Facts
from harness.graphs.walk import opsets
from harness.linting.finding import Finding

STANDARD = ("", "ai.onnx", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training")


def invalid_onnx(facts: Facts) -> Iterator[Finding]:
    """ONNX's own checker refuses the model, or does not know its opset."""
    newest = onnx.defs.onnx_opset_version()
    if facts.opset > newest:
        problem = f"opset {facts.opset} is newer than this onnx's {newest}"
        remedy = "export at an older opset, or update onnx"
        yield Finding("invalid-onnx", "error", "model", problem, remedy)
        return
    try:
        taken = interface.standard(facts.model)
        by_path = facts.path and taken is facts.model
        onnx.checker.check_model(str(facts.path) if by_path else taken)
    except (onnx.checker.ValidationError, ProtobufError, ValueError, RuntimeError) as error:
        lines = filter(None, map(str.strip, str(error).splitlines()))
        message = next(lines, type(error).__name__)
        remedy = "mend what the checker names"
        yield Finding("invalid-onnx", "error", "model", clipped(message), remedy)


def deprecated_op(facts: Facts) -> Iterator[Finding]:
    """An operator is deprecated in the opset that the model imports: runtimes refuse it."""
    versions = opsets(facts.model)
    for scope, node in facts.nodes():
        operator = schema(node, versions)
        if operator is not None and operator.deprecated:
            yield Finding(
                "deprecated-op",
                "error",
                scope.label(node),
                f"{node.op_type} is deprecated since opset {operator.since_version}",
                "export with its successor, or at an older opset",
            )


def custom_op(facts: Facts) -> Iterator[Finding]:
    """An operator is not ONNX's: only runtimes that know its domain run it."""
    local = {(function.domain, function.name) for function in facts.model.functions}
    reported = set()
    for scope, node in facts.nodes():
        kind = (node.domain, node.op_type)
        if node.domain in STANDARD or kind in local or kind in reported:
            continue
        reported.add(kind)
        problem = f"{node.domain}.{node.op_type} is not an ONNX operator"
        remedy = "export with ONNX's operators, or deploy only where the domain is known"
        yield Finding("custom-op", "warning", scope.label(node), problem, remedy)
