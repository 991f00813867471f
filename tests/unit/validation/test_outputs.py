"""harness.validation.outputs: what is kept of a cell, and what is made of it elsewhere."""

import json
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from harness.core.errors import LoadError, RunError, StageError, UsageError
from harness.core.schema import Case, CaseResult, Cell, CellResult, Stage, Status
from harness.goldens.store import read
from harness.validation import cases as judging
from harness.validation import engine
from harness.validation.job import Work
from harness.validation.outputs import store
from harness.validation.outputs.recorder import Recorder, Run, hashes
from tests.support import doubler, planted

CELL = Cell("doubler", "torch", "file", "fp32", "phone")
PLACE = {"environment": {"machine": "arm64"}, "settings": ""}


@dataclass
class Model:
    """A golden, a file that stands for the model, and a folder of outputs."""

    path: object
    golden: object = field(init=False)

    def __post_init__(self):
        self.golden = read(doubler.record(self.path / "golden"))
        (self.path / "model.onnx").write_bytes(b"any bytes")
        self.place = store.Place(self.path / "out", PLACE)

    def work(self, **given):
        made = Work(CELL, self.golden, self.golden.cases, None, replay="line")
        return replace(made, **given)

    def keep(self, runtime=planted.CLEAN, **given):
        """What one cell comes to, run and kept here."""
        work = self.work(save=self.place, **given)
        (result,) = engine.run([work], {"phone": runtime})
        return result

    def load(self, work=None, **changes):
        """What the outputs come to; ``changes`` are made to what was found."""
        work = work or self.work()
        found = replace(store.find(self.place.folder, CELL), **changes)
        work = replace(work, loaded=found)
        given = {"cases": [*work.cases, *work.again], "golden": work.golden.manifest["sha256"]}
        work = replace(work, loaded=replace(found, **{**given, **changes}))
        (result,) = engine.run([work], {})
        return result

    def change(self, edit):
        """Alter what is kept and put its SHA-256 right."""
        path = self.path / "out/doubler/torch/file/fp32/phone/manifest.json"
        manifest = json.loads(path.read_text())
        edit(manifest)
        manifest["sha256"] = store.sha256(manifest)
        path.write_text(json.dumps(manifest))


@pytest.fixture
def model(tmp_path):
    return Model(tmp_path)


def without_times(result):
    cases = [replace(case, seconds=0.0) for case in result.cases]
    return replace(result, cases=cases, seconds=0.0, evidence={})


@pytest.mark.parametrize(
    "name",
    [
        *("CLEAN", "DOUBLES", "DROPS", "RENAMES", "RETYPES", "TRANSPOSES", "SWAPS"),
        *("LAST_RUN_WRONG", "RAISES", "LOAD_FALLBACK", "SILENT_FALLBACK"),
        *("REUSES", "BIG_ENDIAN", "SPOILS", "NOTHING", "MAPPING", "LISTS"),
    ],
)
def test_kept_outputs_come_to_what_the_runs_came_to(model, name):
    there = model.keep(getattr(planted, name))
    here = model.load()
    assert without_times(here) == without_times(there)
    passes = name in ("CLEAN", "REUSES", "BIG_ENDIAN", "SPOILS")
    assert there.status is (Status.PASS if passes else Status.FAIL)


def test_a_cell_that_told_no_evidence_does_not_pass_elsewhere(model):
    there = model.keep(planted.TELLS_NOTHING)
    here = model.load()
    assert there.reason == "evidence() returned NoneType, expected a mapping"
    assert {case.status for case in there.cases} == {Status.PASS}
    kept = (here.status, here.stage, here.reason)
    assert kept == (there.status, there.stage, there.reason) == (Status.FAIL, Stage.RUN, kept[2])


def test_a_version_that_is_not_told_is_kept_as_unknown(model):
    class Mute(planted.Runtime):
        def version(self):
            raise OSError("no file")

    assert model.keep(Mute()).status is Status.PASS
    assert model.load().evidence["loaded_from"]["version"] == ""


