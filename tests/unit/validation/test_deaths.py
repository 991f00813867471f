"""A cell in which a process died is known until it ends."""

import os
import subprocess
import sys

import pytest

from harness.validation.isolation.deaths import Deaths

DYING = """
import os, signal, sys
from pathlib import Path
from harness.validation.isolation.deaths import Deaths
with Deaths(Path(sys.argv[1])).watched("model/torch/native/fp32/ort-cpu"):
    {end}
"""
CELL = "model/torch/native/fp32/ort-cpu"


def dying(folder, end):
    subprocess.run([sys.executable, "-c", DYING.format(end=end), str(folder)], check=False)


@pytest.mark.parametrize(
    "end", ["os.abort()", "os.kill(os.getpid(), signal.SIGKILL)", "os._exit(0)"]
)
def test_a_death_is_known_until_the_cell_ends(tmp_path, end):
    deaths = Deaths(tmp_path / "deaths")
    assert deaths.cells() == set()
    dying(deaths.folder, end)
    assert deaths.cells() == deaths.cells() == {CELL}
    with deaths.watched("another"):
        assert deaths.cells() == {CELL}
    deaths.forget("another")
    assert deaths.cells() == {CELL}
    deaths.forget(CELL)
    assert deaths.cells() == set()
    assert list(deaths.folder.iterdir()) == []


@pytest.mark.parametrize("end", ["pass", "raise KeyboardInterrupt", "sys.exit(1)", "1 / 0"])
def test_an_end_of_any_other_kind_is_no_death(tmp_path, end):
    dying(tmp_path, end)
    assert Deaths(tmp_path).cells() == set()


def test_what_runs_now_has_not_died(tmp_path):
    with Deaths(tmp_path).watched(CELL):
        assert Deaths(tmp_path).cells() == set()
        assert (tmp_path / f"running-{os.getpid()}").read_text() == CELL


def test_a_name_may_be_any_and_a_file_may_hold_anything(tmp_path):
    name = f"{CELL} /tmp/\udcff/model.onnx"
    program = DYING.format(end="os.abort()").replace(repr(CELL).strip("'"), "' + sys.argv[2] + '")
    program = program.replace('"', "'")
    subprocess.run([sys.executable, "-c", program, str(tmp_path), os.fsencode(name)], check=False)
    (tmp_path / "running-999999999").write_bytes(b"")
    (tmp_path / "running-odd").write_bytes(b"\xff")
    assert Deaths(tmp_path).cells() == {name, "\udcff"}
    Deaths(tmp_path).forget(name)
    assert len(list(tmp_path.iterdir())) == 1


def test_where_nothing_can_be_written_nothing_is_known(tmp_path):
    (tmp_path / "file").write_text("")
    deaths = Deaths(tmp_path / "file" / "deaths")
    with deaths.watched(CELL):
        pass
    deaths.forget(CELL)
    assert deaths.cells() == set()
