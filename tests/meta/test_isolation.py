"""Whatever a runtime does to its process is a result, and costs no other cell."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import wait
from pathlib import Path

import numpy as np
import onnx
import pytest
from safetensors.numpy import load_file, save_file

from harness import runtimes
from harness.commands.run import ended
from harness.core.errors import ExportError
from harness.core.expectations import Expectation
from harness.core.results import CaseResult, Status
from harness.core.schema import Stage
from harness.goldens import manifest as manifests
from harness.goldens import store
from harness.processes.limits import Limits
from harness.processes.process import LOOK
from harness.runtimes.guard import guarded
from harness.validate import main as validate
from harness.validation import pipeline
from harness.validation.isolation import workers
from harness.validation.isolation.child import Child, flags
from harness.validation.isolation.workers import AT_HOME, Isolation
from harness.validation.job import Failed, Unavailable
from harness.validation.selection import Selection
from reference_models import every_step
from tests.support import doubler, planted_crashes

MARK = "HARNESS_TEST_ISOLATION"
LONG = 300
"""Seconds that only what never ends takes."""
PASSED = ["pass"] * (len(doubler.CASES) + 1)


@pytest.fixture
def files(tmp_path):
    """What to call with: a file that the planted runtimes spoil, then one that they do not."""
    folder = doubler.record(tmp_path / "golden")
    for name in ("bad.onnx", "good.onnx"):
        onnx.save(doubler.graph(), tmp_path / name)
    return [
        *(str(tmp_path / "bad.onnx"), str(tmp_path / "good.onnx"), "--golden", str(folder)),
        *("--report-dir", str(tmp_path / "report")),
    ]


@pytest.fixture(scope="module")
def enough(tmp_path_factory):
    """Seconds that are enough for a cell in a process of its own, as this machine is busy now."""
    folder = tmp_path_factory.mktemp("enough")
    onnx.save(doubler.graph(), folder / "good.onnx")
    golden = doubler.record(folder / "golden")
    selection = Selection([str(folder / "good.onnx")], runtimes=["ort-cpu"], golden=golden)
    started = time.monotonic()
    report = pipeline.judge(
        pipeline.prepare(selection, print),
        "",
        lambda result: None,
        lambda work: None,
        isolation=Isolation(True),
    )
    assert report.results[0].status is Status.PASS
    return max(6, round(5 * (time.monotonic() - started)))


@pytest.fixture
def judged(files, capfd, monkeypatch):
    for name, target in planted_crashes.TARGETS.items():
        monkeypatch.setitem(runtimes.RUNTIMES, name, target)

    def run(names, *flags):
        code = ended(validate, [*files, "--runtime", names, "--json", *flags])
        out, err = capfd.readouterr()
        return code, json.loads(out) if out else err

    return run


def statuses(report):
    return [result["status"] for result in report["results"]]


def left(mark):
    """The processes whose environment has the mark, zombies aside."""
    processes = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and mark.encode() in (folder / "environ").read_bytes():
                processes.append((int(folder.name), (folder / "cmdline").read_bytes()))
        except OSError:
            continue
    return processes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("planted", "stage", "words", "before", "limit"),
    [
        ("segfaults", "run", "ended with signal SIGSEGV: the last words", 2, None),
        ("segfaults_silently", "run", "ended with signal SIGSEGV", 2, None),
        ("segfaults_at_load", "load", "ended with signal SIGSEGV: the last words", 0, None),
        ("segfaults_afterwards", "run", "ended with signal SIGSEGV", 5, None),
        ("aborts", "run", "ended with signal SIGABRT", 2, None),
        ("killed", "run", "signal SIGKILL (the system kills for want of memory)", 2, None),
        ("aborts_with_a_child", "run", "ended with signal SIGABRT", 2, LONG),
        ("aborts_with_a_session", "run", "ended with signal SIGABRT", 2, LONG),
        ("leaves", "run", "ended with exit code 0", 2, None),
        ("leaves_at_once", "run", "ended with exit code 7", 2, None),
        ("dies", "run", "ended with exit code 1: ", 2, None),
        ("hangs", "run", "did not end within {} s and was killed", 2, "enough"),
        ("hangs_at_load", "load", "did not end within {} s", 0, "enough"),
        (
            "floods_output",
            "run",
            "wrote over 16,777,216 bytes of output and was killed: x",
            2,
            None,
        ),
        (
            "floods_errors",
            "run",
            "wrote over 16,777,216 bytes of output and was killed: x",
            2,
            None,
        ),
    ],
)
def test_a_lost_process_costs_one_cell(judged, enough, planted, stage, words, before, limit):
    limit = enough if limit == "enough" else limit
    flags = ("--timeout", str(limit)) if limit else ()
    code, report = judged(f"clean,{planted}", *flags)
    assert code == 1
    assert sorted(statuses(report)) == ["error", "pass", "pass", "pass"]
    result = next(each for each in report["results"] if each["status"] == "error")
    assert result["id"].endswith(planted)
    assert result["stage"] == stage
    assert words.format(limit) in result["reason"], result["reason"]
    assert "\n" not in result["reason"]
    assert len(result["reason"]) <= 300
    ended = result["evidence"]["isolation"]["ended"]
    assert ended in result["reason"]
    at_a_case = [] if stage == "load" or before == 5 else ["error"]
    assert [case["status"] for case in result["cases"]] == ["pass"] * before + at_a_case
    assert result["replay"].endswith(" ".join(["--isolate", *flags]))
    for survivor in report["results"]:
        if survivor["status"] == "pass":
            assert [case["status"] for case in survivor["cases"]] == PASSED


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
@pytest.mark.parametrize(
    "planted", ["aborts_with_a_child", "aborts_with_a_session", "starts_a_session"]
)
def test_nothing_is_left_of_what_a_process_started(judged, tmp_path, monkeypatch, planted):
    monkeypatch.setenv(MARK, str(tmp_path))
    _, report = judged(planted)
    assert len(report["results"]) == 2
    assert left(str(tmp_path)) == []


@pytest.fixture
def begun(files):
    """Begins the file that the planted runtimes spoil in a child, which is stopped at the end."""
    children = []

    def begin(planted, limits):
        selection = Selection(files[:1], runtimes=["ort-cpu"], golden=Path(files[3]))
        (job,) = pipeline.prepare(selection, print).jobs
        runtime = guarded(planted_crashes.TARGETS[planted], planted)
        children.append(Child(limits))
        children[0].begin(replace(job, runtime=runtime))
        return children[0]

    yield begin
    for child in children:
        child.worker.stop()


def polled(child, tell=lambda job, event: None):
    """The result of a child's cell, once there is one."""
    while (result := child.poll(tell)) is None:
        wait([child.worker.connection], LOOK)
    return result


