"""The reference evaluator of onnx: NumPy on the CPU, node by node, in the graph's own dtypes."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from harness.core.environment import version_of
from harness.core.errors import LoadError, RunError, check_input_names, one_line
from harness.core.loader import Loader
from harness.core.operator_errors import ONNX_REFERENCE
from harness.core.schema import Array, Arrays
from harness.core.tolerance import Row
from harness.graphs import walk
from harness.runtimes.settings import Settings

PROVIDER = "onnx.reference"


class ReferenceSession:
    """A model held by ``onnx.reference.ReferenceEvaluator``."""

    def __init__(self, evaluator: Any, model: Any) -> None:
        self._evaluator = evaluator
        self._outputs = [value.name for value in model.graph.output]
        self._inputs = [value.name for value in walk.inputs(model.graph)]
        self._ops = Counter(node.op_type for node in model.graph.node)

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        """Run one case; RunError where the input names differ or a node fails."""
        check_input_names(inputs, self._inputs)
        try:
            with np.errstate(all="ignore"):
                values = self._evaluator.run(None, inputs)
        except Exception as error:
            raise RunError(one_line(error)) from error
        scalars = np.generic, float, int
        arrays = [np.asarray(v) if isinstance(v, scalars) else v for v in values]
        return list(zip(self._outputs, arrays, strict=True))

    def evidence(self) -> dict[str, Any]:
        """Return evidence as ONNX Runtime's; nested graphs' nodes are not counted."""
        return {
            "providers": [PROVIDER],
            "nodes_by_provider": {PROVIDER: dict(sorted(self._ops.items()))},
            "tf32": False,
            "optimization": "none",
            "version": version_of("onnx"),
        }


class ReferenceRuntime:
    """onnx's reference evaluator, which is a core dependency and so always available."""

    row = Row(4.0, "float32 NumPy, operator by operator", operators=ONNX_REFERENCE)
    distributions = ("onnx",)

    def loader(self, settings: Settings) -> Loader:
        """Return the code that runs a model without the harness."""
        return Loader(
            "onnx",
            "from onnx.reference import ReferenceEvaluator",
            "session = ReferenceEvaluator(str(here / 'model.onnx'))",
            "session.run(None, inputs), session.output_names",
        )

    def check(self) -> str | None:
        return None

    def version(self) -> str:
        return version_of("onnx")

    def prepare(self, path: str) -> ReferenceSession:
        """Load the model file; LoadError where it cannot be read or has an unknown op."""
        import onnx
        from onnx.reference import ReferenceEvaluator

        try:
            model = onnx.load(path)
            return ReferenceSession(ReferenceEvaluator(model), model)
        except Exception as error:
            raise LoadError(one_line(error)) from error


REFERENCE = ReferenceRuntime()
