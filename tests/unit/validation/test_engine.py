"""The one loop: golden cases are loaded while others run, and what cannot be loaded is told."""

import threading
import time
from dataclasses import replace

import onnx
import pytest

from harness.core.errors import ExportError, GoldenError, LoadError, RunError, crashed
from harness.core.results import Status
from harness.goldens import store as golden
from harness.validation import cases, engine
from tests.support import doubler, planted
from tests.support.jobs import held, judged, ready


@pytest.fixture
def job(tmp_path):
    source = golden.read(doubler.record(tmp_path / "golden"))
    onnx.save(doubler.graph(), tmp_path / "model.onnx")
    return ready(source, tmp_path / "model.onnx", planted.Runtime())


def on(job, runtime):
    return replace(job, runtime=held(runtime))


def test_every_golden_case_is_loaded_once_and_before_it_is_asked_for(job, monkeypatch):
    loaded, all_loaded = [], threading.Event()
    read = golden.Golden.load

    def load(source, case):
        loaded.append((case.id, threading.current_thread() is threading.main_thread()))
        if len(loaded) == len(job.cases):
            all_loaded.set()
        return read(source, case)

    monkeypatch.setattr(golden.Golden, "load", load)

    def wait_for_the_others(outputs, run):
        assert all_loaded.wait(60)
        return outputs

    result = judged(on(job, planted.Runtime(wait_for_the_others)))
    assert result.status is Status.PASS
    assert sorted(name for name, _ in loaded) == sorted(case.id for case in job.cases)
    assert not all(in_main for _, in_main in loaded)


def test_a_golden_that_cannot_be_loaded_is_told_where_it_is_asked_for(job, monkeypatch):
    read, events = golden.Golden.load, []

    def load(source, case):
        if case == job.cases[2]:
            raise GoldenError("altered")
        return read(source, case)

    monkeypatch.setattr(golden.Golden, "load", load)
    running = engine.run([job], lambda job, event: events.append(event))
    with pytest.raises(GoldenError, match="altered"):
        next(running)
    assert job.cases[1] in events
    assert job.cases[2] in events
    assert job.cases[3] not in events


def test_what_was_loaded_for_a_model_that_is_refused_is_not_the_next_one_s(
    job, tmp_path, monkeypatch
):
    other = golden.read(doubler.record(tmp_path / "other"))
    (tmp_path / "refused.onnx").write_bytes(b"no model")
    refused = replace(job, golden=other, model=tmp_path / "refused.onnx")
    read = golden.Golden.load

    def load(source, case):
        loaded = read(source, case)
        if source is not other:
            return loaded
        time.sleep(0.05)
        return replace(loaded, outputs={name: value + 1 for name, value in loaded.outputs.items()})

    monkeypatch.setattr(golden.Golden, "load", load)
    results = list(engine.run([refused, job]))
    assert [result.status for result in results] == [Status.FAIL, Status.PASS]


def test_cases_that_are_completed_are_not_completed_ahead(job):
    threads = []

    def complete(case):
        threads.append(threading.current_thread())
        return case

    assert judged(replace(job, complete=complete)).status is Status.PASS
    assert set(threads) == {threading.main_thread()}


def chained(error, cause):
    try:
        raise error from cause
    except type(error) as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RunError("no", crashed=True), True),
        (ExportError("no"), False),
        (MemoryError(), True),
        (chained(LoadError("no"), MemoryError()), True),
        (chained(LoadError("no"), ValueError()), False),
        (RuntimeError("std::bad_alloc"), True),
        (RunError("CUDA out of memory"), True),
        (ValueError("no"), False),
    ],
)
def test_what_tells_nothing_of_a_model(error, expected):
    assert crashed(error) is expected


def test_only_a_trusted_runtime_is_handed_the_inputs_of_the_golden(job, monkeypatch):
    read, stored, handed = golden.Golden.load, [], []

    def load(source, case):
        stored.append(read(source, case))
        return stored[-1]

    class Keeps(planted.Session):
        def run(self, inputs):
            handed.append(inputs["x"])
            return super().run(inputs)

    monkeypatch.setattr(golden.Golden, "load", load)
    monkeypatch.setattr(planted, "Session", Keeps)
    for trusted in ((), ("planted",)):
        stored.clear(), handed.clear()
        (result,) = engine.run([on(job, planted.CLEAN)], trusted=trusted)
        assert result.status is Status.PASS
        shared = [any(value is case.inputs["x"] for case in stored) for value in handed]
        assert shared == [bool(trusted)] * 5


def test_a_golden_outlives_a_runtime_that_spoils_its_inputs(job):
    (spoiling, clean) = engine.run([on(job, planted.SPOILS), on(job, planted.CLEAN)])
    assert (spoiling.status, clean.status) == (Status.PASS, Status.PASS)
    store = {}
    for runtime in (planted.SPOILS, planted.CLEAN):
        session = engine.prepare(job.model, on(job, runtime))
        assert cases.judge_case(job, job.cases[0], session, store).status is Status.PASS


def test_a_case_is_judged_before_an_untrusted_runtime_runs_the_next(job):
    events = []
    list(engine.run([on(job, planted.REUSES)], lambda job, event: events.append(event)))
    kinds = [type(event).__name__ for event in events if not isinstance(event, str)]
    assert kinds == ["Case", "CaseResult"] * 5
