"""harness.processes.worker: calls in a child that is limited, watched and may be lost."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from harness.core.errors import HarnessError, UsageError
from harness.processes import limits
from harness.processes.limits import GIB, Limits
from harness.processes.worker import LostError, Worker, call_in_child
from tests.support import ROOT, called
from tests.support.processes import ends


@pytest.fixture
def start():
    """Starts workers, all of which are stopped in the end."""
    workers = []

    def started(limit=Limits(), **options):  # noqa: B008
        workers.append(Worker(limit, **options))
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


PARENT = """
import os, sys, threading
from harness.processes.limits import Limits
from harness.processes.worker import Worker
from tests.support import called
worker = Worker(Limits(), tied={tied})
worker.call({call}, heed=lambda pid: (print(pid, flush=True), {ending}))
"""


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("ending", ["os._exit(0)", "os.kill(os.getpid(), 9)"])
def test_a_child_ends_with_its_parent_in_the_middle_of_a_call(tied, ending):
    program = PARENT.format(tied=tied, call="called.sleeps", ending=ending)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert ends(int(done.stdout)), done.stderr


def test_what_a_platform_cannot_keep_is_told(monkeypatch):
    monkeypatch.setattr(limits.sys, "platform", "darwin")
    assert limits.not_kept() == "memory: darwin has no limit of data"
    monkeypatch.setattr(limits.sys, "platform", "linux")
    assert limits.not_kept() == ""