def test_a_process_that_forks_itself_is_heard_once(begun):
    child = begun("goes_on_twice", Limits())
    assert [case.status for case in polled(child).cases] == PASSED
    assert child.worker.alive
    assert not child.worker.connection.poll(1.5)


def test_what_a_process_sent_before_it_was_killed_counts(begun):
    child = begun("floods_errors", Limits(output=1024))
    events = []
    result = polled(child, lambda job, event: events.append(event))
    assert [case.status for case in result.cases] == ["pass", "pass", "error"]
    assert [event for event in events if isinstance(event, CaseResult)] == list(result.cases[:2])


def test_the_last_lines_are_evidence(judged):
    _, report = judged("dies")
    output = report["results"][0]["evidence"]["isolation"]["output"]
    assert len(output) == 20
    assert output[-2:] == ["PlantedError: a planted", "error"]


@pytest.mark.parametrize(("planted", "stage"), [("eats", "run"), ("eats_at_load", "load")])
def test_memory_has_a_limit(judged, planted, stage):
    code, report = judged(planted, "--memory-limit", "1")
    assert code == 1
    bad, good = report["results"]
    assert (bad["status"], bad["stage"]) == ("error", stage), bad["reason"]
    assert "MemoryError" in bad["reason"]
    assert bad["replay"].endswith(" --isolate --memory-limit 1")
    assert good["status"] == "pass"


@pytest.mark.parametrize(
    ("planted", "stage"), [("lacks_memory", "run"), ("lacks_memory_at_load", "load")]
)
def test_a_lack_of_memory_that_is_only_told_is_an_error(judged, planted, stage):
    _, report = judged(planted, "--no-isolate")
    assert statuses(report) == ["error", "pass"]
    assert report["results"][0]["stage"] == stage


def test_what_a_runtime_prints_is_not_taken_for_an_answer(judged):
    code, report = judged("babbles")
    assert (code, statuses(report)) == (0, ["pass", "pass"])


def test_a_process_judges_many_cells(judged):
    _, report = judged("tells_its_process")
    pids = {result["evidence"]["pid"] for result in report["results"]}
    assert len(pids) == 1
    assert os.getpid() not in pids


