"""harness.registry and harness.runtimes: entry points add runtimes, and broken ones stay apart."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from harness import registry, runtimes
from harness.errors import LoadError

ROOT = Path(__file__).parents[2]


@pytest.fixture
def added(monkeypatch):
    def add(**targets):
        points = [metadata.EntryPoint(n, t, "harness.runtimes") for n, t in targets.items()]
        monkeypatch.setattr(metadata, "entry_points", lambda *, group: points)
        found = registry.extended("harness.runtimes", runtimes.OURS)
        monkeypatch.setattr(runtimes, "RUNTIMES", found)
        return found

    return add


def test_an_entry_point_adds_a_runtime_after_ours(added):
    found = added(theirs="tests.support.planted:CLEAN")
    assert list(found) == [*runtimes.OURS, "theirs"]
    assert runtimes.load("theirs").version() == "planted"
    assert runtimes.load("onnx-reference").check() is None


def test_a_name_of_ours_cannot_be_taken(added):
    assert added(**{"ort-cpu": "tests.support.planted:CLEAN"}) == runtimes.OURS


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("no_such_module:X", "cannot be imported: ModuleNotFoundError: No module named"),
        ("tests.support.planted:NONE", "cannot be imported: AttributeError: module"),
        ("tests.support.planted:right", r"is no runtime: it has no check\(\)"),
        ("not a target", "cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_broken_one_is_unavailable_with_the_reason(added, target, told):
    added(theirs=target)
    broken = runtimes.load("theirs")
    assert broken.version() == ""
    with pytest.raises(LoadError, match=told) as caught:
        broken.prepare("m.onnx")
    assert broken.check() == str(caught.value)
    assert broken.check().startswith(target)
    assert runtimes.load("onnx-reference").check() is None


def test_the_commands_know_what_an_installed_distribution_adds(tmp_path):
    (tmp_path / "theirs.py").write_text(
        "class R:\n"
        "    def check(self): return None\n"
        "    def version(self): return '4.2'\n"
        "    def prepare(self, path): raise ValueError\n"
    )
    about = tmp_path / "theirs-4.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 4.2\n")
    (about / "entry_points.txt").write_text(
        "[harness.runtimes]\nour-neighbour = theirs:R()\nneighbour = theirs:GOOD\nbroken = gone:X\n"
    )
    with (tmp_path / "theirs.py").open("a") as file:
        file.write("GOOD = R()\n")
    call = [sys.executable, "-m", "harness.list"]
    path = f"{ROOT}:{tmp_path}"
    done = subprocess.run(
        call, capture_output=True, text=True, env={"PYTHONPATH": path, "PATH": "/usr/bin:/bin"}
    )
    lines = {line.split()[0]: line for line in done.stdout.splitlines() if line.strip()}
    assert done.returncode == 0, done.stderr
    assert lines["neighbour"].split() == ["neighbour", "4.2"]
    assert "unavailable: gone:X cannot be imported: ModuleNotFoundError" in lines["broken"]
    assert "unavailable: theirs:R() cannot be imported" in lines["our-neighbour"]
    assert "onnx-reference" in lines
