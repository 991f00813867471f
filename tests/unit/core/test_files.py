import os
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


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"a": NaN}', "is not JSON: NaN is no number of JSON"),
        (b"[-Infinity]", "is not JSON: -Infinity is no number of JSON"),
        (b"[1e999]", "is not JSON: 1e999 is no number of JSON"),
        (b'{"a": 1', "is not JSON: Expecting"),
        (b'["\xff"]', "is not JSON: 'utf-8' codec can't decode"),
        pytest.param(b"[" * 100_000, "is not JSON: ", id="nested too deeply"),
        (b"", "is not JSON: "),
    ],
)
def test_what_is_no_strict_json_is_told_in_one_line(tmp_path, data, message):
    path = tmp_path / "one.json"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        files.read_json(path)
    text = str(caught.value)
    assert text.startswith(f"{path} {message}")
    assert len(text.splitlines()) == 1


def test_json_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"none\.json: No such file or directory"):
        files.read_json(tmp_path / "none.json")
    with pytest.raises(UsageError, match="Is a directory"):
        files.read_json(tmp_path)


def test_json_is_read_as_utf_8_whatever_the_locale(tmp_path):
    (tmp_path / "one.json").write_bytes('{"é": "→"}'.encode())
    text = "from harness.core.files import read_json; from pathlib import Path; import sys;"
    text += " print(ascii(read_json(Path(sys.argv[1]))))"
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    done = subprocess.run(
        [sys.executable, "-c", text, str(tmp_path / "one.json")],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **plain},
        check=False,
    )
    assert done.stdout == "{'\\xe9': '\\u2192'}\n", done.stderr


def test_what_cannot_be_written_is_one_line_and_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    files.check_writable(tmp_path / "new" / "deeper")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with pytest.raises(UsageError, match="cannot be written: Not a directory"):
        files.check_writable(tmp_path / "file" / "new")
