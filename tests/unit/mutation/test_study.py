import multiprocessing
import threading
import time
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
from harness.core.schema import Cell, Stage
from harness.mutation import peers, study
from harness.mutation.trial import Verdict
from harness.validation.selection import Selection
from tests.support import dying

CELL = Cell("model", "torch", "native", "fp32", "ort-cpu")


def test_a_mutant_that_ends_its_process_is_caught_and_the_rest_goes_on():
    found = study._supervised(CELL, Selection(), (), dying.child)
    deadly, harmless = found.trials
    assert (deadly.verdict, deadly.stage) == (Verdict.CAUGHT, Stage.RUN)
    assert "SIGABRT" in deadly.reason
    assert deadly.reason.endswith("last line")
    assert deadly.peers == {peer.name: True for peer in peers.PEERS}
    assert harmless == dying.HARMLESS
    assert found.honest == dying.HONEST


def test_a_mutant_that_ends_only_the_referee_is_missed():
    passed = replace(dying.DEADLY, reason="every case passes", peers={"optimum": False})
    died = study._died(passed, "was ended by SIGABRT")
    assert (died.verdict, died.peers) == (Verdict.MISSED, {"optimum": False})
    assert died.reason == "every case passes; in exact arithmetic its process was ended by SIGABRT"


def test_a_process_that_ends_by_itself_is_an_error():
    with pytest.raises(HarnessError, match="exit code 9"):
        study._supervised(CELL, Selection(), (), dying.at_once)


def test_a_study_that_is_to_end_ends_its_process_and_starts_no_other():
    stop = threading.Event()
    threading.Timer(1.0, stop.set).start()
    started = time.monotonic()
    with pytest.raises(HarnessError, match="before its time"):
        study._supervised(CELL, Selection(), (), dying.hanging, stop=stop)
    assert time.monotonic() - started < 300
    for child in multiprocessing.active_children():
        child.join(300)
    assert not multiprocessing.active_children()


def test_a_part_of_the_cells_is_taken_once(monkeypatch):
    given = []
    monkeypatch.setattr(study, "_in_child", lambda target, trials, task, *rest: given.append(task))
    with pytest.raises(TypeError):
        study._supervised(CELL, Selection(shard="2/2"), ())
    ((_, selection, _),) = given
    assert (selection.keyword, selection.shard) == (CELL.id, None)


def works(monkeypatch, *cells, runtime=None, **about):
    about = {"model": Path("model.onnx"), "unavailable": None, "failure": None} | about
    runtime = runtime or SimpleNamespace(check=lambda: None)
    prepared = SimpleNamespace(
        works=[SimpleNamespace(cell=cell, **about) for cell in cells],
        runtimes={CELL.runtime: runtime},
    )
    monkeypatch.setattr(study.validation, "prepare", lambda selection, progress: prepared)


@pytest.mark.parametrize(
    ("about", "error", "told"),
    [
        ({"unavailable": "keras is not installed"}, UnavailableError, "keras is not installed"),
        ({"model": None, "failure": CheckError("no axis")}, NothingSelectedError, "no axis"),
        ({"runtime": SimpleNamespace(check=lambda: "no GPU")}, UnavailableError, "no GPU"),
        (
            {"runtime": SimpleNamespace(check=lambda: 5)},
            UnavailableError,
            r"check\(\) returned int",
        ),
        ({"runtime": SimpleNamespace(framework="torch")}, UsageError, "runs no graph"),
    ],
)
def test_a_cell_that_cannot_be_studied_is_not_passed_over(monkeypatch, about, error, told):
    works(monkeypatch, CELL, **about)
    with pytest.raises(error, match=told):
        next(study.run(Selection(), (), 1))


def test_two_files_of_one_cell_are_refused(monkeypatch):
    works(monkeypatch, CELL, replace(CELL, exporter="other"), CELL)
    with pytest.raises(UsageError, match="more than once"):
        next(study.run(Selection(), (), 1))


@pytest.mark.parametrize("fault", [KeyError("fault"), KeyboardInterrupt("fault")])
def test_a_fault_of_the_harness_is_no_catch(monkeypatch, tmp_path, fault):
    def prepare(selection, progress):
        raise fault

    sent = []
    monkeypatch.setattr(study.validation, "prepare", prepare)
    monkeypatch.setattr(study.os, "dup2", lambda *_: None)
    pipe = SimpleNamespace(send=sent.append)
    study._child(CELL, Selection(), (), (), pipe, tmp_path / "log")
    (error,) = sent
    assert isinstance(error, HarnessError)
    assert "cannot be studied" in str(error)


def test_every_kind_has_a_name_of_its_own_and_a_sentence():
    found = study.defects()
    assert len(found) >= 40
    for kind, defect in found.items():
        sentence = (defect.__doc__ or "").strip()
        assert sentence.endswith("."), kind
        assert "\n" not in sentence, kind


def test_kinds_are_chosen_by_name_and_glob():
    assert list(study.defects(["gates-swapped"])) == ["gates-swapped"]
    assert all(kind.startswith("wrong-") for kind in study.defects(["wrong-*"]))
    with pytest.raises(UsageError, match="unknown defect 'gate-swapped'"):
        study.defects(["gate-swapped"])
