"""harness.runtimes.ort_web on small graphs."""

from pathlib import Path

import pytest

from harness.runtimes import ort_web
from harness.runtimes.ort_web import WEB, WebRuntime
from tests.support import runtime_checks

ROOT = Path(__file__).parents[3]
HERE = WebRuntime(ROOT / ort_web.FOLDER)
needs_web = pytest.mark.skipif(HERE.check() is not None, reason=f"{HERE.check()}")


@needs_web
@pytest.mark.parametrize("check", runtime_checks.CHECKS, ids=lambda check: check.__name__)
def test_it(check, tmp_path, capfd):
    check(HERE, tmp_path)
    assert capfd.readouterr() == ("", "")


@needs_web
def test_int64_has_64_bits(tmp_path):
    assert runtime_checks.int64_beyond_32_bits(HERE, tmp_path) == 2**41


@needs_web
def test_evidence(tmp_path):
    evidence = runtime_checks.has_the_evidence_of_a_report(HERE, tmp_path)
    assert evidence["providers"] == ["wasm"]
    assert evidence["nodes_by_provider"] == {"wasm": {"Add": 2, "Neg": 1}}
    assert (evidence["threads"], evidence["optimization"]) == (1, "all")
    assert evidence["version"] == ort_web.VERSION


def test_what_is_missing_and_what_installs_it_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(ort_web.shutil, "which", lambda name: "/usr/bin/node")
    reason = WebRuntime(tmp_path).check()
    assert reason.startswith(f"onnxruntime-web is not installed in {tmp_path}: make web, or npm")
    monkeypatch.setattr(ort_web.shutil, "which", lambda name: None)
    assert WEB.check() == "node is not installed: https://nodejs.org, version 20 or later"


def test_make_installs_the_version_that_is_told():
    words = set(ort_web.INSTALL.split())
    line = next(x for x in (ROOT / "Makefile").read_text().splitlines() if "npm install" in x)
    assert words <= set(line.split())
