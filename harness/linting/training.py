"""Nodes that train, and nodes that draw random numbers."""

from __future__ import annotations

from collections.abc import Iterator

from onnx import NodeProto

from harness.graphs.attributes import attribute
from harness.graphs.inference import Facts, Scope
from harness.graphs.walk import MAIN, input_at
from harness.linting.finding import Finding, Severity

TRAINING_DOMAINS = {"ai.onnx.training", "ai.onnx.preview.training"}
LOSSES = {"SoftmaxCrossEntropyLoss", "NegativeLogLikelihoodLoss"}
RANDOM = {"Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike"}
RANDOM |= {"RandomUniform", "RandomUniformLike"}
EVAL = "export the model in inference mode"


def training_node(facts: Facts) -> Iterator[Finding]:
    """A node trains: Dropout or BatchNormalization in training mode, a loss, a gradient."""
    for scope, node in facts.nodes():
        if (verdict := _trains(facts, scope, node)) is not None:
            severity, problem = verdict
            yield Finding("training-node", severity, scope.label(node), problem, EVAL)


def random_node(facts: Facts) -> Iterator[Finding]:
    """A node draws random numbers: two runs differ."""
    for scope, node in facts.nodes():
        if node.op_type in RANDOM and node.domain in MAIN:
            found = "draws random numbers: two runs on the same inputs differ"
            remedy = "leave sampling to the caller, or give the noise as an input"
            yield Finding("random-node", "warning", scope.label(node), found, remedy)


def _trains(facts: Facts, scope: Scope, node: NodeProto) -> tuple[Severity, str] | None:
    if node.domain in TRAINING_DOMAINS:
        return "error", f"is of the training domain {node.domain}"
    if node.domain not in MAIN:
        return None
    if node.op_type in LOSSES:
        return "warning", "computes a loss"
    if node.op_type == "Dropout":
        return _dropout(facts, scope, node)
    if node.op_type == "BatchNormalization":
        mode = attribute(node, "training_mode", 0)
        if mode == 1 or (facts.opset < 14 and len(node.output) > 1):
            return "error", "normalizes with the batch at hand and updates its statistics"
    return None


def _dropout(facts: Facts, scope: Scope, node: NodeProto) -> tuple[Severity, str] | None:
    if facts.opset < 7:
        trains = attribute(node, "is_test", 0) == 0
        return ("error", "has is_test 0: it drops at random") if trains else None
    mode = input_at(node, 2)
    if not mode:
        return None
    constant = scope.array(mode)
    if constant is None:
        return "warning", f"drops at random where {mode!r} is true"
    return ("error", "has training_mode true: it drops at random") if constant.any() else None