def test_no_isolate_judges_here(judged):
    _, report = judged("tells_its_process", "--no-isolate")
    assert {result["evidence"]["pid"] for result in report["results"]} == {os.getpid()}


@pytest.mark.parametrize(
    ("runtime", "isolation", "isolated"),
    [
        ("ort-cpu", Isolation(), True),
        ("ort-cuda", Isolation(), True),
        ("ort-cpu", Isolation(limited=False), False),
        ("ort-cuda", Isolation(limited=False), False),
        ("tract", Isolation(), True),
        ("ort-web", Isolation(), True),
        ("ort-cpu", Isolation(True), True),
        ("ort-cpu", Isolation(workers=2), True),
        ("tract", Isolation(False), False),
    ],
)
def test_which_cells_are_isolated(files, runtime, isolation, isolated):
    selection = Selection(files[1:2], golden=Path(files[3]))
    (job,) = pipeline.prepare(replace(selection, runtimes=["ort-cpu"]), print).jobs
    job = replace(job, cell=replace(job.cell, runtime=runtime))
    assert isolation.holds(job) is isolated
    ours = isolation.holds(replace(job, ours=True))
    assert ours is (isolated and (runtime not in AT_HOME or isolation != Isolation()))
    assert not isolation.holds(replace(job, model=None))
    fields = {"cell": job.cell, "golden": job.golden, "runtime": job.runtime}
    assert not isolation.holds(Unavailable(**fields, reason="not here"))
    assert not isolation.holds(Failed(**fields, failure=ExportError("no")))


@pytest.mark.parametrize(("name", "ahead"), [("ort-cpu", True), ("clean", False)])
def test_only_what_is_at_home_here_runs_ahead_of_its_verdicts(files, judged, name, ahead):
    selection = Selection(files[1:2], runtimes=[name], golden=Path(files[3]))
    prepared = pipeline.prepare(selection, print)
    events = []
    (result,) = workers.run(
        prepared.jobs, Isolation(False), lambda job, event: events.append(event)
    )
    assert result.status is Status.PASS
    order = [isinstance(event, CaseResult) for event in events if not isinstance(event, str)]
    assert order[:4] == ([False] * 4 if ahead else [False, True, False, True])


@pytest.mark.parametrize("flag", ["--no-isolate", "--isolate"])
def test_a_golden_that_was_altered_ends_the_call_wherever_it_is_read(files, judged, flag):
    path = Path(files[3], store.MANIFEST)
    manifest = json.loads(path.read_text())
    for entry in manifest["cases"]:
        for about in entry["inputs"].values():
            about["sha256"] = "0" * 64
    manifest["stored"] = [key for key in manifest["stored"] if "/input/" not in key]
    manifest["sha256"] = manifests.signed(manifest)["sha256"]
    path.write_text(manifests.text(manifest))
    tensors = load_file(path.with_name(store.CASES))
    save_file({k: v for k, v in tensors.items() if "/input/" not in k}, path.with_name(store.CASES))
    code, printed = judged("ort-cpu", flag)
    assert code == 2
    assert printed.endswith("was altered: its SHA-256 is not the manifest's\n")
    assert printed.count("\n") == 1


@pytest.mark.parametrize("flags", [("--workers", "2"), ("--timeout", "5"), ("--memory-limit", "1")])
def test_flags_that_contradict_are_refused(judged, flags):
    code, printed = judged("clean", "--no-isolate", *flags)
    assert code == 2
    assert len(printed.splitlines()) == 1


@pytest.mark.parametrize("number", ["0", "-1", "nan", "inf", "soon", "1000001"])
def test_a_limit_is_above_zero(judged, number):
    with pytest.raises(SystemExit) as ended:
        judged("clean", f"--timeout={number}")
    assert ended.value.code == 2


def test_a_limit_may_be_long(judged):
    code, report = judged("clean", "--timeout=1000000")
    assert (code, statuses(report)) == (0, ["pass", "pass"])


def comparable(report):
    """A report without what may differ: times, and the call itself."""
    copied = json.loads(json.dumps({**report, "command": ""}))
    del copied["environment"]["date"]
    for result in copied["results"]:
        for timed in (result, *result["cases"]):
            del timed["seconds"]
    return copied