def test_names_order_and_duplicates_are_kept(model):
    kept = []

    class Odd:
        def check(self):
            return None

        def version(self):
            return "1"

        def prepare(self, path):
            return self

        def run(self, inputs):
            kept.append(
                [
                    ("b", np.asfortranarray(np.arange(6.0).reshape(2, 3))),
                    ("a", np.array(7, np.int8)),
                    ("b", np.zeros((0, 2), bool)),
                    ("", np.array([np.nan, -0.0], np.float16)),
                ]
            )
            return kept[-1]

        def evidence(self):
            return {}

    model.keep(Odd())
    found = store.find(model.place.folder, CELL)
    case = model.golden.cases[0]
    session = replace(found, cases=[case], golden=found.manifest["golden"]).prepare("")
    outputs = session.run(model.golden.load(case).inputs)
    assert [name for name, _ in outputs] == ["b", "a", "b", ""]
    for (_, value), (_, given) in zip(outputs, kept[0], strict=True):
        assert (value.dtype, value.shape) == (given.dtype, given.shape)
        np.testing.assert_array_equal(value, given)
    assert np.signbit(outputs[3][1][1])


def test_outputs_that_cannot_be_stored_keep_their_verdict(model):
    strings = planted.Runtime(lambda outputs, run: [("y", np.array(["a"])), outputs[1]])
    there = model.keep(strings)
    here = model.load()
    assert (here.stage, there.stage) == (Stage.COMPARE, Stage.COMPARE)
    assert without_times(here) == without_times(there)


def test_outputs_that_cannot_be_stored_never_pass(model):
    text = np.array([["a", "bc"]], object)
    run = Run(hashes({"x": text}), [("y", text)])
    case = CaseResult(model.golden.cases[0], Status.PASS, Stage.COMPARE)
    result = CellResult(CELL, Status.PASS, Stage.COMPARE, cases=(case,))
    sha256 = model.golden.manifest["sha256"]
    store.write(model.place, result, sha256, None, planted.CLEAN, [run])
    found = store.find(model.place.folder, CELL)
    ready = replace(found, cases=model.golden.cases[:1], golden=sha256).prepare("")
    with pytest.raises(RunError, match="with other inputs: x"):
        ready.run({"x": np.array([["a", "bd"]], object)})
    ready = replace(found, cases=model.golden.cases[:1], golden=sha256).prepare("")
    with pytest.raises(StageError, match="output y is object, which cannot be kept"):
        ready.run({"x": np.array([["a", "".join("bc")]], object)})


def test_what_a_cell_came_to_before_its_first_run_is_kept(model):
    model.keep(planted.Runtime(reason="no such phone"))
    result = model.load()
    assert (result.status, result.stage) == (Status.UNAVAILABLE, Stage.LOAD)
    assert result.reason.endswith("unavailable there: no such phone")


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("status", [Status.FAIL, Status.ERROR])
def test_a_process_that_died_is_told_as_it_was(model, stage, status):
    lost = CellResult(CELL, status, stage, "died", {"isolation": {"ended": "SIGSEGV"}})
    sha256 = model.golden.manifest["sha256"]
    store.write(model.place, lost, sha256, None, planted.CLEAN)
    result = model.load()
    assert (result.status, result.stage, result.reason) == (status, stage, "died")
    evidence = store.find(model.place.folder, CELL).evidence()
    assert evidence["isolation"] == {"ended": "SIGSEGV"}


def test_a_model_need_not_be_here_but_if_it_is_it_is_the_one_that_ran(model):
    file = model.path / "model.onnx"
    work = model.work(save=model.place)
    recorder = Recorder(planted.CLEAN, 5)
    with judging.Beside() as beside:
        result = engine._judge(work, recorder, {}, lambda *_: None, beside)
    sha256 = model.golden.manifest["sha256"]
    store.write(model.place, result, sha256, file, planted.CLEAN, recorder.runs)
    assert model.load().status is Status.PASS
    found = store.find(model.place.folder, CELL)
    ready = replace(found, golden=sha256)
    ready.prepare(str(file))
    file.write_bytes(b"other bytes")
    with pytest.raises(LoadError, match=r"is not the model that ran there: SHA-256 .* there$"):
        ready.prepare(str(file))


def test_another_golden_is_refused(model):
    model.keep()
    result = model.load(golden="0" * 64)
    assert (result.status, result.stage) == (Status.FAIL, Stage.LOAD)
    assert "the golden here is not the one that it ran with" in result.reason


