"""The tutorial and the five minutes of README, done as they say in an empty folder."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TUTORIAL = (ROOT / "docs/tutorial.md").read_text()
README = (ROOT / "README.md").read_text()
FIVE_MINUTES = README[README.index("## Five minutes") : README.index("## What it finds")]


def steps(text):
    """Files to write, as (name, text), and commands, as (command, exit code, lines it prints)."""
    for kind, block in re.findall(
        r"^```(python|console)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE
    ):
        if kind == "python" and (name := re.match(r"# (\w+\.py)\n", block)):
            yield name[1], block
        elif kind == "console":
            for part in block.removeprefix("$ ").split("\n$ "):
                command, *printed = part.splitlines()
                status = re.search(r"  # exit code (\d)$", command)
                yield command.partition("  # ")[0], int(status[1]) if status else 0, printed


def alike(line):
    """A line of a report without its figures, and without the case that is worst here."""
    return re.sub(r"\(.*\)$", "", re.sub(r"\d[\d.,]*", "N", line)).strip()


def follow(text, folder):
    """Do every step of ``text`` in ``folder``, and yield each command with what it printed."""
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    for step in steps(text):
        if len(step) == 2:
            (folder / step[0]).write_text(step[1])
            continue
        command, status, printed = step
        done = subprocess.run(
            ["sh", "-c", command],
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
            check=False,
        )
        assert done.returncode == status, command + done.stdout + done.stderr
        if printed:
            assert list(map(alike, done.stdout.splitlines())) == list(map(alike, printed))
            told = [line for line in done.stderr.splitlines() if not line.startswith("[")]
            assert told == [], "more than progress"
        yield command, done


@pytest.fixture(autouse=True)
def _frameworks():
    pytest.importorskip("torch")
    pytest.importorskip("keras")


@pytest.mark.slow
def test_the_tutorial_is_true(tmp_path):
    commands = []
    for command, done in follow(TUTORIAL, tmp_path):
        commands.append(command)
        if "harness.diagnose" in command:
            assert re.search(r"^shortest +time=2, ", done.stdout, re.MULTILINE)
            assert re.search(r"^node +GRU 'gru.l0_forward'", done.stdout, re.MULTILINE)
            assert "looks like gate order (confirmed)" in done.stdout
        elif done.returncode == 1:
            assert re.search(r"^fail .*\n +compare: .* first at time=", done.stdout, re.MULTILINE)
        if done.returncode == 2:
            assert re.fullmatch(r"error: .*model\.onnx was altered: .*\n", done.stderr)
    assert len(commands) == 9
    for name in ("tagger", "reader"):
        assert (tmp_path / name / "MODEL.md").is_file()


@pytest.mark.slow
def test_the_five_minutes_are_true(tmp_path):
    commands = [command for command, _ in follow(FIVE_MINUTES, tmp_path)]
    assert [command.split()[:2] for command in commands] == [
        ["harness", "export"],
        ["harness", "validate"],
        ["python", "masked.py"],
        ["harness", "export"],
    ]
    for name in ("tagger", "masked"):
        assert (tmp_path / name / "model.onnx").is_file()
