import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness.core import surroundings
from harness.core.errors import UsageError
from harness.core.names import check_path_part, check_printable, is_path_part, visible
from harness.core.reading import check_file, check_inside, read_bytes, read_json

ROOT = Path(__file__).resolve().parents[3]


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
        (b'{"a": 1, "b": 2, "a": 3}', "is not JSON: key 'a' is there twice"),
        (b"[1" + b"0" * 30 + b"]", "is not JSON: 10000000000000000000\u2026 is an integer"),
        (b'["\\ud800"]', "is not JSON: a half of a surrogate pair"),
    ],
)
def test_what_is_no_strict_json_is_told_in_one_line(tmp_path, data, message):
    path = tmp_path / "one.json"
    path.write_bytes(data)
    with pytest.raises(UsageError) as caught:
        read_json(path)
    text = str(caught.value)
    assert text.startswith(f"{path} {message}")
    assert len(text.splitlines()) == 1


def test_json_that_is_not_there_is_told(tmp_path):
    with pytest.raises(UsageError, match=r"none\.json: No such file or directory"):
        read_json(tmp_path / "none.json")
    with pytest.raises(UsageError, match="is a folder; expected a file"):
        read_json(tmp_path)


def test_json_is_read_as_utf_8_whatever_the_locale(tmp_path):
    (tmp_path / "one.json").write_bytes('{"é": "→"}'.encode())
    text = "from harness.core.reading import read_json; from pathlib import Path; import sys;"
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


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_only_regular_files_of_a_limited_size_are_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, message in (
        (pipe, "is a pipe; expected a file"),
        (Path("/dev/zero"), "is a device; expected a file"),
        (tmp_path, "is a folder; expected a file"),
        (Path("nul\0"), "embedded null byte"),
    ):
        with pytest.raises(UsageError, match=message):
            read_bytes(path, 10)
    (tmp_path / "large").write_bytes(b"x" * 11)
    with pytest.raises(UsageError, match="is too large: expected at most 10 bytes"):
        check_file(tmp_path / "large", 10)
    assert read_bytes(tmp_path / "large", 11) == b"x" * 11


def test_a_link_that_leads_out_of_a_folder_is_refused(tmp_path):
    folder = tmp_path / "bundle"
    folder.mkdir()
    (tmp_path / "other").write_text("")
    (folder / "link").symlink_to("../other")
    (folder / "good").symlink_to("there")
    for path in (folder / "link", folder / ".." / "other"):
        with pytest.raises(UsageError, match=r"leads out of .*bundle; expected a file in it"):
            check_inside(path, folder)
    check_inside(folder / "good", folder)


@pytest.mark.parametrize("name", ["a", "_a", "gru-tagger.v2", "9", "\u00e9t\u00e9 2", "a" * 200])
def test_a_name_that_can_be_part_of_a_path(name):
    assert is_path_part(name)
    check_path_part(name, "x")


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        ".a",
        "-a",
        "a/b",
        "a\\b",
        "C:a",
        "a\nb",
        "a\x1b[2K",
        "a" * 201,
        "\u202ea",
        "::a",
    ],
)
def test_a_name_that_can_be_none(name):
    with pytest.raises(UsageError, match=r"model: .*; expected a name of at most 200 printable"):
        check_path_part(name, "model")


def test_what_is_not_printable_is_shown_escaped():
    assert visible("a\n\x1b[2K\u202e\ud800b \u00e9") == "a\\n\\x1b[2K\\u202e\\ud800b \u00e9"
    check_printable("a/b:0", "x")
    for name in ("", "a\nb"):
        with pytest.raises(UsageError, match=r"x: .*; expected a name of printable characters"):
            check_printable(name, "x")


@pytest.mark.parametrize(
    ("path", "named", "left"),
    [
        (["/w", "/lib"], "", ["/lib"]),
        (["/w", "/other", "/lib"], "/other", ["/other", "/lib"]),
        (["/w", "/w", "/lib"], "/w", ["/w", "/w", "/lib"]),
        (["", "/lib", "."], ":/x", ["/lib"]),
    ],
)
def test_a_command_imports_nothing_from_the_current_folder(path, named, left):
    assert surroundings.without(path, "/w", named) == left


def test_a_checkout_that_is_the_current_folder_is_searched_last():
    assert surroundings.without([str(ROOT), "/lib"], str(ROOT), "") == ["/lib", str(ROOT)]


def test_modules_in_the_current_folder_do_not_run(tmp_path):
    names = ("numpy", "json", "onnx", "msgspec", "rich", "argparse", "tempfile", "reference_models")
    for name in names:
        (tmp_path / f"{name}.py").write_text("print('ran')\n")
    command = [sys.executable, "-m", "harness.list"]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    environment |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "ran" not in done.stdout.split()


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("0", "0")])
def test_telemetry_is_off_unless_the_user_says_otherwise(before, after):
    environment = {k: v for k, v in os.environ.items() if k != surroundings.TELEMETRY}
    environment |= {} if before is None else {surroundings.TELEMETRY: before}
    text = f"import os, harness; print(os.environ[{surroundings.TELEMETRY!r}])"
    done = subprocess.run(
        [sys.executable, "-c", text], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.stdout == f"{after}\n", done.stderr
