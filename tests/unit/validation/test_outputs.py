"""harness.validation.outputs: what is kept of a cell, and what is made of it elsewhere."""

import json
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pytest

from harness.core.errors import LoadError, RunError, StageError, UsageError
from harness.core.results import Cell, CellResult, Status
from harness.core.schema import Case, Stage
from harness.goldens.store import read
from harness.validation import plan
from harness.validation.job import Ready
from harness.validation.outputs import manifest as manifests
from harness.validation.outputs import saved, wrapping
from harness.validation.outputs.recorder import Place
from harness.validation.outputs.saved import Absent
from harness.validation.outputs.wrapping import wrapped
from tests.support import doubler, planted
from tests.support.jobs import held, judged, ready

CELL = Cell("doubler", "torch", "file", "fp32", "phone")
PLACE = {"environment": {"machine": "arm64"}, "settings": ""}


@dataclass
class Model:
    """A golden, a file that stands for the model, and a folder of outputs."""

    path: object
    golden: object = field(init=False)

    def __post_init__(self):
        self.golden = read(doubler.record(self.path / "golden"))
        self.file = self.path / "model.onnx"
        self.file.write_bytes(b"any bytes")
        self.place = Place(self.path / "out", PLACE)

    def recorder(self, runtime=planted.CLEAN, cases=None):
        """A runtime whose runs are kept."""
        cases = self.golden.cases if cases is None else cases
        return wrapped(held(runtime, "phone"), CELL, self.golden, cases, self.place)

    def keep(self, runtime=planted.CLEAN):
        """What one cell comes to, run and kept here."""
        job = plan.job(self.selected(model=self.file), held(runtime, "phone"), self.place)
        job = replace(job, model=None) if isinstance(job, Ready) else job
        return wrapping.finished(job, judged(job))

    def load(self, cases=None, **changes):
        """What the outputs come to; ``changes`` are made to what was found."""
        absent = Absent(self.place.root, "phone", None)
        job = plan.job(self.selected(cases), absent)
        return judged(replace(job, runtime=replace(job.runtime, **changes)) if changes else job)

    def selected(self, cases=None, model="no model here"):
        cases = self.golden.cases if cases is None else cases
        return plan.SelectedCell(
            cell=CELL, golden=self.golden, cases=cases, model=model, replay="line"
        )

    def find(self):
        return saved.find(self.place.root, CELL)

    def change(self, edit):
        """Alter what is kept and put its SHA-256 right."""
        path = self.path / "out/doubler/torch/file/fp32/phone/manifest.json"
        manifest = json.loads(path.read_text())
        edit(manifest)
        manifest.pop("sha256")
        manifest["sha256"] = manifests._sha256(manifest)
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
    kept = model.keep(getattr(planted, name))
    reloaded = model.load()
    assert without_times(reloaded) == without_times(kept)
    passes = name in ("CLEAN", "REUSES", "BIG_ENDIAN", "SPOILS")
    assert kept.status is (Status.PASS if passes else Status.FAIL)


def test_a_cell_that_told_no_evidence_does_not_pass_elsewhere(model):
    ran = model.keep(planted.TELLS_NOTHING)
    here = model.load()
    assert ran.reason == "evidence() returned NoneType, expected a mapping"
    assert {case.status for case in ran.cases} == {Status.PASS}
    kept = (here.status, here.stage, here.reason)
    assert kept == (ran.status, ran.stage, ran.reason) == (Status.FAIL, Stage.RUN, kept[2])


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
    cell_runs = model.find()
    case = model.golden.cases[0]
    session = replace(cell_runs, cases=[case], golden=cell_runs.manifest.golden).prepare("")
    outputs = session.run(model.golden.load(case).inputs)
    assert [name for name, _ in outputs] == ["b", "a", "b", ""]
    for (_, value), (_, value_kept) in zip(outputs, kept[0], strict=True):
        assert (value.dtype, value.shape) == (value_kept.dtype, value_kept.shape)
        np.testing.assert_array_equal(value, value_kept)
    assert np.signbit(outputs[3][1][1])


def test_outputs_that_cannot_be_stored_keep_their_verdict(model):
    strings = planted.Runtime(lambda outputs, run: [("y", np.array(["a"])), outputs[1]])
    ran = model.keep(strings)
    reloaded = model.load()
    assert (reloaded.status, ran.status) == (Status.FAIL, Status.FAIL)
    assert (reloaded.stage, ran.stage) == (Stage.COMPARE, Stage.COMPARE)


