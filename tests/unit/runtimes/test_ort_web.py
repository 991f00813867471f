"""harness.runtimes.ort_web on small graphs."""

import sys
from pathlib import Path

import pytest

from harness.core import install
from harness.runtimes import ort_web
from harness.runtimes.ort_web import VERSION, WEB, WebRuntime
from tests.support import runtime_checks

ROOT = Path(__file__).parents[3]
HERE = WebRuntime(ROOT / "build/node")
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
    assert reason == (
        f"onnxruntime-web is not installed in {tmp_path}: npm install --prefix {tmp_path}"
        f" --ignore-scripts onnxruntime-web@{ort_web.VERSION}"
    )
    monkeypatch.setattr(ort_web.shutil, "which", lambda name: None)
    assert WEB.check() == "node is not installed: https://nodejs.org, version 20 or later"


def test_make_installs_the_version_that_is_told():
    words = set(ort_web.install_line(Path("build/node")).split())
    line = next(x for x in (ROOT / "Makefile").read_text().splitlines() if "npm install" in x)
    assert words <= set(line.split())


def installed(place):
    """Put what looks like the package into a folder, and return the folder."""
    about = place / "node_modules/onnxruntime-web/package.json"
    about.parent.mkdir(parents=True)
    about.write_text(f'{{"version": "{VERSION}"}}')
    return place


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Another current folder, which has the package; this code lies in no checkout."""
    installed(tmp_path / "current/build/node")
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setattr(ort_web.shutil, "which", lambda name: "/usr/bin/node")
    monkeypatch.setattr(install, "CHECKOUT", tmp_path / "site-packages")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.delenv("HARNESS_NODE", raising=False)
    return tmp_path


def test_nothing_runs_from_the_current_folder(elsewhere, monkeypatch):
    place = elsewhere / "cache/onnx-sequence-harness/node"
    assert WEB.folder == place
    assert WEB.check().startswith(f"onnxruntime-web is not installed in {place}: npm install --pre")
    monkeypatch.setattr(install, "CHECKOUT", ROOT)
    assert WEB.folder == ROOT / "build/node"
    monkeypatch.setenv("HARNESS_NODE", "build/node")
    assert WEB.folder == Path("build/node")
    assert (WEB.check(), WEB.version()) == (None, VERSION)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes of files")
def test_the_cache_is_used_where_no_other_user_can_write_to_it(elsewhere):
    place = installed(elsewhere / "cache/onnx-sequence-harness/node")
    place.parent.chmod(0o755)
    place.chmod(0o755)
    assert WEB.check() is None
    place.chmod(0o777)
    assert WEB.check() == f"{place} may be written by others; expected a folder of your own"
