"""The folder that an export of a user's own model writes, and the processes that it starts."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

import harness
from harness.core.errors import UnavailableError, UsageError
from harness.core.results import Status
from harness.processes.worker import LostError
from harness.recording import in_child
from harness.runtimes import RUNTIMES
from harness.shipping import user_model as owning

torch = pytest.importorskip("torch")
pytest.importorskip("keras")

from tests.support import own_torch  # noqa: E402
from tests.support.own_shipping import NETS, ROOT, SIZES  # noqa: E402
from tests.support.own_torch import FRAMES  # noqa: E402
from tests.support.processes import ends  # noqa: E402


def test_a_folder_of_something_else_is_not_touched(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists and is not a bundle"):
        harness.export(own_torch.net(), tmp_path, inputs=FRAMES)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("folder", ["notes.txt/new", "/"])
def test_a_folder_that_cannot_be_written_is_told_before_any_work(tmp_path, monkeypatch, folder):
    (tmp_path / "notes.txt").write_text("mine")
    monkeypatch.setattr(owning, "make", lambda *arguments: pytest.fail("worked first"))
    with pytest.raises(UsageError, match=r"cannot be written|is not a bundle"):
        harness.export(own_torch.net(), tmp_path / folder, inputs=FRAMES)


class Absent:
    """A runtime whose library is not installed."""

    def check(self):
        return "not installed"

    def version(self):
        return ""

    def prepare(self, path):
        raise NotImplementedError


ABSENT = Absent()


def test_a_bundle_stays_as_it_was_where_a_runtime_is_missing(ship, monkeypatch):
    monkeypatch.setitem(RUNTIMES, "absent", f"{__name__}:ABSENT")
    model = torch.nn.LSTM(4, 3, batch_first=True)
    frames = "input: float32[batch, time, 4]"
    folder, _ = ship(model, frames)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for named in ("absent", "ort-cpu,absent"):
        with pytest.raises(UnavailableError, match="runtime absent is required"):
            harness.export(model, folder, inputs=frames, runtimes=named)
    report = harness.export(model, folder, inputs=frames, lengths=SIZES, runtimes="abs*")
    assert [result.status for result in report.results] == [Status.UNAVAILABLE]
    assert before == {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    ship(model, frames, runtimes="ort-c*")


BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "tensorflow", "keras", "tf2onnx", "onnxscript"}:
            raise ImportError(f"{name} must not be imported here")
sys.meta_path.insert(0, Blocker())
import runpy
sys.argv = ["harness.validate", *sys.argv[1:]]
runpy.run_module("harness.validate", run_name="__main__")
"""


def test_a_bundle_validates_where_no_framework_is(shipped):
    judged = subprocess.run(
        [sys.executable, "-c", BLOCKER, str(shipped[0]), "--json"],
        capture_output=True,
        text=True,
        cwd=shipped[0].parent,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert judged.returncode == 0, judged.stderr
    assert json.loads(judged.stdout)["summary"]["pass"] == 1


def command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "harness.export", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        check=False,
    )


@pytest.mark.slow
def test_a_good_run_is_quiet_whatever_the_factory_prints(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    subject = f"{NETS}/own_torch.py:noisy"
    done = command(
        *(subject, "-o", "out", "--input", FRAMES, "--lengths", "1,4"),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "FACTORY" not in done.stderr
    assert len(done.stdout.splitlines()) == 2
    assert "FACTORY" not in done.stdout
    assert {p.name for p in (tmp_path / "out").iterdir()} == {
        "model.onnx",
        "manifest.json",
        "golden",
        "MODEL.md",
        "account.json",
    }


@pytest.mark.slow
@pytest.mark.parametrize(
    ("factory", "limit", "told"),
    [
        ("dies", None, "own_torch.py:dies: its process ended with signal SIGSEGV"),
        ("forks", 120.0, "own_torch.py:forks: its process ended with signal SIGSEGV"),
        ("slow", 2.0, "own_torch.py:slow: its process did not end within 2 s and was killed"),
        (
            "prints",
            None,
            "own_torch.py:prints: its process wrote over 16,777,216 bytes of output and was killed:"
            f" {'x' * 4096}",
        ),
    ],
)
def test_a_child_that_dies_or_takes_too_long(tmp_path, factory, limit, told):
    request = owning.Request(
        f"{NETS}/own_torch.py:{factory}", tmp_path / "out", FRAMES, timeout=limit
    )
    with pytest.raises(UsageError) as error:
        owning.ship(request, lambda result: None)
    assert str(error.value).endswith(told)
    assert not list(tmp_path.iterdir())


def test_a_model_of_ones_own_has_half_an_hour_unless_it_is_told(monkeypatch, tmp_path):
    limits = []

    def call(limit, *arguments, **options):
        limits.append(limit)
        raise LostError("ended", [])

    monkeypatch.setattr(in_child, "call_in_child", call)
    for timeout in (None, 5.0):
        request = owning.Request(
            f"{NETS}/own_torch.py:net", tmp_path / "out", FRAMES, timeout=timeout
        )
        with pytest.raises(UsageError):
            owning.ship(request, lambda result: None)
    assert [limit.time for limit in limits] == [1800.0, 5.0]


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
def test_no_child_is_left_of_an_export_that_was_killed(tmp_path):
    call = [sys.executable, "-m", "harness.export", f"{NETS}/own_torch.py:waits", "-o", "out"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    export = subprocess.Popen([*call, "--input", FRAMES], cwd=tmp_path, env=environment)
    pid = tmp_path / "waits.pid"
    while not (pid.exists() and pid.read_text()):
        assert export.poll() is None
        time.sleep(0.05)
    export.kill()
    export.wait()
    assert ends(int(pid.read_text()))
