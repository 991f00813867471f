"""Children end with the process that started them, whatever they do and however it ends."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.processes import lifeline
from tests.support import ROOT
from tests.support.processes import ends, runs

pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's part is Linux's")
PARENT = """
import os, sys, threading, time
from contextlib import suppress
from pathlib import Path
from harness.processes import lifeline
from harness.processes.limits import Limits
from harness.processes.process import Process
from harness.processes.worker import Worker
from tests.support import called

def end(pid):
    print(pid, flush=True)
    {ending}
"""
CALL = "Worker(Limits(), forked={forked}).call(called.{function}, heed=end)"


def parent(program):
    """Run a program that prints the number of a process before it ends; return that number."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert done.stdout, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("forked", [False, pytest.param(True, marks=LINUX)])
@pytest.mark.parametrize("ending", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
@pytest.mark.parametrize(
    "function",
    [
        "sleeps",
        *(pytest.param(f, marks=LINUX) for f in ("holds_the_interpreter", "starts_another")),
    ],
)
def test_a_child_ends_with_its_parent_in_the_middle_of_a_call(forked, ending, function):
    call = CALL.format(forked=forked, function=function)
    assert ends(parent(PARENT.format(ending=ending) + call))


@LINUX
@pytest.mark.parametrize("seconds", [0, 0.02, 0.05, 0.1])
def test_a_child_that_has_only_begun_ends_with_its_parent(seconds):
    begun = f"""
worker = Worker(Limits())
worker.begin(called.holds_the_interpreter)
time.sleep({seconds})
end(worker._process._popen.pid)"""
    assert ends(parent(PARENT.format(ending="os.kill(os.getpid(), 9)") + begun))


@LINUX
def test_a_program_that_is_not_python_ends_with_its_parent():
    started = """process = Process(["sh", "-c", "sleep 600 & echo $!; wait"], 100, answers=True)
end(int(process.stdout.readline()))"""
    assert ends(parent(PARENT.format(ending="os.kill(os.getpid(), 9)") + started))


@LINUX
def test_a_closed_terminal_ends_a_program_and_its_children():
    """Where SIGHUP is not ignored, as it is under nohup."""
    ending = "__import__('signal').signal(1, 0); os.kill(os.getpid(), 1)"
    call = CALL.format(forked=False, function="holds_the_interpreter")
    assert ends(parent(PARENT.format(ending=ending) + call))


@LINUX
def test_a_fork_that_this_process_made_elsewhere_keeps_no_child_alive():
    """A data loader's worker, say, inherits all of the parent's descriptors and outlives it."""
    ending = "os.fork() and os.kill(os.getpid(), 9) or os.closerange(0, 3) or time.sleep(600)"
    program = PARENT.format(ending=ending) + CALL.format(
        forked=False, function="holds_the_interpreter"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=ROOT, start_new_session=True
    )
    with process:
        child = int(process.stdout.readline())
        assert ends(child)
        os.killpg(process.pid, signal.SIGKILL)


@LINUX
def test_a_child_outlives_the_thread_that_started_it_and_ends_where_nothing_holds_it():
    program = (
        PARENT.format(ending="pass")
        + """
kept = []
def begin():
    kept.append(Worker(Limits()))
    kept[0].begin(called.holds_the_interpreter)
thread = threading.Thread(target=begin)
thread.start()
thread.join()
while not kept[0].connection.poll(0.1):
    pass
kept[0].poll(end)
sys.stdin.read(1)
kept.clear()
sys.stdin.read()
"""
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=ROOT,
    )
    with process:
        child = int(process.stdout.readline())
        assert runs(child)
        process.stdin.write(b"x")
        process.stdin.flush()
        assert ends(child)


@LINUX
def test_the_shell_that_waits_for_the_end_of_a_program_ends_after_it():
    started = """
Process(["true"], 100).wait(300)
marked = f"{lifeline.MARK}_{lifeline._owner}\\0".encode()
while True:
    for words in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if words.read_bytes().endswith(marked):
                end(words.parent.name)"""
    assert ends(parent(PARENT.format(ending="os.kill(os.getpid(), 9)") + started))


def test_no_mark_is_the_beginning_of_another():
    marks = [lifeline.new_mark() for _ in range(120)]
    assert not [(a, b) for a in marks for b in marks if a != b and b.startswith(a)]


def test_threads_that_start_children_at_once_have_one_sweeper(monkeypatch):
    made, both = [], threading.Barrier(2)

    def slowly(owner):
        made.append(owner)
        time.sleep(0.05)
        return lifeline.Lifeline()

    def mark():
        both.wait()
        lifeline.new_mark()

    monkeypatch.setattr(lifeline, "_sweeper", None)
    monkeypatch.setattr(lifeline, "_swept", slowly)
    threads = [threading.Thread(target=mark) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 1
