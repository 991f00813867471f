"""The guide to a model of one's own, done as it says in an empty folder outside the repository."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs/own_models.md").read_text()
BLOCKS = re.findall(r"^```(python|console)\n(.*?)^```$", GUIDE, re.DOTALL | re.MULTILINE)


def steps():
    """Files to write, as (name, text), and commands, as (command, exit code, lines it prints)."""
    for kind, text in BLOCKS:
        if kind == "python" and (name := re.match(r"# (\w+\.py)\n", text)):
            yield name[1], text
        elif kind == "console":
            for part in text.removeprefix("$ ").split("\n$ "):
                command, *printed = part.splitlines()
                command, _, status = command.partition("  # exit code ")
                yield command, int(status or 0), printed


def alike(line):
    """A line of a report without its figures, and without the case that is worst here."""
    return re.sub(r"\(.*\)$", "", re.sub(r"\d[\d.,]*", "N", line)).strip()


def test_the_guide_is_true(tmp_path):
    pytest.importorskip("torch")
    pytest.importorskip("keras")
    scripts = Path(sys.executable).parent
    environment = {**os.environ, "PATH": f"{scripts}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    ran = []
    for step in steps():
        if len(step) == 2:
            (tmp_path / step[0]).write_text(step[1])
            continue
        command, status, printed = step
        done = subprocess.run(
            ["sh", "-c", command],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=environment,
            check=False,
        )
        assert done.returncode == status, command + done.stdout + done.stderr
        if printed:
            assert list(map(alike, done.stdout.splitlines())) == list(map(alike, printed))
            assert done.stderr == ""
        if "harness.diagnose" in command:
            assert re.search(r"^shortest +time=2, ", done.stdout, re.MULTILINE)
            assert re.search(r"^node +GRU 'gru.l0_forward'", done.stdout, re.MULTILINE)
            assert "looks like gate order (confirmed)" in done.stdout
        elif status == 1:
            assert re.search(r"^fail .*\n +compare: .* first at time=", done.stdout, re.MULTILINE)
        if status == 2:
            assert re.fullmatch(r"error: .*model\.onnx was altered: .*\n", done.stderr)
        ran.append(command.split()[:3])
    assert len(ran) == 9
    for name in ("tagger", "reader"):
        assert (tmp_path / name / "MODEL.md").is_file()
