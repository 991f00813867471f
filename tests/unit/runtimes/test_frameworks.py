"""The source frameworks as runtimes, their cells, and what they are given to run."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.commands.run import ended
from harness.core import install, selectors
from harness.core.errors import LoadError, NothingSelectedError, RunError
from harness.core.results import Cell, Status
from harness.exporting import bundle
from harness.goldens import store
from harness.runtimes import frameworks as framework
from harness.runtimes.frameworks import KERAS, KERAS_CUDA, TORCH, TORCH_CUDA
from harness.validate import main as validate
from harness.validation import pipeline
from harness.validation.selection import Selection
from tests.support import doubler, planted
from tests.support.jobs import judged as judged_job
from tests.support.jobs import ready

ROOT = Path(__file__).parents[3]
RUNTIMES = {"keras": KERAS, "torch": TORCH}
MODEL = "sequence_encoder"


@pytest.fixture(params=RUNTIMES, scope="module")
def name(request):
    if reason := RUNTIMES[request.param].check():
        pytest.skip(reason)
    return request.param


def test_a_twin_runs_here_without_its_framework_in_this_process(name, capfd):
    source = store.read(ROOT / "golden" / MODEL / name)
    loaded = name in sys.modules
    session = RUNTIMES[name].prepare(str(source.folder))
    for case in [case for case in source.cases if case.lengths["sequence"] in (1, 7, 33)]:
        golden_case = source.load(case)
        ((output, actual),) = session.run(golden_case.inputs)
        assert (output, actual.dtype) == ("code", np.float32)
        error = np.abs(actual - golden_case.outputs["code"]).max()
        assert 0 < error <= 4 * golden_case.noise_floor["code"]
    evidence = session.evidence()
    assert evidence["providers"] == [f"{'TensorFlow' if name == 'keras' else 'PyTorch'} on CPU"]
    assert (evidence["tf32"], evidence["nodes_by_provider"]) == (False, {})
    assert evidence["version"] == RUNTIMES[name].version() != ""
    with pytest.raises(RunError, match=r"^inputs given: none; the twin takes: tokens$"):
        session.run({})
    with pytest.raises(RunError, match=r"^\w+: [^\n]*$"):
        session.run({"tokens": np.ones((2, 3, 4, 5), np.int32)})
    assert (name in sys.modules) == loaded
    assert capfd.readouterr() == ("", "")


def test_what_is_no_golden_of_the_framework_is_a_load_error(name, tmp_path):
    other = "torch" if name == "keras" else "keras"
    with pytest.raises(LoadError, match=f"is a golden of {other}, not of {name}$"):
        RUNTIMES[name].prepare(str(ROOT / "golden" / MODEL / other))
    with pytest.raises(LoadError, match=r"^no golden at .*: manifest.json is missing$"):
        RUNTIMES[name].prepare(str(tmp_path))


@pytest.mark.parametrize(
    ("runtime", "versions", "reason"),
    [
        (TORCH, {}, f"torch is not installed: {install.line('torch')}"),
        (
            KERAS,
            {},
            f"keras and tensorflow are not installed: {install.line('keras')}",
        ),
        (
            KERAS,
            {"keras": "3"},
            f"tensorflow is not installed: {install.line('keras')}",
        ),
        (KERAS, {"keras": "3", "tensorflow-cpu": "2"}, None),
        (TORCH, {"torch": "2+cpu"}, None),
        (
            TORCH_CUDA,
            {"torch": "2+cpu"},
            "torch 2+cpu is built without CUDA: pip uninstall torch, then pip install torch",
        ),
        (
            KERAS_CUDA,
            {"keras": "3", "tensorflow-cpu": "2"},
            "tensorflow-cpu 2 is built without CUDA: pip uninstall tensorflow-cpu, then"
            " pip install 'tensorflow[and-cuda]'",
        ),
        (KERAS_CUDA, {"keras": "3", "tensorflow": "2"}, None),
        (TORCH_CUDA, {"torch": "2"}, None),
    ],
)
def test_what_is_missing_is_named(monkeypatch, runtime, versions, reason):
    monkeypatch.setattr(framework, "version_of", lambda name: versions.get(name, ""))
    monkeypatch.setattr(framework, "no_cuda_device", lambda: None)
    assert runtime.check() == reason


def test_without_a_device_cuda_is_unavailable(monkeypatch):
    monkeypatch.setattr(framework, "version_of", lambda name: "1")
    monkeypatch.setattr(framework, "no_cuda_device", lambda: "no CUDA device")
    assert TORCH_CUDA.check() == KERAS_CUDA.check() == "no CUDA device"
    assert TORCH.check() is None


def cells(exporters, runtimes, frameworks=("keras", "torch")):
    targets = {f"{e}/{f}" for e in exporters for f in frameworks}
    twins = {"torch": "torch", "torch-cuda": "torch", "keras": "keras"}
    models = {"m": ("keras", "torch")}
    selected = selectors.cells(
        models, frameworks, exporters, ["fp32", "int8"], runtimes, targets, None, twins
    )
    return [cell.id for cell in selected]


def test_a_framework_has_cells_of_its_own_models_beside_the_native_float32_export_alone():
    own = cells(["native", "other"], ["torch", "keras", "torch-cuda"])
    assert own == [
        "m/keras/native/fp32/keras",
        "m/torch/native/fp32/torch",
        "m/torch/native/fp32/torch-cuda",
    ]
    assert len(cells(["native", "other"], ["ort-cpu", "torch"])) == 2 * 2 * 2 + 1
    with pytest.raises(NothingSelectedError):
        cells(["native"], ["keras"], ["torch"])


def test_the_engine_gives_a_framework_the_golden_and_others_the_model(tmp_path):
    paths = []

    class Spy(planted.Runtime):
        def prepare(self, path):
            paths.append(path)
            return super().prepare(path)

    class Twin(Spy):
        framework = "keras"

    source = store.read(doubler.record(tmp_path / "golden"))
    (tmp_path / "m.onnx").write_bytes(doubler.graph().SerializeToString())
    for runtime in (Spy(), Twin()):
        cell = Cell("doubler", "keras", "native", "fp32", "x")
        result = judged_job(ready(source, tmp_path / "m.onnx", runtime, cell))
        assert result.status is Status.PASS
    assert paths == [str(tmp_path / "m.onnx"), str(source.folder)]


@pytest.fixture
def shipped(tmp_path):
    """A bundle with its golden, which has no weights, of the framework that the golden names."""
    source = doubler.record(tmp_path / "golden")
    about = {"key": {}, "example": {}, "exporter": "native", "variant": "fp32"}
    model = doubler.graph().SerializeToString()
    bundle.write(tmp_path / "bundle", model, about, source)
    return tmp_path / "bundle", store.read(source).framework


def judged(folder, capsys, *flags):
    call = [str(folder), "--json", "--report-dir", str(folder.parent / "report"), *flags]
    code = ended(validate, call)
    captured = capsys.readouterr()
    return code, json.loads(captured.out)["results"] if captured.out else captured.err


def test_a_bundle_without_weights_leaves_its_framework_unavailable(shipped, capsys, monkeypatch):
    folder, own = shipped
    monkeypatch.setattr(framework.FrameworkRuntime, "check", lambda self: None)
    _, results = judged(folder, capsys, "--runtime", f"{own},onnx-reference")
    by_runtime = {result["id"].rpartition("/")[2]: result for result in results}
    assert by_runtime["onnx-reference"]["status"] == "pass"
    assert by_runtime[own]["status"] == "unavailable"
    assert by_runtime[own]["reason"].endswith("has no weights to build the twin with")


def test_relations_are_not_tried_on_a_framework(shipped):
    folder, own = shipped
    selection = Selection(
        subjects=[str(folder)], runtimes=[own, "onnx-reference"], relations=["run-twice"]
    )
    jobs = pipeline.prepare(selection, lambda text: None).jobs
    (related,) = (job for job in jobs if job.cell.runtime == "onnx-reference")
    assert related.relations == ["run-twice"]
    assert "--relation" not in next(job.replay for job in jobs if job.cell.runtime == own)


def test_a_bundle_has_no_cell_of_another_framework(shipped, capsys):
    folder, own = shipped
    other = "torch" if own == "keras" else "keras"
    code, printed = judged(folder, capsys, "--runtime", other)
    assert code == 4
    assert f"--runtime {other} selects no cell of {folder}" in printed