def test_outputs_that_cannot_be_stored_never_pass(model):
    text = np.array([["a", "bc"]], object)
    case = model.golden.cases[0]
    spells = SimpleNamespace(run=lambda inputs: [("y", text)], evidence=dict)
    runtime = SimpleNamespace(check=bool, version=str, prepare=lambda path: spells)
    session = model.recorder(runtime, [case]).prepare("")
    session.run({"x": text})
    session.evidence()
    sha256 = model.golden.manifest["sha256"]

    def ready():
        return replace(model.find(), cases=[case], golden=sha256).prepare("")

    with pytest.raises(RunError, match="with other inputs: x"):
        ready().run({"x": np.array([["a", "bd"]], object)})
    with pytest.raises(StageError, match="output y is object, which cannot be kept"):
        ready().run({"x": np.array([["a", "".join("bc")]], object)})


def test_what_a_cell_came_to_before_its_first_run_is_kept(model):
    model.keep(planted.Runtime(reason="no such phone"))
    result = model.load()
    assert (result.status, result.stage) == (Status.UNAVAILABLE, Stage.LOAD)
    assert result.reason.endswith("unavailable there: no such phone")


@pytest.mark.parametrize("stage", list(Stage))
@pytest.mark.parametrize("status", [Status.FAIL, Status.ERROR])
def test_a_process_that_died_is_told_as_it_was(model, stage, status):
    lost = CellResult(CELL, status, stage, "died", {"isolation": {"ended": "SIGSEGV"}})
    model.recorder().write_outcome(lost, None)
    result = model.load()
    assert (result.status, result.stage, result.reason) == (status, stage, "died")
    evidence = model.find().evidence()
    assert evidence["isolation"] == {"ended": "SIGSEGV"}


def test_a_model_need_not_be_here_but_if_it_is_it_is_the_one_that_ran(model):
    job = ready(model.golden, None, model.recorder(), CELL)
    session = job.runtime.prepare(str(model.file))
    for case in [*job.cases, *job.again]:
        session.run(model.golden.load(replace(case, repeat=False)).inputs)
    session.evidence()
    assert model.load().status is Status.PASS
    kept = replace(model.find(), golden=model.golden.manifest["sha256"])
    kept.prepare(str(model.file))
    model.file.write_bytes(b"other bytes")
    with pytest.raises(LoadError, match=r"is not the model that ran there: SHA-256 .* there$"):
        kept.prepare(str(model.file))


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


@pytest.mark.parametrize(("number", "text"), [(2, "sequence9-b3-none"), (4, "run again")])
def test_a_case_that_is_not_there_fails_at_the_run(model, number, text):
    model.keep()
    model.change(lambda manifest: manifest["cases"].pop(number))
    result = model.load()
    assert (result.status, result.stage) == (Status.FAIL, Stage.RUN)
    assert "1 of 5 cases" in result.reason
    assert text in result.reason


