"""The oracle: a runtime that computes any ONNX graph in float64.

The model is widened (``widen``), its nodes are evaluated by onnx's reference evaluator with the
operators replaced that it gets wrong or computes in float32 (``evaluator``). Outputs that the
graph declares in float32 come back in float64. ``DECLARED`` evaluates the same graph in its own
types, so that the two differ by rounding alone.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from importlib.metadata import version as distribution_version
from typing import Any

import numpy as np

from harness.core.errors import LoadError, RunError, check_input_names, clipped, one_line
from harness.core.schema import Array, Arrays
from harness.core.tolerance import Row
from harness.graphs import walk

PROVIDER = "oracle"
OLDEST_OPSET = 13
OLDEST_CONVERTED = 7
"""Older ones have operators in another meaning, which onnx converts only in part."""


class OracleSession:
    """A model loaded in an evaluator."""

    def __init__(self, evaluator: Any, model: Any) -> None:
        self._evaluator = evaluator
        self._wide: bool = evaluator.wide
        self._outputs = [value.name for value in model.graph.output]
        self._inputs = {value.name: value.type for value in walk.inputs(model.graph)}
        self._ops = Counter(node.op_type for node in model.graph.node)

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        """Return one case's outputs; RunError where an input is not as declared or a node fails.

        LoadError where the oracle lacks a form of an operator that its inputs decide. In a widened
        model all floating outputs are float64.
        """
        from harness.oracle.feeds import contradiction
        from harness.oracle.widen import widen_value

        check_input_names(inputs, self._inputs)
        for name, value in inputs.items():
            if wrong := contradiction(self._inputs[name], value, self._wide):
                raise RunError(f"input {name} is {wrong}")
        try:
            with np.errstate(all="ignore"):
                feeds = {n: widen_value(v) if self._wide else v for n, v in inputs.items()}
                values = self._evaluator.run(None, feeds)
        except NotImplementedError as error:
            raise LoadError(clipped(str(error))) from error
        except Exception as error:
            raise RunError(one_line(error)) from error
        return list(zip(self._outputs, values, strict=True))

    def evidence(self) -> dict[str, Any]:
        """Return evidence such as ONNX Runtime's; nodes of nested graphs are not counted."""
        return {
            "providers": [PROVIDER],
            "nodes_by_provider": {PROVIDER: dict(sorted(self._ops.items()))},
            "precision": "float64" if self._wide else "declared",
            "tf32": False,
            "optimization": "none",
            "version": distribution_version("onnx"),
        }


@dataclass(frozen=True)
class OracleRuntime:
    """Needs onnx alone, a core dependency, and is always available.

    Where ``wide`` a model is widened to float64, else evaluated in the types that it declares.
    """

    wide: bool = True
    distributions = ("onnx",)
    row = Row(
        1e-12,
        "float64 throughout: relative to the output's scale, whatever the floor, and what"
        " attributes and derived constants lost in float32",
        True,
    )

    def check(self) -> str | None:
        return None

    def version(self) -> str:
        return distribution_version("onnx")

    def prepare(self, path: str) -> OracleSession:
        """Load the model file; LoadError where it cannot be read, or as ``open`` raises it."""
        import onnx

        try:
            model = onnx.load(path)
        except Exception as error:
            raise LoadError(one_line(error)) from error
        return self.open(model)

    def open(self, model: Any) -> OracleSession:
        """Load a copy of a ModelProto, converted to ``OLDEST_OPSET`` where it is older.

        LoadError where it has no outputs, cannot be converted, or an operator is unknown or would
        be evaluated in float32 though the model is widened.
        """
        from harness.oracle.evaluator import DeclaredEvaluator, Evaluator
        from harness.oracle.widen import widen

        if not model.graph.output:
            raise LoadError("it holds no graph with an output; expected an ONNX model")
        try:
            newer = _converted(model)
            evaluator = Evaluator(widen(newer)) if self.wide else DeclaredEvaluator(newer)
            return OracleSession(evaluator, model)
        except LoadError:
            raise
        except NotImplementedError as error:
            raise LoadError(clipped(str(error))) from error
        except Exception as error:
            raise LoadError(one_line(error)) from error


def _converted(model: Any) -> Any:
    """Return a model at ``OLDEST_OPSET`` or later: the evaluator gives operators that meaning.

    LoadError where onnx's converter cannot, as for nested graphs, which it leaves as they are.
    """
    from onnx import version_converter

    opset = walk.opsets(model).get("", OLDEST_OPSET)
    if opset >= OLDEST_OPSET:
        return model
    limit = f"opset {opset}; the oracle evaluates {OLDEST_OPSET} and later"
    if opset < OLDEST_CONVERTED or any(list(walk.bodies(node)) for node in model.graph.node):
        kinds = f"from {OLDEST_CONVERTED} on without Loop, Scan or If"
        raise LoadError(f"{limit}, of older ones those {kinds}")
    try:
        return version_converter.convert_version(model, OLDEST_OPSET)
    except Exception as error:
        raise LoadError(f"{limit}, and onnx cannot convert it: {one_line(error)}") from error


ORACLE = OracleRuntime()
DECLARED = OracleRuntime(wide=False)