@pytest.mark.slow
def test_two_workers_report_what_one_does(judged):
    names = "ort-cpu,clean,slow,segfaults,leaves"
    code, alone = judged(names)
    again, two = judged(names, "--workers", "2")
    assert (code, again) == (1, 1)
    ids = [result["id"].rpartition("/")[2] for result in alone["results"]]
    assert ids == names.split(",") * 2
    assert statuses(alone) == ["pass", "pass", "pass", "error", "error"] + ["pass"] * 5
    assert comparable(alone) == comparable(two)


@pytest.mark.slow
@pytest.mark.parametrize(("workers", "status"), [("2", "pass"), ("1", "error")])
def test_workers_work_at_the_same_time(judged, enough, tmp_path, monkeypatch, workers, status):
    monkeypatch.setenv(MARK, str(tmp_path))
    limit = str(LONG if status == "pass" else enough)
    _, report = judged("meets,meets_too", "--timeout", limit, "--workers", workers)
    assert statuses(report)[0] == status
    assert statuses(report)[1:] == ["pass"] * 3


@pytest.mark.parametrize("workers", ["1", "2"])
def test_fail_fast_stops_at_the_first_bad_cell_in_order(judged, workers):
    names = "clean,segfaults,hangs"
    code, report = judged(names, "--fail-fast", "--workers", workers)
    assert code == 1
    assert statuses(report) == ["pass", "error"]
    assert report["partial"]


def test_a_whole_report_is_not_partial(judged):
    assert "partial" not in judged("clean")[1]


def test_an_expected_failure_is_no_expected_crash(files, monkeypatch):
    monkeypatch.setitem(runtimes.RUNTIMES, "planted", planted_crashes.TARGETS["segfaults"])
    selection = Selection(files[:1], runtimes=["planted"], golden=Path(files[3]))
    prepared = pipeline.prepare(selection, print)
    prepared.rows = [Expectation("*", Stage.RUN, "planted", "")]
    prepared.jobs = [replace(job, ours=True) for job in prepared.jobs]
    results = []
    report = pipeline.judge(prepared, "", results.append, lambda job: None)
    (result,) = report.results
    assert result.status is Status.ERROR
    assert result.reason.startswith("expected to fail at run (planted), but: ")
    assert results == [result]


def test_every_step_can_be_handed_over():
    source = store.read(Path("golden/gru_tagger/torch"))
    complete = every_step.of(source)
    case = source.load(source.cases[0])
    completed, unpickled = complete(case), pickle.loads(pickle.dumps(complete))(case)
    assert completed.steps is None
    for name, value in completed.outputs.items():
        np.testing.assert_array_equal(unpickled.outputs[name], value)


def test_limits_are_told_as_flags():
    assert flags(Limits()) == " --isolate"
    assert flags(Limits(2.5, 2**31)) == " --isolate --timeout 2.5 --memory-limit 2"


@pytest.fixture
def started(files, tmp_path):
    """Starts ``validate``, with what it says going to ``out`` and ``err``; kills what is left."""
    processes = []

    def start(names, *flags):
        with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
            command = [sys.executable, "-m", "tests.support.planted_crashes", *files]
            process = subprocess.Popen(
                [*command, "--runtime", names, *flags],
                stdout=out,
                stderr=err,
                env={**os.environ, MARK: str(tmp_path)},
                preexec_fn=heed_interrupts,
            )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
    for pid, _ in left(str(tmp_path)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def heed_interrupts():
    """A shell has what it starts in the background ignore SIGINT, and so its children too."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def waited(condition, seconds=LONG):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
    return condition()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("workers", ["1", "2"])
def test_an_interrupted_run_leaves_no_process_and_a_partial_report(
    started, tmp_path, number, workers
):
    out, err = tmp_path / "out", tmp_path / "err"
    process = started("clean,hangs_with_a_child", "--workers", workers)
    assert waited(lambda: out.read_text().startswith("pass")), err.read_text()
    assert waited((tmp_path / "hangs").exists), err.read_text()
    assert any(b"sleep" in line for _, line in left(str(tmp_path)))
    process.send_signal(number)
    assert process.wait(LONG) == 130
    assert waited(lambda: not left(str(tmp_path))), left(str(tmp_path))
    assert "Traceback" not in err.read_text()
    assert "partial report: 1 cell, " in out.read_text()
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert report["partial"] is True
    assert statuses(report) == ["pass"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Linux ends a child so")
def test_a_killed_run_leaves_no_process(started, tmp_path):
    process = started("clean,hangs")
    assert waited((tmp_path / "hangs").exists), (tmp_path / "err").read_text()
    process.kill()
    process.wait(LONG)
    assert waited(lambda: not left(str(tmp_path))), left(str(tmp_path))
