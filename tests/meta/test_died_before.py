"""A cell that took this process with it runs in a child from then on, until it ends there."""

import json
import os
import signal
import subprocess
import sys

import onnx
import pytest

from tests.support import doubler


@pytest.fixture
def judged(tmp_path):
    """Judge ``bad.onnx``, then ``good.onnx``, on a runtime called ``ort-cpu``, as a program."""
    folder = doubler.record(tmp_path / "golden")
    for name in ("bad.onnx", "good.onnx"):
        onnx.save(doubler.graph(), tmp_path / name)
    places = ["--artifacts", str(tmp_path / "artifacts"), "--report-dir", str(tmp_path / "report")]
    files = [str(tmp_path / "bad.onnx"), str(tmp_path / "good.onnx"), "--golden", str(folder)]

    call = [*files, *places, "--runtime", "ort-cpu", "--no-limit", "--json"]

    def run(deed, *flags):
        done = subprocess.run(
            [sys.executable, "-m", "tests.support.planted_crashes", *call, *flags],
            env={**os.environ, "HARNESS_TEST_ORT_CPU": deed},
            capture_output=True,
            text=True,
            check=False,
        )
        results = json.loads(done.stdout)["results"] if done.stdout else []
        return done.returncode, [
            (result["status"], result["evidence"].get("died_before", False)) for result in results
        ]

    return run


@pytest.mark.slow
@pytest.mark.parametrize(
    ("deed", "died"), [("segfaults", signal.SIGSEGV), ("killed", signal.SIGKILL)]
)
def test_a_cell_that_took_the_process_with_it_is_isolated_until_it_ends(judged, deed, died):
    assert judged(deed) == (-died, [])
    assert judged(deed) == (1, [("error", True), ("pass", False)])
    assert judged(deed) == (1, [("error", True), ("pass", False)])
    assert judged(deed, "--no-isolate") == (-died, [])
    assert judged("clean") == (0, [("pass", True), ("pass", False)])
    assert judged("clean") == (0, [("pass", False), ("pass", False)])
