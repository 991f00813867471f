"""What cannot be exported exactly ends in one line and exit code 2, with nothing written."""

import re
from pathlib import Path

import numpy as np
import pytest

from harness.commands.run import ended
from harness.core.schema import Case, ModelSpec, TensorSpec
from harness.export import main as export_command
from harness.exporting import cache
from harness.frameworks import FRAMEWORKS
from harness.goldens import store
from reference_models import catalog
from tests.support.keras_refused import REFUSED
from tests.support.refused import torch_twin

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
KERAS = (
    *("activation", "gate", "lambda-activation", "cell", "recurrence", "bidirectional"),
    *("float16", "training", "random", "variable", "control-flow", "unknown-op"),
)
WORDS = {f"refused_keras_{name}": REFUSED[name][1] for name in KERAS}
WORDS |= {f"refused_torch_{name}": words for name, (_, words) in torch_twin.MODELS.items()}


def specification(name):
    return ModelSpec(
        name=name,
        summary="",
        inputs=(TensorSpec("x", "float32", ("batch", "sequence", 5)),),
        outputs=(TensorSpec("y", "float32", ("batch", 3)),),
        weights=name,
        frameworks=(name.split("_")[1],),
    )


def adapt(patch):
    """The models are of one package, and keep the parameters of their own construction."""
    patch.setattr(catalog, "package", lambda name: "tests.support.refused")
    for name in FRAMEWORKS:
        patch.setitem(FRAMEWORKS, name, f"tests.support.refused.{name}_adapter")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A folder with a golden of each, all exported in one go: failures are kept as bundles are."""
    folder = tmp_path_factory.mktemp("refused")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PYTHONPATH", str(ROOT))
        jobs = []
        for name in WORDS:
            spec = specification(name)
            framework = spec.frameworks[0]
            case = Case({"sequence": 1}, 1)
            x, y = np.ones((1, 1, 5), np.float32), np.zeros((1, 3))
            recorded = store.RecordedCase(
                case, {"x": {"constant": 1}}, {"x": x}, {"y": y}, None, {"y": 0.0}
            )
            path = Path("golden") / name / framework
            store.write(path, spec, {}, [recorded], {"framework": framework})
            target = Path("build/artifacts") / name / framework / "native/fp32"
            where = str(path), str(target)
            jobs.append(cache.ExportJob(name, framework, "native", "fp32", 18, *where))
        adapt(patch)
        cache.ensure(jobs, lambda text: None)
    return folder


@pytest.mark.xdist_group("refused")
@pytest.mark.parametrize("name", WORDS)
def test_a_model_without_an_exact_form_is_refused(name, workspace, monkeypatch, capsys):
    monkeypatch.chdir(workspace)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    target = "tests.integration.test_refused:SPECIFICATION"
    monkeypatch.setitem(catalog.MODELS, name, target)
    monkeypatch.setitem(globals(), "SPECIFICATION", specification(name))
    adapt(monkeypatch)
    framework = name.split("_")[1]
    call = [name, "-o", f"out_{name}", "--framework", framework]
    assert ended(export_command, call) == 2
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1, printed.err
    assert re.search(WORDS[name], printed.err), printed.err
    assert printed.out == ""
    assert not Path(f"out_{name}").exists()
    assert not list(Path("build").rglob("model.onnx"))
