"""A reader that leaves changes neither what a command does nor its exit code."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pathlib import Path
from rich.console import Console
from harness import arguments

def command(argv):
    for _ in range(2000):
        print("x" * 100, file=sys.{stream})
    Console(stderr={stream!r} == "stderr").print("done")
    Path(sys.argv[1]).write_text("written")
    return {status}

sys.exit(arguments.ended(command, []))
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


def test_what_is_read_is_all_there(capsys):
    from harness import arguments

    assert arguments.ended(lambda argv: print("heard") or 0) == 0
    assert capsys.readouterr().out == "heard\n"
