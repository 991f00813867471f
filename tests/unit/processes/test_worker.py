"""harness.processes.worker: calls in a child that is limited, watched and may be lost."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.core.errors import HarnessError, UsageError
from harness.processes import forked, limits
from harness.processes.limits import GIB, Limits
from harness.processes.worker import LostError, Worker, call_in_child
from tests.support import ROOT, called
from tests.support.processes import ends

forks = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux")


@pytest.fixture(params=["new", pytest.param("forked", marks=forks)])
def start(request, monkeypatch):
    """Starts workers, new or forked, all of which are stopped in the end."""
    workers = []
    monkeypatch.setattr(called, "_KEPT", [])
    monkeypatch.setattr("harness.processes.worker.available", lambda: True)

    def started(limit=Limits(), **options):  # noqa: B008
        workers.append(Worker(limit, forked=request.param == "forked", **options))
        return workers[-1]

    yield started
    for worker in workers:
        worker.stop()


def test_calls_share_a_process_and_events_come_in_their_order(start):
    worker, events = start(), []
    assert worker.call(called.counts, 3, heed=events.append) == 1
    assert worker.call(called.counts, 2, heed=events.append) == 2
    assert events == [0, 1, 2, 0, 1]


def test_an_error_of_the_harness_is_raised_here_and_leaves_the_process(start):
    worker = start()
    for _ in range(2):
        with pytest.raises(UsageError, match=r"^one line$"):
            worker.call(called.refuses)
    assert worker.call(called.counts, 0) == 1


def test_any_other_exception_ends_the_process_with_its_last_lines(start):
    with pytest.raises(LostError) as lost:
        start().call(called.raises)
    assert lost.value.how == "ended with exit code 1"
    assert lost.value.lines[0] == "before"
    assert lost.value.lines[-1] == "ValueError: a fault"
    assert "\n" not in str(lost.value)


def test_a_process_that_was_lost_is_lost_at_every_later_call(start):
    worker = start()
    for _ in range(2):
        with pytest.raises(LostError, match="ended with exit code 1"):
            worker.call(called.raises)
    assert not worker.alive


def test_a_call_has_a_time_and_its_events_count(start):
    events = []
    with pytest.raises(LostError, match=r"^did not end within 2 s and was killed$"):
        start(Limits(seconds=2.0)).call(called.sleeps, heed=events.append)
    assert all(ends(pid) for pid in events)


def test_time_that_is_granted_anew_is_not_over(start):
    worker = start(Limits(seconds=60.0))
    assert worker.seconds_left <= 60
    time.sleep(0.01)
    before = worker.seconds_left
    worker.renew()
    assert worker.seconds_left > before


def test_output_is_counted_for_each_call(start):
    worker = start(Limits(output=2**20))
    assert worker.call(called.prints, 2**19) == worker.call(called.prints, 2**19 + 2**18)
    with pytest.raises(LostError, match=r"^wrote over 1,048,576 bytes of output and was killed"):
        worker.call(called.prints, 2**21)


@pytest.mark.skipif(bool(limits.not_kept()), reason="memory has no limit here")
def test_memory_has_a_limit(start):
    worker = start(Limits(memory=GIB))
    assert worker.call(called.allocates, 2**20) == 2**20
    with pytest.raises(LostError, match="MemoryError"):
        worker.call(called.allocates, 2 * GIB)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
def test_what_a_process_started_ends_with_it(start):
    events = []
    with pytest.raises(LostError):
        start(Limits(seconds=3.0)).call(called.starts_another, heed=events.append)
    assert all(ends(pid) for pid in events)


def test_the_environment_and_the_path_are_given(start, tmp_path):
    worker = start(environment={"HARNESS_TEST": "on"}, path=[str(tmp_path)])
    value, path, folder = worker.call(called.reads, "HARNESS_TEST")
    assert value == "on"
    assert path == [str(tmp_path), *sys.path]
    assert folder == os.getcwd()


def test_a_call_that_is_to_end_ends(start):
    ending = threading.Event()
    worker = start(ending=ending)
    threading.Timer(0.5, ending.set).start()
    with pytest.raises(HarnessError, match="ended before its time"):
        worker.call(called.sleeps)


def test_one_call_has_a_process_of_its_own():
    assert call_in_child(Limits(), called.counts, 1) == 1
    assert call_in_child(Limits(), called.counts, 1) == 1


def test_a_call_that_gives_no_sign_of_life_has_hung(start, monkeypatch):
    clock, events = [0.0], []
    now = SimpleNamespace(monotonic=lambda: clock[0])
    monkeypatch.setattr("harness.processes.worker.time", now)
    worker = start(Limits(seconds=1000.0, silence=60.0))
    worker.begin(called.sleeps)
    for clock[0] in (50.0, 100.0):
        assert worker.connection.poll(300 if not events else 0) is not bool(events)
        assert worker.poll(events.append) is None
    assert len(events) == 1
    clock[0] = 111.0
    with pytest.raises(LostError, match=r"^gave no sign of life for 60 s and was killed$"):
        worker.poll(events.append)
    assert all(ends(pid) for pid in events)


def test_a_crash_is_told_with_the_last_lines(start):
    with pytest.raises(LostError, match=r"^ended with signal SIGSEGV: last words$"):
        start().call(called.is_killed)


@pytest.mark.parametrize("flags", [["-I"], ["-P"]])
def test_python_trusts_no_more_in_a_child_than_here(flags):
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{LOOKED.format(forked=False)}"
    done = subprocess.run(
        [sys.executable, *flags, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{int(flags == ['-I'])} True 0 []"


LOOKED = """
import atexit, signal, sys
from harness.processes.limits import Limits
from harness.processes.worker import call_in_child
from tests.support import called
called._KEPT.append("before")
atexit.register(print, "at exit", file=sys.stderr)
signal.signal(signal.SIGTERM, lambda *_: None)
sys.stdout.write("")
found = call_in_child(Limits(), called.looks_around, forked={forked})
print(*found, end="")
"""


@forks
def test_a_fork_has_what_is_here_but_streams_handlers_and_ends_of_its_own():
    program = LOOKED.format(forked=True).replace('write("")', 'write("once ")')
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert (done.stdout, done.stderr) == ("once 0 False 0 ['before']", "at exit\n")


@forks
def test_a_fork_holds_no_lock_and_no_pipe_of_this_process(tmp_path):
    import fcntl

    (tmp_path / "lock").touch()
    reading, writing = os.pipe()
    with (tmp_path / "lock").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        worker = Worker(Limits(), forked=True)
    os.close(writing)
    try:
        assert worker.call(called.counts, 0)
        with (tmp_path / "lock").open() as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        assert os.read(reading, 1) == b""
    finally:
        worker.stop()
        os.close(reading)


@forks
def test_what_a_fork_forked_ends_with_it():
    events = []
    with pytest.raises(LostError):
        call_in_child(Limits(3.0), called.forks_another, heed=events.append, forked=True)
    assert all(ends(pid) for pid in events)


def test_a_fork_is_a_new_process_where_a_library_does_not_survive_it(monkeypatch):
    monkeypatch.setattr(called, "_KEPT", ["here"])
    monkeypatch.setattr(forked, "_NOT_FORKED", ("json",))
    assert call_in_child(Limits(), called.looks_around, forked=True)[3] == []


def test_what_a_platform_cannot_keep_is_told(monkeypatch):
    monkeypatch.setattr(limits.sys, "platform", "darwin")
    assert limits.not_kept() == "memory: darwin has no limit of data"
    monkeypatch.setattr(limits.sys, "platform", "linux")
    assert limits.not_kept() == ""
