"""Files from others: random changes to every kind, hostile artefacts, and what a run touches.

``ci/nightly.sh`` tries many more changes, and the artefacts that take a fresh process each.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

ATTACK = ROOT / "ci" / "attack"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
AUDIT = f"""
import os, sys
log = os.open(os.environ["AUDIT_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
PLACES = {{"os.mkdir": 1, "os.rename": 2, "os.remove": 1, "os.rmdir": 1, "os.symlink": 2,
           "os.link": 2, "os.truncate": 1, "os.chmod": 1, "os.utime": 1}}
def note(event, *values):
    os.write(log, (repr((event, *values)) + "\\n").encode(errors="backslashreplace"))
def place(path):
    return os.path.abspath(os.fsdecode(path))
def hook(event, args):
    if event == "open" and isinstance(args[0], (str, bytes)) and (args[2] or 0) & {WRITING}:
        note("write", place(args[0]))
    elif event in PLACES:
        for path in args[:PLACES[event]]:
            if not isinstance(path, int):
                note("write", place(path))
    elif event == "exec" and args[0].co_filename[:1] != "<":
        note("code", place(args[0].co_filename))
    elif event == "import" and args[1]:
        note("code", place(args[1]))
    elif event in ("socket.connect", "socket.getaddrinfo", "socket.bind", "socket.gethostbyname"):
        note("network", repr(args[1:]))
note("begun", os.getpid())
sys.addaudithook(hook)
"""
CALL = re.compile(r"^\d+ +(\w+)\((.*)")
CHANGES = re.compile("creat|mkdir|rename|unlink|link|symlink")
OPENED = re.compile("O_WRONLY|O_RDWR|O_CREAT")
PLACE = re.compile(r'(?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"((?:[^"\\]|\\.)*)"')

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("attack")]


def started(*words, cwd=ROOT, **env):
    """A finished ``python`` process."""
    return subprocess.run(
        [sys.executable, *map(str, words)],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """What is attacked: one valid artefact of each kind."""
    folder = tmp_path_factory.mktemp("attack") / "sources"
    done = started(ATTACK / "sources.py", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def fuzzed(made, output, *words):
    return started(ATTACK / "fuzz.py", "--sources", made, "-o", output, *words)


def test_random_changes_to_every_kind_of_file(made, tmp_path):
    done = fuzzed(made, tmp_path / "out", "--files", 500, "--seed", 0)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_makes_the_same_files_again(made, tmp_path):
    words = ("--files", 20, "--kind", "report", "--kind", "golden")
    digests = [
        fuzzed(made, tmp_path / f"{seed}{again}", "--seed", seed, *words).stdout.splitlines()[-2]
        for seed, again in ((1, 0), (1, 1), (2, 0))
    ]
    first, again, other = (line.rpartition(" ")[2] for line in digests)
    assert first == again != other


def test_every_hostile_artefact_that_needs_no_fresh_process(made):
    done = started(ATTACK / "run.py", "--quick", "--sources", made)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("status", "out", "err", "inner", "fault"),
    [
        (None, "", "", "", "hang"),
        (-6, "", "", "", "signal SIGABRT"),
        (7, "", "error: x\n", "", "exit code 7"),
        (
            1,
            "",
            'Traceback (most recent call last):\n  File "/a/harness/b.py", line 3, in f\nX: y',
            "",
            "traceback: X at harness/b.py:3",
        ),
        (
            2,
            "",
            "error: x\n",
            "Traceback (most recent call last):\nValueError: y",
            "traceback in a child",
        ),
        (2, "", "", "", "exit code 2 without an error"),
        (2, "", "error: a\nb\n", "", "no error in one line: b"),
        (2, "", "error: \x1b[2K\n", "", "control character"),
        (1, "a\n::error::b\n", "", "", "a command to a CI system"),
    ],
)
def test_what_is_wrong_with_how_a_command_ends_is_seen(monkeypatch, status, out, err, inner, fault):
    monkeypatch.syspath_prepend(str(ATTACK))
    import faults
    import tries

    found = faults.of(tries.Ended(status, out, err, 1.0, (), inner))
    assert any(fault in line for line in found), found
    assert not faults.of(tries.Ended(2, "", "error: one line\n", 1.0))
    assert faults.of(tries.Ended(0, "", "", 1.0, ("../x",))) == ["written: ../x"]


@pytest.fixture
def place(made, tmp_path):
    """A folder with a bundle that names a module there, and the environment for a run in it."""
    (tmp_path / "work").mkdir()
    shutil.copytree(made / "good" / "bundle", tmp_path / "work" / "bundle")
    for name in ("evil", "conftest", "setup"):
        (tmp_path / "work" / f"{name}.py").write_text("raise SystemExit('this ran')\n")
    for name in ("home", "tmp", "site"):
        (tmp_path / name).mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(AUDIT)
    return tmp_path


def environment(place):
    return {
        "HOME": str(place / "home"),
        "XDG_CACHE_HOME": str(place / "home" / ".cache"),
        "TMPDIR": str(place / "tmp"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def may_write(place, path):
    """Whether a validation may write there: a report, its books, a cache, the temporary folder."""
    work = place / "work"
    allowed = [work / "report", work / "build" / "artifacts", place / "home", place / "tmp"]
    around = [*(work / "build").parents, work / "build", *allowed]
    path = Path(path)
    return (
        path in around or path.parts[:2] == ("/", "dev") or any(map(path.is_relative_to, allowed))
    )


def sends_nothing(place):
    """Whether no library has made an identifier of this machine, which is what it would send."""
    return not (place / "home" / ".cache" / "Microsoft").exists()


VALIDATE = ("-m", "harness.validate", "bundle", "--report-dir", "report")


@pytest.mark.parametrize("flags", [(), ("--isolate",)], ids=["here", "in a child"])
def test_a_validation_writes_connects_and_runs_nothing_else(place, flags):
    paths = os.pathsep.join([str(place / "site"), str(ROOT)])
    log = place / "log"
    done = started(
        *VALIDATE,
        *flags,
        cwd=place / "work",
        **{**environment(place), "PYTHONPATH": paths, "AUDIT_LOG": str(log)},
    )
    assert done.returncode == 0, done.stderr
    events = [eval(line, {}) for line in log.read_text().splitlines()]
    kinds = [event[0] for event in events]
    assert kinds.count("begun") >= 1
    assert {"write", "code"} <= set(kinds)
    assert sends_nothing(place)
    assert "network" not in kinds, [event for event in events if event[0] == "network"]
    written = {path for kind, path in events if kind == "write"}
    assert [path for path in sorted(written) if not may_write(place, path)] == []
    ran = {Path(path) for kind, path in events if kind == "code"}
    assert [path for path in ran if path.is_relative_to(place / "work")] == []


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_the_system_calls_of_a_validation(place):
    calls = "trace=network,openat,/^(creat|mkdir|rename|unlink|link|symlink)"
    log = place / "log"
    done = subprocess.run(
        [
            "strace",
            *["-f", "-y", "-qq", "-s", "4096", "-e", "signal=none", "-e"],
            calls,
            "-o",
            log,
            sys.executable,
            *VALIDATE,
        ],
        cwd=place / "work",
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment(place)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    written, connected = set(), []
    for line in log.read_text(errors="replace").splitlines():
        name, rest = call.groups() if (call := CALL.match(line)) else ("", "")
        if name in ("connect", "sendto", "bind") and "AF_INET" in rest:
            connected.append(line)
        elif " = -1 " not in rest and (CHANGES.match(name) or OPENED.search(rest)):
            for folder, path in PLACE.findall(rest):
                written.add(os.path.abspath(place / "work" / folder / path))
    assert sends_nothing(place)
    assert connected == []
    assert written
    assert [path for path in sorted(written) if not may_write(place, path)] == []