def test_some_of_the_cases_can_be_judged(model):
    model.keep()
    cases = model.golden.cases
    some = model.load(cases[1:])
    assert (some.status, len(some.cases)) == (Status.PASS, 3)
    first = model.load(cases[:2])
    assert [case.case.repeat for case in first.cases] == [False, False, True]
    more = model.load([*cases, Case({"sequence": 4}, 1)])
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
    ("edit", "message"),
    [
        (lambda text: text.replace("arm64", "arm65"), "was altered"),
        (lambda text: text[:-9], "is not JSON"),
        (lambda text: "[]", "schema 1"),
    ],
)
def test_a_manifest_that_is_not_whole_ends_the_call(model, edit, message):
    model.keep()
    path = model.path / "out/doubler/torch/file/fp32/phone/manifest.json"
    path.write_text(edit(path.read_text()))
    for call in (lambda: model.find(), lambda: list(listed(model))):
        with pytest.raises(UsageError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def listed(model):
    return saved.absent(model.place.root)


def test_a_manifest_of_another_cell_or_without_a_part_is_refused(model):
    model.keep()
    model.change(lambda manifest: manifest["cell"].update(model="other"))
    with pytest.raises(UsageError, match="is of another cell: other/torch/file/fp32/phone"):
        model.find()
    model.change(lambda manifest: manifest.pop("evidence"))
    with pytest.raises(UsageError, match="it has no 'evidence'"):
        model.find()


def put(key, value, *outer):
    def edit(manifest):
        for name in outer:
            manifest = manifest[name]
        manifest[key] = value

    return edit


FIRST = ("cases", 0)
NOTE = {"status": "fail", "stage": "run", "reason": "why"}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (put("cases", 5), r"expected 'array', got 'int' at cases"),
        (put("cases", [7]), r"expected 'object', got 'int' at cases\[0\]"),
        (put("seconds", "x", *FIRST), r"expected 'float', got 'str' at cases\[0\].seconds"),
        (put("seconds", True, *FIRST), r"expected 'float', got 'bool'"),
        (put("repeat", 0, "cases", 1), r"expected 'bool', got 'int' at cases\[1\].repeat"),
        (put("id", None, *FIRST), r"expected 'str', got 'null' at cases\[0\].id"),
        (put("inputs", [], *FIRST), r"expected 'object', got 'array' at cases\[0\].inputs"),
        (put("outputs", [["y"]], *FIRST), r"expected 'array' of length 2, got 1"),
        (put("outputs", [["y", 1]], *FIRST), r"expected 'str', got 'int'"),
        (put("outputs", None, *FIRST), r"cases\[0\] has neither outputs nor a failure"),
        (put("failure", {"status": "fail"}, *FIRST), r"it has no 'stage'"),
        (lambda manifest: manifest["cases"][2].pop("seconds"), "it has no 'seconds'"),
        (put("evidence", None), r"expected 'object', got 'null' at evidence"),
        (put("recorded", None), r"expected 'object', got 'null' at recorded"),
        (put("cell", []), r"expected 'object', got 'array' at cell"),
        (put("model", 1, "cell"), r"expected 'str', got 'int' at cell.model"),
        (put("outcome", "x"), r"expected 'object \| null', got 'str' at outcome"),
        (put("outcome", {**NOTE, "stage": "banana"}), "invalid enum value 'banana'"),
        (put("outcome", {**NOTE, "status": ["fail"]}), "expected 'str', got 'array'"),
        (put("outputs", 7), r"expected 'str', got 'int' at outputs"),
        (put("model", 7), r"expected 'str \| null', got 'int' at model"),
        (put("framework", 7), r"expected 'str \| null', got 'int' at framework"),
        (put("version", None), r"expected 'str', got 'null' at version"),
    ],
)
def test_a_manifest_with_values_of_other_kinds_is_refused_in_one_line(model, edit, message):
    model.keep()
    model.change(edit)
    for call in (lambda: model.find(), lambda: list(listed(model))):
        with pytest.raises(UsageError, match=message) as caught:
            call()
        assert "\n" not in str(caught.value)


def test_an_interrupted_write_leaves_what_was_there(model, monkeypatch):
    model.keep()
    folder = model.path / "out/doubler/torch/file/fp32"
    before = [path.read_bytes() for path in sorted((folder / "phone").iterdir())]
    monkeypatch.setattr(manifests, "MANIFEST", "no/such/folder")
    with pytest.raises(OSError, match="no/such"):
        model.keep(planted.DOUBLES)
    assert [path.read_bytes() for path in sorted((folder / "phone").iterdir())] == before
    assert [path.name for path in folder.iterdir()] == ["phone"]


def test_what_is_not_there_is_said(model):
    assert model.find() is None
    with pytest.raises(UsageError, match="no saved outputs; expected what --save-outputs wrote"):
        listed(model)
    model.keep()
    (runtime,) = listed(model).values()
    assert "holds no outputs of this cell" in runtime.check()
    assert runtime.version() == ""
    with pytest.raises(LoadError, match="holds no outputs"):
        runtime.prepare("")


def test_only_the_cases_are_recorded(model):
    recorder = model.recorder(cases=model.golden.cases[:1])
    session = recorder.prepare("")
    for length in (1, 2, 3):
        session.run({"x": np.ones((1, length, 3), np.float32)})
    session.evidence()
    (run,) = model.find().manifest.cases
    assert [name for name, _ in run.outputs] == ["y", "total"]
    assert (recorder.version(), recorder.check(), recorder.framework) == ("planted", None, None)


def test_what_is_no_session_is_not_recorded(model):
    class Sessionless(planted.Runtime):
        def prepare(self, path):
            return None

    with pytest.raises(LoadError, match="returned NoneType, which has no run"):
        model.recorder(Sessionless()).prepare("")


def test_a_run_that_raises_has_no_outputs(model):
    session = model.recorder(planted.RAISES).prepare("")
    with pytest.raises(RunError, match="own error"):
        session.run({"x": np.ones((1, 1, 3), np.float32)})
    session.evidence()
    assert model.find().manifest.cases[0].outputs is None


def test_a_framework_is_kept_without_a_model_file(model):
    class Twin(planted.Runtime):
        framework = "torch"

    session = model.recorder(Twin()).prepare(str(model.file))
    session.evidence()
    kept = model.find()
    assert (kept.framework, kept.manifest.model) == ("torch", None)
    assert listed(model)["phone"].framework == "torch"
