import subprocess
import sys
from pathlib import Path

import pytest

from harness.core import files
from harness.core.errors import UsageError

ROOT = Path(__file__).resolve().parents[3]
WRITER = """
import sys
from contextlib import suppress
from pathlib import Path
from harness.core import files
from harness.core.errors import UsageError
folder, me, can_exchange = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
if can_exchange == "False":
    files._exchange = lambda a, b: False
print(flush=True)
sys.stdin.read()
for number in range(100):
    with files.replacing(folder) as new:
        (new / "one").write_text(f"{me} {number}")
        (new / "two").write_text(f"{me} {number}")
    if number % 10 == 5 and me == "0":
        with suppress(FileNotFoundError):
            folder.rename(folder.with_name(f"gone{number}"))
"""


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced_whole(tmp_path, monkeypatch, exchange):
    if not exchange:
        monkeypatch.setattr(files, "_exchange", lambda a, b: False)
    folder = tmp_path / "folder"
    for name in ("first", "second"):
        with files.replacing(folder) as new:
            (new / name).write_text(name)
        assert [p.name for p in folder.iterdir()] == [name]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_an_error_leaves_the_old_folder(tmp_path):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").touch()
    with pytest.raises(ZeroDivisionError), files.replacing(folder) as new:
        (new / "half").write_text(str(1 / 0))
    assert [p.name for p in folder.iterdir()] == ["old"]
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("exchange", [True, False])
def test_processes_that_put_the_same_folder_all_succeed_and_leave_one(tmp_path, exchange):
    folder = tmp_path / "shared" / "folder"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(number), str(exchange)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for number in range(4)
    ]
    for writer in writers:
        assert writer.stdout.readline() == "\n"
    for writer in writers:
        writer.stdin.close()
    for writer in writers:
        assert (writer.wait(60), writer.stderr.read()) == (0, "")
        writer.stdout.close()
        writer.stderr.close()
    names = sorted(path.name for path in folder.parent.iterdir())
    assert [name for name in names if not name.startswith("gone")] == ["folder"]
    for name in names:
        one, two = ((folder.parent / name / part).read_text() for part in ("one", "two"))
        assert one == two


def test_what_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    files.check_writable(tmp_path / "new" / "deeper")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(UsageError, match="cannot be written: Not a directory"):
        files.check_writable(tmp_path / "file" / "new")


def test_a_folder_for_files_is_told_where_it_takes_none(tmp_path):
    (tmp_path / "file").write_text("")
    files.check_folder(tmp_path)
    files.check_folder(tmp_path / "new" / "deeper")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    for path in ("file", "file/new"):
        with pytest.raises(UsageError, match="cannot be written to: "):
            files.check_folder(tmp_path / path)


def test_a_mount_point_cannot_be_replaced():
    with pytest.raises(UsageError, match="is a mount point, which cannot be replaced; name one"):
        files.check_writable(Path("/"))


def test_what_comes_in_parts_is_written_whole_or_not_at_all(tmp_path):
    path = files.written(tmp_path / "new" / "file", (part.encode() for part in "abc"))
    assert path.read_text() == "abc"
    with pytest.raises(ZeroDivisionError):
        files.written(path, (bytes(1 // number) for number in (1, 0)))
    assert path.read_text() == "abc"
    assert list(path.parent.iterdir()) == [path]
