"""What the plugin adds besides its model.

``plain`` is ONNX Runtime without optimisations, ``stamped`` an exporter that signs what it exports,
``worst`` a report with a line for each cell, the worst first.
"""

from pathlib import Path
from typing import Any

import onnxruntime as ort

from harness.core.errors import LoadError, RunError, one_line
from harness.core.results import Report
from harness.core.schema import Array, Arrays, ModelSpec


class Session:
    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._names = [output.name for output in session.get_outputs()]

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        try:
            return list(zip(self._names, self._session.run(None, inputs), strict=True))
        except Exception as error:
            raise RunError(one_line(error)) from error

    def evidence(self) -> dict[str, Any]:
        providers = self._session.get_providers()
        return {"providers": providers, "optimization": "none", "version": ort.__version__}


class Plain:
    def check(self) -> str | None:
        return None

    def version(self) -> str:
        return str(ort.__version__)

    def prepare(self, path: str) -> Session:
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        try:
            return Session(ort.InferenceSession(path, options, ["CPUExecutionProvider"]))
        except Exception as error:
            raise LoadError(one_line(error)) from error


PLAIN = Plain()


def export_stamped(model: Any, spec: ModelSpec, example: Arrays, opset: int) -> Any:
    """Export natively, with another name of the producer."""
    from harness.exporters.torch.native import export

    exported = export(model, spec, example, opset)
    exported.producer_name = "echo-models"
    return exported


def write_worst(report: Report, folder: Path) -> None:
    """Write ``worst.txt``: the largest error over its tolerance, status and id of every cell."""
    worst = [
        (max((o.ratio for case in result.cases for o in case.outputs), default=0.0), result)
        for result in report.results
    ]
    ranked = sorted(worst, key=lambda pair: -pair[0])
    lines = [f"{ratio:.3f} {result.status} {result.cell.id}\n" for ratio, result in ranked]
    (folder / "worst.txt").write_text("".join(lines))