def test_other_inputs_fail_at_the_run_and_are_named(model):
    model.keep()
    model.change(lambda manifest: manifest["cases"][1]["inputs"].update(x="0" * 64))
    result = model.load()
    assert (result.status, result.stage) == (Status.FAIL, Stage.RUN)
    assert result.reason.startswith("1 of 5 cases; first at sequence=4, batch=1")
    assert result.reason.endswith("ran there with other inputs: x")
    model.change(lambda manifest: manifest["cases"][1]["inputs"].clear())
    assert model.load().stage is Stage.RUN


@pytest.mark.parametrize(("number", "told"), [(2, "sequence9-b3-none"), (4, "run again")])
def test_a_case_that_is_not_there_fails_at_the_run(model, number, told):
    model.keep()
    model.change(lambda manifest: manifest["cases"].pop(number))
    result = model.load()
    assert (result.status, result.stage) == (Status.FAIL, Stage.RUN)
    assert "1 of 5 cases" in result.reason
    assert told in result.reason


def test_some_of_the_cases_can_be_judged(model):
    model.keep()
    cases = model.golden.cases
    some = model.load(model.work(cases=cases[1:]))
    assert (some.status, len(some.cases)) == (Status.PASS, 3)
    first = model.load(model.work(cases=cases[:2]))
    assert [case.case.repeat for case in first.cases] == [False, False, True]
    more = model.load(model.work(cases=[*cases, Case({"sequence": 4}, 1)]))
    assert more.status is Status.PASS


def test_outputs_that_were_altered_are_not_judged(model):
    model.keep()
    path = model.path / "out/doubler/torch/file/fp32/phone/outputs.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    result = model.load()
    assert (result.status, result.stage, result.cases) == (Status.FAIL, Stage.LOAD, ())
    assert "was altered" in result.reason
    path.unlink()
    assert "cannot be read" in model.load().reason


def test_a_tensor_that_is_stated_and_not_there_is_told(model):
    model.keep()

    def misnamed(manifest):
        manifest["cases"][0]["outputs"][0][1] = "9/9"

    model.change(misnamed)
    result = model.load()
    assert (result.status, result.stage) == (Status.FAIL, Stage.LOAD)
    assert result.reason.endswith("outputs.safetensors has no tensor 9/9")


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (lambda text: text.replace("arm64", "arm65"), "was altered"),
        (lambda text: text[:-9], "cannot be read"),
        (lambda text: "[]", "schema 1"),
    ],
)
def test_a_manifest_that_is_not_whole_ends_the_call(model, edit, told):
    model.keep()
    path = model.path / "out/doubler/torch/file/fp32/phone/manifest.json"
    path.write_text(edit(path.read_text()))
    for call in (lambda: store.find(model.place.folder, CELL), lambda: list(listed(model))):
        with pytest.raises(UsageError, match=told) as caught:
            call()
        assert "\n" not in str(caught.value)


def listed(model):
    return store.runtimes(model.place.folder)


def test_a_manifest_of_another_cell_or_without_a_part_is_refused(model):
    model.keep()
    model.change(lambda manifest: manifest["cell"].update(model="other"))
    with pytest.raises(UsageError, match="is of another cell: other/torch/file/fp32/phone"):
        store.find(model.place.folder, CELL)
    model.change(lambda manifest: manifest.pop("evidence"))
    with pytest.raises(UsageError, match="is incomplete: no evidence"):
        store.find(model.place.folder, CELL)


def put(key, value, *outer):
    def edit(manifest):
        for name in outer:
            manifest = manifest[name]
        manifest[key] = value

    return edit


