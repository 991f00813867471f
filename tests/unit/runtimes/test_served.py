"""harness.runtimes.served and harness.runtimes.serve: sessions in a child that may die."""

import gc
import os
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from harness.core import expectations
from harness.core.errors import LoadError, RunError
from harness.core.expectations import Expectation
from harness.core.results import Status
from harness.core.schema import Stage
from harness.goldens import store
from harness.processes.limits import Limits
from harness.processes.worker import LostError, Worker
from harness.runtimes.served import Served, in_child
from tests.support import doubler
from tests.support.jobs import judged, ready
from tests.support.processes import ends

TARGET = "tests.support.served:PLANTED"
X = {"b": np.arange(3, dtype=np.int64), "a": np.array(2.5, np.float32)}


@pytest.fixture
def served():
    return in_child(TARGET, {"SETTING": "on"})


def test_sessions_of_one_process_answer_in_any_order_whatever_it_prints(served):
    one, two = served.prepare("one"), served.prepare("two")
    for session, name in ((two, "two"), (one, "one"), (two, "two")):
        (first, b), (second, a) = session.run(X)
        assert (first, second) == (f"{name}:b", f"{name}:a")
        np.testing.assert_array_equal(b, [0, 2, 4])
        assert (b.dtype, a.dtype, a.shape, float(a)) == (np.int64, np.float32, (), 5.0)
    assert one.evidence()["pid"] == two.evidence()["pid"] != os.getpid()
    assert one.evidence()["setting"] == "on"


def test_nothing_is_started_before_a_session_is_wanted():
    Served(lambda: pytest.fail("started"))


def test_a_session_that_nobody_holds_is_forgotten(served):
    one, two = served.prepare("one"), served.prepare("two")
    assert two.evidence()["live"] == ["one", "two"]
    del one
    gc.collect()
    assert two.evidence()["live"] == ["two"]


def test_errors_are_told_in_one_line_and_leave_the_process(served):
    with pytest.raises(LoadError, match=r"^not this one$") as refusal:
        served.prepare("refused")
    assert not refusal.value.crashed
    session = served.prepare("raise")
    for _ in range(2):
        with pytest.raises(RunError, match=r"^ValueError: first line$"):
            session.run(X)
    assert session.evidence()["live"] == ["raise"]


def test_a_death_is_told_with_its_signal_and_last_words_and_the_next_load_starts_anew(served):
    bystander, session = served.prepare("one"), served.prepare("abort-at-run")
    message = r"^.* ended with signal SIGABRT: .*panicked at ops.rs:7 last words$"
    with pytest.raises(RunError, match=message) as death:
        session.run(X)
    assert death.value.crashed
    with pytest.raises(RunError, match="signal SIGABRT"):
        bystander.run(X)
    assert session.evidence() == {}
    with pytest.raises(LoadError, match="signal SIGABRT"):
        served.prepare("abort-at-load")
    with pytest.raises(RunError, match=r"ended with exit code 7: printed by the runtime$"):
        served.prepare("exit-at-run").run(X)
    assert served.prepare("one").run(X)[0][0] == "one:b"


@pytest.mark.parametrize(
    ("name", "status", "stage", "cases"),
    [
        ("abort-at-load", Status.ERROR, Stage.LOAD, 0),
        ("abort-at-run", Status.ERROR, Stage.RUN, 5),
        ("exit-at-run", Status.ERROR, Stage.RUN, 5),
        ("refused", Status.FAIL, Stage.LOAD, 0),
        ("raise", Status.FAIL, Stage.RUN, 5),
    ],
)
def test_only_a_crash_is_an_error_and_no_expectation_covers_it(
    tmp_path, name, status, stage, cases
):
    source = store.read(doubler.record(tmp_path / "golden"))
    path = tmp_path / name
    path.write_bytes(doubler.graph().SerializeToString())
    runtime = SimpleNamespace(check=lambda: None, version=str, prepare=in_child(TARGET).prepare)
    result = judged(ready(source, path, runtime))
    assert (result.status, result.stage) == (status, stage), result.reason
    assert [case.status for case in result.cases] == [status] * cases
    covered = expectations.judge(result, [Expectation("*", stage, "planted", "")])
    assert covered.status is (Status.ERROR if status is Status.ERROR else Status.XFAIL)


def flooding(emit, count):
    for _ in range(count):
        os.write(2, b"x" * 2**16)


def test_a_flood_of_output_ends_the_process_and_is_kept_in_no_file():
    worker = Worker(Limits(output=2**20))
    with pytest.raises(LostError) as flood:
        worker.call(flooding, 256)
    worker.stop()
    assert flood.value.how == "wrote over 1,048,576 bytes of output and was killed"
    assert set("".join(flood.value.lines)) == {"x"}


def test_what_is_written_for_many_questions_is_no_flood():
    worker = Worker(Limits(output=2**20))
    for _ in range(20):
        worker.call(flooding, 2)
    worker.stop()


@pytest.mark.slow
def test_what_is_no_answer_ends_the_process():
    session = in_child(TARGET).prepare("garbage")
    with pytest.raises(RunError, match=r"no readable answer|ended with"):
        session.run(X)


def test_the_child_ends_with_its_last_holder():
    session = in_child(TARGET).prepare("one")
    pid = session.evidence()["pid"]
    del session
    gc.collect()
    assert ends(pid)


@pytest.mark.parametrize("ending", ["pass", "os.kill(os.getpid(), 9)"])
def test_no_child_outlives_this_process(ending):
    program = (
        "import os; from harness.runtimes.served import in_child;"
        f"s = in_child({TARGET!r}).prepare('one'); print(s.evidence()['pid'], flush=True);"
        f"{ending}"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert ends(int(done.stdout))
    assert done.stderr == ""
