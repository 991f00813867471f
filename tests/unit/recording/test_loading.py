"""What a subject may import: what lies beside it, and nothing else of the current folder."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import sys
from harness.recording import loading
from harness.subjects.resolve import EXPORTABLE, resolve
before = list(sys.path)
loading.user_model = lambda model, text, weights, again: (model, again())
print(loading.load(resolve(sys.argv[1], EXPORTABLE), None), sys.path == before)
try:
    import never
except ModuleNotFoundError:
    print("no more")
import json, tomllib, numpy, onnx
print(onnx.__name__, numpy.__name__)
"""
OWN = "import beside_it, json\nimport numpy as np\n\ndef make():\n    import late\n"
OWN += "    return np.__name__, json.__name__, beside_it.__name__, late.__name__\n"


@pytest.fixture
def here(tmp_path):
    """A folder with a model, what it imports, and files of the names of installed modules."""
    (tmp_path / "part").mkdir()
    for name in ("numpy", "torch", "json", "onnx", "tomllib", "numpy_of_user"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('hidden')\n")
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "part/own.py").write_text(OWN)
    (tmp_path / "onnx.py").write_text("def make():\n    return 'of the user'\n")
    for name in ("beside_it", "late", "never"):
        (tmp_path / f"{name}.py").write_text("")
    return tmp_path


def load(here, subject):
    """Load a subject in a new process whose path has the current folder nowhere."""
    command = [sys.executable, "-P", "-c", PROGRAM, subject]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    result = subprocess.run(
        command, cwd=here, env=environment, capture_output=True, text=True, check=False
    )
    return result.stdout.splitlines(), result.stderr


@pytest.mark.parametrize("subject", ["own:make", "part.own:make"])
def test_a_module_in_the_current_folder_hides_no_installed_one(here, subject):
    lines, errors = load(here, subject)
    values = ("numpy", "json", "beside_it", "late")
    assert lines == [f"({values}, {values}) True", "no more", "onnx numpy"], errors


def test_a_file_hides_installed_modules_from_itself_alone(here):
    for name in ("numpy", "json"):
        (here / f"{name}.py").unlink()
    lines, errors = load(here, "own.py:make")
    values = ("numpy", "json", "beside_it", "late")
    assert lines == [f"({values}, {values}) True", "no more", "onnx numpy"], errors


def test_a_file_with_the_name_of_an_installed_module_does_not_take_its_place(here):
    lines, errors = load(here, "onnx.py:make")
    assert lines == ["('of the user', 'of the user') True", "no more", "onnx numpy"], errors


def test_a_module_that_is_nowhere_is_told(here):
    lines, errors = load(here, "nowhere:make")
    assert lines == []
    assert "nowhere cannot be imported: ModuleNotFoundError: No module named 'nowhere'" in errors


def test_a_keras_model_on_another_backend_is_told_what_it_runs_on(tmp_path, monkeypatch):
    """On torch it is a module of PyTorch, too."""
    for name in ("keras", "tensorflow", "torch"):
        pytest.importorskip(name)
    (tmp_path / "own.py").write_text(
        "import os\nos.environ['KERAS_BACKEND'] = 'torch'\nimport keras\n\ndef make():\n"
        "    return keras.Sequential([keras.Input((None, 2)), keras.layers.Dense(1)])\n"
    )
    command = [sys.executable, "-m", "harness.export", "own.py:make", "-o", "bundle"]
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 2
    assert "Keras runs on torch; expected tensorflow: set KERAS_BACKEND=tensorflow" in result.stderr
