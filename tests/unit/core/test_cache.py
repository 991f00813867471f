"""Folders of the user's cache: where they are, and that no other user can write to them."""

import os
import sys
from pathlib import Path

import pytest

from harness.core import cache
from harness.core.errors import UsageError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no modes of files")


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "root"))
    return tmp_path / "root"


@pytest.mark.parametrize(
    ("platform", "variables", "place"),
    [
        ("linux", {}, "/home/me/.cache"),
        ("linux", {"XDG_CACHE_HOME": "/else"}, "/else"),
        ("linux", {"XDG_CACHE_HOME": "relative"}, "/home/me/.cache"),
        ("darwin", {"XDG_CACHE_HOME": "/else"}, "/home/me/Library/Caches"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local"),
        ("win32", {}, "/home/me/AppData/Local"),
    ],
)
def test_where_it_is(monkeypatch, platform, variables, place):
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(Path, "home", lambda: Path("/home/me"))
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache.place("x") == Path(place) / "onnx-sequence-harness" / "x"


def test_it_is_made_for_this_user_alone(root):
    before = os.umask(0)
    try:
        folder = cache.private_folder("x")
    finally:
        os.umask(before)
    assert folder == root / "onnx-sequence-harness/x"
    assert [place.stat().st_mode & 0o777 for place in (folder, folder.parent)] == [0o700, 0o700]
    assert cache.private_folder("x") == folder


def linked(folder):
    folder.rmdir()
    folder.symlink_to(folder.parent)


def of_a_file(folder):
    folder.rmdir()
    folder.touch()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: folder.chmod(0o702), "x may be written by others"),
        (lambda folder: folder.chmod(0o720), "x may be written by others"),
        (lambda folder: folder.parent.chmod(0o777), "onnx-sequence-harness may be written by"),
        (lambda folder: folder.parent.parent.chmod(0o777), "root may be written by others"),
        (linked, "x is a link; expected a folder of your own"),
        (of_a_file, "x cannot be made: File exists; expected a folder of your own"),
    ],
)
def test_one_that_others_can_fill_is_refused(root, change, message):
    change(cache.private_folder("x"))
    with pytest.raises(UsageError) as error:
        cache.private_folder("x")
    assert message in str(error.value)


def test_one_of_another_user_is_refused(root, monkeypatch):
    folder = cache.private_folder("x")
    monkeypatch.setattr(os, "getuid", lambda: folder.stat().st_uid + 1)
    with pytest.raises(
        UsageError, match="x belongs to another user; expected a folder of your own"
    ):
        cache.private_folder("x")


def test_a_place_where_each_user_has_only_his_own_will_do(root):
    folder = cache.private_folder("x")
    root.chmod(0o1777)
    assert cache.private_folder("x") == folder
