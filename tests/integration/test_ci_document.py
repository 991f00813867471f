"""docs/ci.md: its jobs are run here, as written, on a small selection."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

from harness.testing import cells

assert cells, "loaded here: pytester takes back what its runs import"
pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs/ci.md").read_text()
GITHUB, GITLAB = re.findall(r"^```yaml\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
MODELS = "sequence_encoder sequence_decoder streaming_classifier"
SELECTION = f"{MODELS} --framework torch --runtime ort-cpu --lengths 1..2"
COMMAND = re.compile(r"python -m (harness\.(validate|merge)|pip install '?onnx-sequence-harness) ?")


def jobs(text):
    """The commands of each job: a step's ``run``, or an item under ``script``."""
    assert "\t" not in text
    found, job, script = {}, "", False
    for line in text.splitlines():
        indent = len(line) - len(line.lstrip())
        if match := re.fullmatch(r"( {2})?(validate|merge):", line):
            job = match[2]
        command = re.fullmatch(r"- run: (.*)", line.strip())
        if script and indent == 4 and line.strip().startswith("- "):
            command = re.fullmatch(r"- (.*)", line.strip())
        script = line.strip() == "script:" or (script and indent == 4)
        if command:
            found.setdefault(job, []).append(command[1])
    return found


@pytest.fixture
def run(tmp_path):
    """Runs a command of the document by the shell, in a folder with goldens and exports."""
    (tmp_path / "golden").symlink_to(ROOT / "golden")
    (tmp_path / "build").mkdir()
    (ROOT / "build/artifacts").mkdir(parents=True, exist_ok=True)
    (tmp_path / "build/artifacts").symlink_to(ROOT / "build/artifacts")
    here = {"PYTHONPATH": str(ROOT), "SELECTION": SELECTION, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    here["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

    def shell(command, **variables):
        environment = {**os.environ, **here, **variables}
        given = {"cwd": tmp_path, "env": environment, "capture_output": True, "text": True}
        return subprocess.run(["bash", "-c", command], check=False, **given)

    return shell


@pytest.mark.parametrize("text", [GITHUB, GITLAB], ids=["github", "gitlab"])
def test_jobs_call_our_commands_alone(text):
    assert list(jobs(text)) == ["validate", "merge"]
    for commands in jobs(text).values():
        assert len(commands) == 2
        assert all(COMMAND.match(command) for command in commands), commands
    told = [line.split(":")[0] for line in text.splitlines() if "SELECTION:" in line]
    assert len(told) == 1


def test_both_systems_are_given_the_same_commands():
    told = [
        ("${{ matrix.shard }}/3", "$CI_NODE_INDEX/$CI_NODE_TOTAL"),
        ("${{ matrix.shard }}", "$CI_NODE_INDEX"),
    ]
    text = GITHUB
    for theirs, other in told:
        text = text.replace(theirs, other)
    assert jobs(text) == jobs(GITLAB)
    assert "shard: [1, 2, 3]" in GITHUB
    assert "parallel: 3" in GITLAB


def test_shards_are_judged_and_merged_and_a_lost_one_is_noticed(run, tmp_path):
    count = int(re.search(r"parallel: (\d+)", GITLAB)[1])
    (_, validate), (_, merge) = jobs(GITLAB).values()
    for number in map(str, range(1, count + 1)):
        done = run(validate, CI_NODE_INDEX=number, CI_NODE_TOTAL=str(count))
        assert done.returncode == 0, done.stdout + done.stderr
    done = run(merge)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "reports/merged/report.json").read_text())
    assert [result["status"] for result in report["results"]] == ["pass"] * 3
    assert len(report["environment"]["reports"]) == count
    path = tmp_path / re.search(r"junit: (.*)", GITLAB)[1]
    assert ElementTree.parse(path).getroot().get("tests") == "3"
    shutil.rmtree(tmp_path / "reports/merged")
    shutil.rmtree(tmp_path / "reports/2")
    done = run(merge)
    assert done.returncode == 2
    assert f"shard 2/{count} is missing" in done.stderr


def test_the_calls_of_pytest_are_right(pytester, monkeypatch):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    (pytester.path / "golden").symlink_to(ROOT / "golden")
    (block,) = re.findall(r"^```console\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    calls = [shlex.split(line.removeprefix("$ ")) for line in block.splitlines()]
    assert len(calls) == 4
    for program, *arguments in calls:
        assert program == "pytest"
        if "--harness-golden=path/to/bundle" in arguments:
            continue
        plugins = ("-p", "xdist", "-p", "harness.testing.plugin", "--collect-only", "-q")
        done = pytester.runpytest_inprocess(*plugins, *arguments)
        assert done.ret == 0
        assert "gru_tagger/torch/native/fp32/ort-cpu" in done.outlines
