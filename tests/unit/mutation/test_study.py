import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from harness.core.errors import (
    CheckError,
    HarnessError,
    NothingSelectedError,
    UnavailableError,
    UsageError,
)
from harness.core.results import Cell
from harness.core.schema import Stage
from harness.mutation import peers, study
from harness.mutation.trial import Verdict
from harness.processes.limits import Limits
from harness.processes.worker import Worker
from harness.validation import pipeline
from harness.validation.job import Failed, Ready, Unavailable
from harness.validation.selection import Selection
from tests.support import dying

CELL = Cell("model", "torch", "native", "fp32", "ort-cpu")


def test_a_mutant_that_ends_its_process_is_caught_and_the_rest_goes_on():
    studied = study.supervised(CELL, Selection(), (), study=dying.study)
    deadly, harmless = studied.trials
    assert (deadly.verdict, deadly.stage) == (Verdict.CAUGHT, Stage.RUN)
    assert "SIGABRT" in deadly.reason
    assert deadly.reason.endswith("last line")
    assert deadly.peers == {peer.name: True for peer in peers.PEERS}
    assert harmless == dying.HARMLESS
    assert studied.honest == dying.HONEST


def test_a_mutant_that_ends_only_the_referee_is_missed():
    passed = replace(dying.DEADLY, reason="every case passes", peers={"optimum": False})
    died = study._died(passed, "was ended by SIGABRT")
    assert (died.verdict, died.peers) == (Verdict.MISSED, {"optimum": False})
    assert died.reason == "every case passes; in exact arithmetic its process was ended by SIGABRT"


def test_a_process_that_ends_by_itself_is_an_error():
    with pytest.raises(HarnessError, match="exit code 9"):
        study.supervised(CELL, Selection(), (), study=dying.at_once)


def test_a_mutant_that_hangs_its_process_is_caught_and_the_study_ends():
    limits = Limits(seconds=2.0)
    studied = study.supervised(CELL, Selection(), (), limits=limits, study=dying.hanging)
    (hung,) = studied.trials
    assert (hung.verdict, hung.stage) == (Verdict.CAUGHT, Stage.RUN)
    assert hung.reason == "the runtime's process did not end within 2 s and was killed"
    assert studied.honest == dying.HONEST


def test_a_study_that_is_to_end_ends_its_process_and_starts_no_other():
    ending = threading.Event()
    threading.Timer(1.0, ending.set).start()
    with pytest.raises(HarnessError, match="before its time"):
        study.supervised(CELL, Selection(), (), ending, study=dying.hanging)


def test_a_part_of_the_cells_is_taken_once(monkeypatch):
    calls = []

    class Lists(Worker):
        def call(self, function, *arguments, heed):
            calls.append(arguments)
            return dying.HONEST

    monkeypatch.setattr(study, "Worker", Lists)
    study.supervised(CELL, Selection(shard="2/2"), ())
    ((_, selection, *_),) = calls
    assert (selection.keyword, selection.only, selection.shard) == (None, {CELL.id}, None)


def jobs(monkeypatch, *cells, kind=Ready, framework=None, **about):
    runtime = SimpleNamespace(framework=framework)
    about = {"golden": None, "runtime": runtime, **about}
    if kind is Ready:
        about |= {"cases": (), "model": Path("model.onnx")}
    prepared = pipeline.Prepared([kind(cell=cell, **about) for cell in cells])
    monkeypatch.setattr(study.pipeline, "prepare", lambda selection, progress: prepared)


@pytest.mark.parametrize(
    ("about", "error", "message"),
    [
        (
            {"kind": Unavailable, "reason": "keras is not installed"},
            UnavailableError,
            "keras is not installed",
        ),
        ({"kind": Failed, "failure": CheckError("no axis")}, NothingSelectedError, "no axis"),
        ({"framework": "torch"}, UsageError, "runs no graph"),
        ({"declared": False}, UsageError, "no golden of ours, which planted defects need"),
    ],
)
def test_a_cell_that_cannot_be_studied_is_not_passed_over(monkeypatch, about, error, message):
    jobs(monkeypatch, CELL, **about)
    with pytest.raises(error, match=message):
        next(study.run(Selection(), (), 1))


def test_two_files_of_one_cell_are_refused(monkeypatch):
    jobs(monkeypatch, CELL, replace(CELL, exporter="other"), CELL)
    with pytest.raises(UsageError, match="more than once"):
        next(study.run(Selection(), (), 1))


def test_a_fault_of_the_harness_is_no_catch(monkeypatch):
    def prepare(selection, progress):
        raise KeyError("fault")

    monkeypatch.setattr(study.pipeline, "prepare", prepare)
    with pytest.raises(HarnessError, match="cannot be studied"):
        study._study(print, CELL, Selection(), (), ())


def test_every_kind_has_a_name_of_its_own_and_a_sentence():
    defects = study.defects()
    assert len(defects) >= 40
    for kind, defect in defects.items():
        sentence = (defect.__doc__ or "").strip()
        assert sentence.endswith("."), kind
        assert "\n" not in sentence, kind


def test_kinds_are_chosen_by_name_and_glob():
    assert list(study.defects(["gates-swapped"])) == ["gates-swapped"]
    assert all(kind.startswith("wrong-") for kind in study.defects(["wrong-*"]))
    with pytest.raises(UsageError, match="unknown defect 'gate-swapped'"):
        study.defects(["gate-swapped"])
