"""What Ctrl-C and SIGTERM do to a command, at its first imports and at work."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.commands import interrupts
from harness.commands.run import ended

ROOT = Path(__file__).resolve().parents[3]
CALLS = (
    ("-m", "harness.validate"),
    ("-mharness.lint",),
    ("-m", "harness", "list"),
    ("-c", "import harness.__main__ as it; it.main()", "record"),
)
SLOW = """
import sys
print("importing", flush=True)
try:
    while True:
        pass
except KeyboardInterrupt:
    sys.exit("an exception was raised in an import")
"""


@pytest.fixture
def slow(tmp_path):
    """Starts a process whose first heavy import takes for ever, as ``python`` would be called."""
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy/__init__.py").write_text(SLOW)
    started = []

    def start(*call):
        process = subprocess.Popen(
            [sys.executable, *call],
            env={"PYTHONPATH": f"{tmp_path}:{ROOT}"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        assert process.stdout.readline() == "importing\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", interrupts.SIGNALS)
@pytest.mark.parametrize("call", CALLS)
def test_a_command_that_is_still_importing_ends_quietly(slow, call, number):
    process = slow(*call)
    process.send_signal(number)
    assert process.communicate(timeout=60)[1] == "interrupted\n"
    assert process.returncode == interrupts.INTERRUPTED


def test_other_programs_keep_their_signals(slow):
    process = slow("-c", "import harness, numpy")
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == -signal.SIGTERM


@pytest.fixture
def attentive():
    """No signal is ignored, as all are that a shell starts in the background."""
    before = {
        number: signal.signal(number, signal.default_int_handler) for number in interrupts.SIGNALS
    }
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("attentive")
@pytest.mark.parametrize("number", interrupts.SIGNALS)
def test_a_lost_interrupt_still_counts(number, capsys):
    handlers = [signal.getsignal(each) for each in interrupts.SIGNALS]

    def command(argv):
        try:
            signal.raise_signal(number)
        except KeyboardInterrupt:
            return 0

    assert ended(command) == interrupts.INTERRUPTED
    assert ended(lambda argv: 0) == 0
    assert [signal.getsignal(each) for each in interrupts.SIGNALS] == handlers


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert ended(lambda argv: signal.raise_signal(signal.SIGINT) or 0) == 0
    finally:
        signal.signal(signal.SIGINT, before)