FIRST = ("cases", 0)
NOTE = {"status": "fail", "stage": "run", "reason": "why"}


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (put("cases", 5), "cases is 5, expected a list"),
        (put("cases", [7]), r"cases\[0\] is 7, expected an object"),
        (put("seconds", "x", *FIRST), r'cases\[0\].seconds is "x", expected a number'),
        (put("seconds", True, *FIRST), r"cases\[0\].seconds is true, expected a number"),
        (put("repeat", 0, "cases", 1), r"cases\[1\].repeat is 0, expected true or false"),
        (put("id", None, *FIRST), r"cases\[0\].id is null, expected text"),
        (put("inputs", [], *FIRST), r"cases\[0\].inputs is \[\], expected an object"),
        (
            put("outputs", [["y"]], *FIRST),
            r'cases\[0\].outputs\[0\] is \["y"\], expected a list of 2',
        ),
        (put("outputs", [["y", 1]], *FIRST), r"cases\[0\].outputs\[0\] is 1, expected text"),
        (put("outputs", None, *FIRST), r"cases\[0\] has neither outputs nor a failure"),
        (
            put("failure", {"status": "fail"}, *FIRST),
            r"cases\[0\].failure.stage is null, expected one",
        ),
        (lambda manifest: manifest["cases"][2].pop("seconds"), r"cases\[2\].seconds is null"),
        (put("evidence", None), "evidence is null, expected an object"),
        (put("evidence", [1]), r"evidence is \[1\], expected an object"),
        (put("recorded", None), "recorded is null, expected an object"),
        (put("cell", []), r"cell is \[\], expected an object"),
        (put("model", 1, "cell"), "cell.model is 1, expected text"),
        (put("outcome", "x"), 'outcome is "x", expected an object'),
        (
            put("outcome", {**NOTE, "stage": "banana"}),
            'stage is "banana", expected one of: export,',
        ),
        (
            put("outcome", {**NOTE, "status": ["fail"]}),
            r'status is \["fail"\], expected one of: pass,',
        ),
        (put("outputs", 7), "outputs is 7, expected text"),
        (put("model", 7), "model is 7, expected text"),
        (put("framework", 7), "framework is 7, expected text"),
        (put("version", None), "version is null, expected text"),
    ],
)
def test_a_manifest_with_values_of_other_kinds_is_refused_in_one_line(model, edit, told):
    model.keep()
    model.change(edit)
    for call in (lambda: store.find(model.place.folder, CELL), lambda: list(listed(model))):
        with pytest.raises(UsageError, match=told) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_an_interrupted_write_leaves_what_was_there(model, monkeypatch):
    model.keep()
    folder = model.path / "out/doubler/torch/file/fp32"
    before = [path.read_bytes() for path in sorted((folder / "phone").iterdir())]
    monkeypatch.setattr(store, "MANIFEST", "no/such/folder")
    with pytest.raises(OSError, match="no/such"):
        model.keep(planted.DOUBLES)
    assert [path.read_bytes() for path in sorted((folder / "phone").iterdir())] == before
    assert [path.name for path in folder.iterdir()] == ["phone"]


def test_what_is_not_there_is_said(model):
    assert store.find(model.place.folder, CELL) is None
    with pytest.raises(UsageError, match="no saved outputs; expected what --save-outputs wrote"):
        listed(model)
    model.keep()
    (runtime,) = listed(model).values()
    assert "holds no outputs of this cell" in runtime.check()
    assert runtime.version() == ""
    with pytest.raises(LoadError, match="holds no outputs"):
        runtime.prepare("")


def test_only_the_cases_of_the_first_session_are_recorded():
    recorder = Recorder(planted.CLEAN, 2)
    session = recorder.prepare("")
    for length in (1, 2, 3):
        session.run({"x": np.ones((1, length, 3), np.float32)})
    recorder.prepare("").run({"x": np.ones((1, 4, 3), np.float32)})
    assert [run.outputs[0][1].shape for run in recorder.runs] == [(1, 1, 3), (1, 2, 3)]
    assert len({run.inputs["x"] for run in recorder.runs}) == 2
    assert (recorder.version(), recorder.check(), recorder.framework) == ("planted", None, None)


def test_what_is_no_session_is_not_recorded():
    class Sessionless(planted.Runtime):
        def prepare(self, path):
            return None

    with pytest.raises(LoadError, match="returned NoneType, which has no run"):
        Recorder(Sessionless(), 2).prepare("")


def test_a_run_that_raises_has_no_outputs():
    recorder = Recorder(planted.RAISES, 2)
    with pytest.raises(RunError, match="own error"):
        recorder.prepare("").run({"x": np.ones((1, 1, 3), np.float32)})
    assert recorder.runs[0].outputs is None


def test_a_framework_is_kept_without_a_model_file(model):
    class Twin(planted.Runtime):
        framework = "torch"

    (result,) = engine.run([model.work()], {"phone": Twin()})
    sha256 = model.golden.manifest["sha256"]
    store.write(model.place, result, sha256, model.path / "model.onnx", Twin())
    found = store.find(model.place.folder, CELL)
    assert (found.framework, found.manifest["model"]) == ("torch", None)
    assert listed(model)["phone"].framework == "torch"
