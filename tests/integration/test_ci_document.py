"""docs/ci.md: its jobs are run here, as written, on small bundles and a small selection."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.core import expectations
from harness.exporting import bundle
from harness.runtimes import load
from harness.testing import cells
from tests.support import doubler

pytestmark = pytest.mark.slow

assert cells, "loaded here: pytester takes back what its runs import"
pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/ci.md").read_text()
GITHUB, GITLAB = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
SHARDS, PYTEST = (
    [line.removeprefix("$ ") for line in block.splitlines()]
    for block in re.findall(r"^```console\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
)
SELECTION = "sequence_encoder sequence_decoder --framework torch --runtime ort-cpu --lengths 1..2"
COMMAND = re.compile(
    r'python -m (harness\.(validate|merge)|pip install "\$HARNESS(\[[a-z,]+\])?"$)'
)
RUNTIMES = ("ort-cpu", "openvino")


def jobs(text):
    """The commands of each job: a step's ``run``, or an item under ``script``."""
    assert "\t" not in text
    scripts, job, script = {}, "", False
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if match := re.fullmatch(r"( {2})?(validate|merge):", line):
            job = match[2]
        command = re.fullmatch(r"- run: (.*)", line.strip())
        if script and indent == 4 and line.strip().startswith("- "):
            command = re.fullmatch(r"- (.*)", line.strip())
        script = line.strip() == "script:" or (script and indent == 4)
        if command:
            scripts.setdefault(job, []).append(command[1])
    return scripts


@pytest.fixture
def run(tmp_path):
    """Runs a command of the document by the shell, in a folder of its own."""
    here = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    here["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def shell(command, **variables):
        environment = {**os.environ, **here, **variables}
        options = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
        return subprocess.run(["bash", "-c", command], check=False, **options)

    return shell


@pytest.fixture
def bundles(tmp_path):
    """A user's repository: two bundles, and no golden of ours."""
    for name in ("one", "two"):
        folder = doubler.record(tmp_path / f"golden-{name}", name)
        about = {"key": {}, "example": {"batch": 2, "sequence": 5}}
        about |= {"exporter": "native", "variant": "fp32"}
        model = doubler.graph().SerializeToString()
        bundle.write(tmp_path / "bundles" / name, model, about, folder)


@pytest.mark.parametrize("text", [GITHUB, GITLAB], ids=["github", "gitlab"])
def test_jobs_call_our_commands_alone(text):
    assert list(jobs(text)) == ["validate", "merge"]
    for commands in jobs(text).values():
        assert len(commands) == 2
        assert all(COMMAND.match(command) for command in commands), commands
    for name in ("HARNESS: wheels/", "BUNDLES: bundles/*"):
        assert sum(name in line for line in text.splitlines()) == 1
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (extras_asked_for,) = set(re.findall(r"\$HARNESS\[([a-z,]+)\]", text))
    assert set(extras_asked_for.split(",")) <= set(extras["optional-dependencies"])


def test_both_systems_are_given_the_same_commands():
    assert jobs(GITHUB.replace("${{ matrix.runtime }}", "$RUNTIME")) == jobs(GITLAB)
    assert f"runtime: [{', '.join(RUNTIMES)}]" in GITHUB
    assert f"RUNTIME: [{', '.join(RUNTIMES)}]" in GITLAB


@pytest.mark.skipif(load("openvino").check() is not None, reason="openvino is not installed")
@pytest.mark.usefixtures("bundles")
def test_bundles_are_judged_in_every_runtime_and_merged_and_a_lost_report_is_noticed(run, tmp_path):
    (_, validate), (_, merge) = jobs(GITLAB).values()
    for name in RUNTIMES:
        done = run(validate, RUNTIME=name, BUNDLES="bundles/*")
        assert done.returncode == 0, done.stdout + done.stderr
    done = run(merge)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "reports/merged/report.json").read_text())
    ids = {f"{model}/torch/native/fp32/{name}" for model in ("one", "two") for name in RUNTIMES}
    assert {result["id"] for result in report["results"]} == ids
    assert {result["status"] for result in report["results"]} == {"pass"}
    path = tmp_path / re.search(r"junit: (.*)", GITLAB)[1]
    assert ElementTree.parse(path).getroot().get("tests") == "4"
    shutil.rmtree(tmp_path / "reports/merged")
    shutil.rmtree(tmp_path / "reports/openvino")
    done = run(merge)
    assert done.returncode == 2
    assert "reports/openvino/report.json" in done.stderr


def test_the_expectation_is_one(tmp_path):
    (row,) = re.findall(r"^```toml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    (tmp_path / "own.toml").write_text(row)
    (expected,) = expectations.load(tmp_path / "own.toml")
    assert expected.matches("tagger/torch/native/fp32/openvino")


def test_shards_are_judged_and_merged_and_a_lost_one_is_noticed(run, tmp_path):
    (tmp_path / "golden").symlink_to(ROOT / "golden")
    (tmp_path / "build").mkdir()
    (ROOT / "build/artifacts").mkdir(parents=True, exist_ok=True)
    (tmp_path / "build/artifacts").symlink_to(ROOT / "build/artifacts")
    *shards, merge = SHARDS
    assert len(shards) == 2
    for command in shards:
        assert "all --runtime ort-cpu" in command
        done = run(command.replace("all --runtime ort-cpu", SELECTION))
        assert done.returncode == 0, done.stdout + done.stderr
    done = run(merge)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "reports/merged/report.json").read_text())
    assert [result["status"] for result in report["results"]] == ["pass"] * 2
    assert len(report["environment"]["reports"]) == 2
    shutil.rmtree(tmp_path / "reports/merged")
    shutil.rmtree(tmp_path / "reports/2")
    done = run(merge)
    assert done.returncode == 2
    assert "shard 2/2 is missing" in done.stderr


def test_the_calls_of_pytest_are_right(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (pytester.path / "golden").symlink_to(ROOT / "golden")
    calls = [shlex.split(line) for line in PYTEST]
    assert len(calls) == 4
    for program, *arguments in calls:
        assert program == "pytest"
        if "--harness-golden=path/to/bundle" in arguments:
            continue
        plugins = ("-p", "xdist", "-p", "harness.testing.plugin", "--collect-only", "-q")
        done = pytester.runpytest_inprocess(*plugins, *arguments)
        assert done.ret == 0
        assert "gru_tagger/torch/native/fp32/ort-cpu" in done.outlines
