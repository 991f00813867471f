"""A small LSTM with a golden and a bundle of its own, made without a framework."""

from pathlib import Path

import numpy as np

from harness.core.schema import Case, ModelSpec, TensorSpec
from harness.exporting import bundle
from harness.goldens import store
from harness.goldens.form import WEIGHTS
from harness.goldens.formulas import evaluate
from harness.goldens.store import RecordedCase
from harness.oracle.runtime import ORACLE
from tests.support.small_graphs import FEATURES, UNITS, lstm

SPEC = ModelSpec(
    "tiny",
    "an LSTM",
    (TensorSpec("x", "float32", ("sequence", "batch", FEATURES)),),
    (
        TensorSpec("y", "float32", ("sequence", 1, "batch", UNITS)),
        TensorSpec("h", "float32", (1, "batch", UNITS)),
    ),
    "tiny",
)
CASES = ((1, 1), (7, 3), (7, 1), (40, 2))
PARTLY = 40


def make(folder: Path) -> tuple[Path, Path]:
    """The model's file and its golden's folder; of the longest case it holds some steps."""
    folder.mkdir(parents=True, exist_ok=True)
    model = lstm(folder / "tiny.onnx")
    session = ORACLE.prepare(model)
    recorded = []
    for number, (length, batch) in enumerate(CASES):
        case = Case({"sequence": length}, batch)
        formula = {"seed": number, "low": -1.0, "high": 1.0}
        x = evaluate(formula, (length, batch, FEATURES), "float32")
        outputs = dict(session.run({"x": x}))
        steps = np.array([0, 3, 17, 39]) if length == PARTLY else None
        if steps is not None:
            outputs["y"] = outputs["y"][steps]
        noise = {"y": 1e-7, "h": 1e-7}
        recorded.append(RecordedCase(case, {"x": formula}, {"x": x}, outputs, steps, noise))
    about = {"model": "tiny", "framework": "torch", "seed": 0, "float32_runs": 1}
    store.write(folder / "golden", SPEC, {}, recorded, about)
    (folder / "golden" / WEIGHTS).unlink()
    return Path(model), folder / "golden"


def make_bundle(folder: Path) -> Path:
    """A bundle of the model with its golden and a text beside."""
    model, source = make(folder / "made")
    about = {"key": {"opset": 18}, "example": {"batch": 5, "sequence": 7}, "exporter": "native"}
    bundle.write(folder / "bundle", model.read_bytes(), about, source)
    (folder / "bundle/MODEL.md").write_text("# tiny\n")
    return folder / "bundle"


def files(folder: Path) -> dict[str, bytes]:
    """Every file's bytes by its path."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}
