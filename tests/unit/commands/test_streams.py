"""A reader that leaves changes neither what a command does nor its exit code."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pathlib import Path
from rich.console import Console
from harness.commands.run import ended

def command(argv):
    for _ in range(2000):
        print("x" * 100, file=sys.{stream})
    Console(stderr={stream!r} == "stderr").print("done")
    Path(sys.argv[1]).write_text("written")
    return {status}

sys.exit(ended(command, []))
"""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("status", [0, 1])
def test_a_command_goes_on_where_nobody_reads_it(tmp_path, stream, status):
    reader, writer = os.pipe()
    os.close(reader)
    report = tmp_path / "report"
    other = {"stdout": "stderr", "stderr": "stdout"}[stream]
    program = PROGRAM.format(stream=stream, status=status)
    run = subprocess.run(
        [sys.executable, "-c", program, str(report)],
        **{stream: writer, other: subprocess.PIPE},
        timeout=60,
        check=False,
    )
    os.close(writer)
    assert run.returncode == status
    assert report.read_text() == "written"
    assert not getattr(run, other)


@pytest.mark.parametrize(("status", "expected"), [(0, 2), (1, 1)])
def test_what_cannot_be_written_is_told_and_costs_no_report(tmp_path, status, expected):
    report = tmp_path / "report"
    program = PROGRAM.format(stream="stdout", status=status)
    with open("/dev/full", "w") as full:
        run = subprocess.run(
            [sys.executable, "-c", program, str(report)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert run.returncode == expected
    assert report.read_text() == "written"
    assert run.stderr == "error: what was to be shown is not whole: No space left on device\n"


def test_a_closed_descriptor_is_no_other_s(tmp_path):
    program = PROGRAM.format(stream="stdout", status=0).replace(
        "return 0", "return 0 if min(__import__('os').pipe()) > 2 else 5"
    )
    closing = f"import os; os.close(0); os.close(1); os.close(2); exec({program!r})"
    run = subprocess.run([sys.executable, "-c", closing, str(tmp_path / "report")], check=False)
    assert run.returncode == 0


def test_what_is_read_is_all_there(capsys):
    from harness.commands.run import ended

    assert ended(lambda argv: print("heard") or 0) == 0
    assert capsys.readouterr().out == "heard\n"


TELLING = """
import sys
from harness.commands.run import ended

def command(argv):
    print("cut short \\u2026")
    {body}
    return 1

sys.exit(ended(command, []))
"""


def told(body, **environment):
    """What a command with this body writes and how it ends."""
    return subprocess.run(
        [sys.executable, "-c", TELLING.format(body=body)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_character_that_the_locale_lacks_is_written_escaped():
    done = told("pass", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert (done.returncode, done.stdout, done.stderr) == (1, "cut short \\u2026\n", "")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("raise MemoryError", "error: out of memory\n"),
        ("{}['x']", "error: a fault of the harness, please report it: KeyError: 'x' (run.py:"),
        (
            "from harness import UsageError; raise UsageError('a\\n::error::b\\x1b[2K')",
            "error: a\\n::error::b\\x1b[2K\n",
        ),
    ],
)
def test_no_error_is_more_than_a_line_or_the_exit_code_of_a_model(body, line):
    done = told(body)
    assert done.returncode == 2
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
