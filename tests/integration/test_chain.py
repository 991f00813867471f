"""record → export → validate on real models, each phase in its own process."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from harness.commands.options import exporters
from harness.core import expectations, selectors
from harness.exporters import EXPORTERS
from harness.exporters.variants import VARIANTS
from harness.exporting import bundle
from harness.goldens import store
from harness.recording import reference_model
from harness.runtimes import RUNTIMES
from harness.runtimes.ort import CPU
from harness.validation.pipeline import EXPECTATIONS
from reference_models import catalog

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GOLDENS = sorted(store.goldens(ROOT / "golden"))
BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "tensorflow", "keras", "tf2onnx"}:
            raise ImportError(f"{name} must not be imported here")
sys.meta_path.insert(0, Blocker())
"""


def call(*arguments, cwd=ROOT, blocked=False):
    start = [f"{BLOCKER}\nimport runpy, sys\nsys.argv = {list(arguments)!r}\n"]
    code = start[0] + f"runpy.run_module({arguments[0]!r}, run_name='__main__', alter_sys=False)"
    command = ["-c", code] if blocked else ["-m", *arguments]
    return subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, cwd=cwd, check=False
    )


def test_every_model_has_a_golden_of_each_of_its_twins():
    expected = {
        (name, framework) for name in catalog.MODELS for framework in catalog.load(name).frameworks
    }
    assert {(path.parent.name, path.name) for path in GOLDENS} == expected


@pytest.mark.parametrize("folder", GOLDENS, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_the_stored_golden_is_what_the_oracle_says(folder):
    assert reference_model.check(folder) <= reference_model.FLOAT64_AGREEMENT


@pytest.mark.parametrize("folder", GOLDENS, ids=lambda p: f"{p.parent.name}-{p.name}")
def test_the_stored_golden_is_of_a_model_that_learnt(folder):
    stored = store.read(folder)
    task = catalog.part(stored.spec, "data").TASK
    training = stored.manifest["training"]
    assert task.learnt(training["score"]) >= task.threshold >= 0.9
    assert stored.spec == catalog.load(stored.spec.name)
    assert stored.manifest["float64_relative_difference"] <= reference_model.FLOAT64_AGREEMENT


def test_every_expectation_belongs_to_a_cell():
    cells = selectors.cells(
        {name: catalog.load(name).frameworks for name in catalog.MODELS},
        ("keras", "torch"),
        exporters(),
        VARIANTS,
        RUNTIMES,
        EXPORTERS,
        None,
    )
    assert not expectations.unused(expectations.load(EXPECTATIONS), [cell.id for cell in cells])


def weights(folder):
    return {path: path.read_bytes() for path in folder.rglob("weights.*")}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder of its own with one model recorded and exported, as a user's would be."""
    folder = tmp_path_factory.mktemp("workspace")
    source = ROOT / "golden/sequence_autoencoder/torch"
    shutil.copytree(source, folder / "golden/sequence_autoencoder/torch")
    before = weights(folder)
    flags = ["--framework", "torch", "--reuse-weights", "-q"]
    recorded = call("harness.record", "sequence_encoder", *flags, cwd=folder)
    assert recorded.returncode == 0, recorded.stderr
    assert recorded.stderr == ""
    assert "score 1.0000" in recorded.stdout
    assert weights(folder) == before
    shipped = call(
        *("harness.export", "sequence_encoder", "-o", "bundle", "--framework", "torch"),
        *("--exporter", "torch-script"),
        cwd=folder,
    )
    assert shipped.returncode == 0, shipped.stdout + shipped.stderr
    return folder


@pytest.mark.xdist_group("workspace")
def test_record_export_validate(workspace):
    flags = ("--framework", "torch", "--check")
    checked = call("harness.record", "sequence_encoder", *flags, cwd=workspace)
    assert checked.returncode == 0
    manifest = json.loads((workspace / "bundle/manifest.json").read_text())
    assert manifest["validated"]["comparisons"] >= 40
    assert {p.name for p in (workspace / "bundle").iterdir()} == bundle.NAMES

    judged = call("harness.validate", "bundle", "--json", cwd=workspace, blocked=True)
    assert judged.returncode == 0, judged.stderr
    report = json.loads(judged.stdout)
    assert report["summary"]["pass"] == 1
    assert report["results"][0]["evidence"]["nodes_by_provider"]

    again = call(
        *("harness.validate", "sequence_encoder", "--framework", "torch"),
        *("--exporter", "torch-script", "-q"),
        cwd=workspace,
        blocked=True,
    )
    assert again.returncode == 0, again.stderr
    assert again.stderr == ""


@pytest.mark.xdist_group("workspace")
def test_an_altered_bundle_is_refused(workspace):
    shutil.copytree(workspace / "bundle", workspace / "altered")
    path = workspace / "altered" / bundle.MODEL
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    judged = call("harness.validate", "altered", cwd=workspace)
    assert judged.returncode == 2
    assert "was altered" in judged.stderr


@pytest.mark.xdist_group("workspace")
def test_a_model_that_does_not_conform_is_not_shipped(workspace):
    shutil.copytree(workspace / "bundle", workspace / "refused")
    shipped = call(
        *("harness.export", "sequence_autoencoder", "-o", "refused", "--framework", "torch"),
        *("--exporter", "torch-dynamo"),
        cwd=workspace,
    )
    assert shipped.returncode != 0, shipped.stdout
    assert not (workspace / "refused/model.onnx").exists()
    assert "nothing shipped" in shipped.stdout


@pytest.mark.xdist_group("workspace")
def test_every_step_can_be_derived_anew(workspace):
    flags = ("sequence_autoencoder", "--framework", "torch", "--lengths", "1..64", "--json")
    stored = call("harness.validate", *flags)
    derived = call("harness.validate", *flags, "--every-step")
    assert (stored.returncode, derived.returncode) == (0, 0), derived.stderr
    for result, whole in ((stored, False), (derived, True)):
        report = json.loads(result.stdout)
        outputs = [o for c in report["results"][0]["cases"] for o in c["outputs"]]
        assert all(o["steps_compared"] == o["steps"] for o in outputs) == whole


def test_a_sequence_in_pieces_gives_what_the_whole_gives():
    for framework in ("keras", "torch"):
        cell_folder = ROOT / "build/artifacts/streaming_classifier" / framework / "native/fp32"
        if not (cell_folder / bundle.MODEL).exists():
            flags = ["--framework", framework, "--lengths", "1", "-q"]
            assert call("harness.validate", "streaming_classifier", *flags).returncode == 0
        stored = store.read(ROOT / "golden/streaming_classifier" / framework)
        case = stored.load(next(c for c in stored.cases if c.lengths == {"sequence": 65}))
        session = CPU.prepare(str(cell_folder / bundle.MODEL))
        whole = dict(session.run(case.inputs))
        for cuts in ((1,), (64,), (13, 14, 40), tuple(range(1, 65))):
            state = {k: v for k, v in case.inputs.items() if k != "features"}
            for piece in np.split(case.inputs["features"], cuts, axis=1):
                outputs = dict(session.run({"features": piece, **state}))
                state = {f"{s}0_{n}": outputs[f"{s}_{n}"] for s in "hc" for n in "12"}
            for name, value in whole.items():
                allowed = 8 * max(case.noise_floor[name], np.spacing(np.abs(value).max()))
                assert np.abs(outputs[name] - value).max() <= allowed, (framework, cuts, name)
