"""What a process leaves when it dies is removed by the next, and nothing that a live one uses."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from harness.core import files, temporary
from tests.support import ROOT

HOLDER = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from harness.core import files, temporary
with ExitStack() as held:
    for target in sys.argv[1:]:
        new = held.enter_context(files.replacing(Path(target)))
        (new / "half").write_text("half")
        new.with_name(f"{new.name}-old0").mkdir()
        part = held.enter_context(temporary.temporary_beside(Path(target)))
        part.write_text("half")
    (held.enter_context(temporary.temporary_folder()) / "half").write_text("half")
    print(flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holding(tmp_path, monkeypatch):
    """Starts processes that hold temporaries: beside each target, and in ``tmp_path / "tmp"``."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", None)
    temporary._clear_once.cache_clear()
    processes = []

    def start(*targets):
        command = [sys.executable, "-c", HOLDER, *map(str, targets)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT))
        assert processes[-1].stdout.readline() == b"\n"
        return processes[-1]

    yield start
    for process in processes:
        with process:
            process.kill()


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def used():
    """Use the system's temporary folder."""
    with temporary.temporary_folder() as folder:
        assert folder.stat().st_mode & 0o077 == 0 or os.name == "nt"


@pytest.mark.parametrize("name", ["folder", "f[o]*?", "-"])
def test_what_a_dead_process_left_is_removed_and_what_a_live_one_has_stays(tmp_path, holding, name):
    target = tmp_path / "beside" / name
    holder = holding(target)
    before = names(target.parent), names(tmp_path / "tmp")
    assert (len(before[0]), len(before[1])) == (5, 2)
    files.check_writable(target)
    used()
    assert (names(target.parent), names(tmp_path / "tmp")) == before
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    temporary._clear_once.cache_clear()
    with files.replacing(target) as new:
        (new / "whole").touch()
    used()
    assert names(target) == ["whole"]
    assert names(target.parent) == [name]
    assert names(tmp_path / "tmp") == []


def test_only_what_is_beside_the_same_target_is_removed(tmp_path, holding):
    holder = holding(tmp_path / "one", tmp_path / "one-more")
    holder.kill()
    holder.wait()
    before = len(names(tmp_path))
    temporary.clear_beside(tmp_path / "one")
    assert len(names(tmp_path)) == before - 5
    assert all(n == "tmp" or n.startswith(".one-more-") for n in names(tmp_path))
    for name in (".one-0123abcd", ".one-notes.lock", ".one-0123abcde.lock"):
        (tmp_path / name).touch()
    temporary.clear_beside(tmp_path / "one")
    assert {".one-0123abcd", ".one-notes.lock", ".one-0123abcde.lock"} <= set(names(tmp_path))


def test_what_cannot_be_removed_changes_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(temporary.shutil, "rmtree", lambda path, ignore_errors: None)
    (tmp_path / ".one-0123abcd").mkdir()
    (tmp_path / ".one-0123abcd.lock").touch()
    (tmp_path / ".one-01234567.lock").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / ".one-76543210").symlink_to(tmp_path / "elsewhere")
    (tmp_path / ".one-76543210.lock").touch()
    temporary.clear_beside(tmp_path / "one")
    left = [".one-01234567.lock", ".one-0123abcd", ".one-0123abcd.lock", "elsewhere"]
    assert names(tmp_path) == left
    temporary.clear_beside(tmp_path / "no" / "such" / "folder")


def test_a_name_that_is_cleared_while_it_is_taken_is_not_used(tmp_path, monkeypatch):
    """The lock's file of the first name is removed, of the second locked, before it is ours."""
    names_tried, locks = [], temporary.locks

    def disturbed(descriptor):
        (lock,) = tmp_path.glob("*.lock")
        names_tried.append(lock.name)
        if len(names_tried) == 1:
            lock.unlink()
        if len(names_tried) == 2:
            lock.unlink()
            return False
        return locks(descriptor)

    monkeypatch.setattr(temporary, "locks", disturbed)
    with temporary.temporary_beside(tmp_path / "one") as path:
        assert f"{path.name}.lock" == names_tried[2]
    assert len(set(names_tried)) == 3
    assert names(tmp_path) == []


def test_where_there_are_no_locks_names_are_used_and_nothing_is_cleared(tmp_path, monkeypatch):
    def unsupported(descriptor):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(temporary, "locks", unsupported)
    (tmp_path / ".one-0123abcd.lock").touch()
    with files.replacing(tmp_path / "one") as new:
        (new / "whole").touch()
    assert names(tmp_path) == [".one-0123abcd.lock", "one"]
