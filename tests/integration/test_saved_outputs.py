"""``validate --save-outputs`` on one machine and ``--load-outputs`` on another."""

import json
import shlex
import shutil
from pathlib import Path

import onnx
import pytest

from harness import runtimes
from harness.commands.run import ended
from harness.exporting import bundle
from harness.exporting import key as keys
from harness.goldens import store
from harness.validate import main
from tests.support import doubler, planted_crashes

ROOT = Path(__file__).parents[2]
CELL = "doubler/torch/file/fp32"


@pytest.fixture
def call(tmp_path, capsys, monkeypatch):
    """``validate`` of the doubler in this process: its exit code, its results, what it said."""
    for name, target in {
        "phone": "tests.support.planted:CLEAN",
        "wrong": "tests.support.planted:LAST_RUN_WRONG",
        "absent": "tests.support.planted:ABSENT",
        "dies": planted_crashes.TARGETS["segfaults"],
    }.items():
        monkeypatch.setitem(runtimes.RUNTIMES, name, target)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    doubler.record(tmp_path / "golden")
    onnx.save(doubler.graph(), tmp_path / "model.onnx")
    monkeypatch.chdir(tmp_path)

    def run(*flags, subject=("model.onnx", "--golden", "golden")):
        arguments = [*subject, "--report-dir", "report", "--json", *map(str, flags)]
        code = ended(main, arguments)
        out, err = capsys.readouterr()
        return code, json.loads(out)["results"] if out else [], err

    return run


def judged(results):
    """What a report says of the runs, without times and places."""
    cases = [[{**case, "seconds": 0} for case in result["cases"]] for result in results]
    fields = ("id", "status", "stage")
    return [{k: r[k] for k in fields} | {"cases": c} for r, c in zip(results, cases, strict=True)]


def test_another_machine_judges_what_this_one_ran(call, monkeypatch):
    shutil.copy("model.onnx", "bad.onnx")
    subject = ("bad.onnx", "--golden", "golden")
    names = "phone,wrong,absent,dies,ort-cpu"
    code, ran, _ = call("--runtime", names, "--save-outputs", "out", subject=subject)
    assert code == 1
    for name in ("phone", "wrong", "absent", "dies"):
        monkeypatch.delitem(runtimes.RUNTIMES, name)
    code, here, _ = call("--load-outputs", "out", subject=subject)
    assert code == 1
    by_id = {result["id"]: result for result in here}
    lost = by_id.pop(f"{CELL}/dies")
    alive = [result for result in ran if not result["id"].endswith("dies")]
    assert {r["id"]: r["status"] for r in here} == {r["id"]: r["status"] for r in ran}
    for result in alive:
        assert judged([by_id[result["id"]]]) == judged([result])
    assert (lost["status"], lost["stage"]) == ("error", "run")
    assert "SIGSEGV" in lost["reason"]
    assert "isolation" in lost["evidence"]
    phone = by_id[f"{CELL}/phone"]
    loaded = phone["evidence"]["loaded_from"]
    assert loaded["folder"] == f"out/{CELL}/phone"
    assert loaded["environment"]["python"]
    assert loaded["model"] == bundle.sha256(Path("model.onnx"))
    assert loaded["golden"] == store.read(Path("golden")).manifest["sha256"]
    assert phone["evidence"]["version"] == "planted"
    assert phone["evidence"]["tolerance"] == {"row": "phone", "k": 4.0, "reason": "the default"}
    assert phone["replay"].endswith("--runtime phone --load-outputs out")
    assert by_id[f"{CELL}/absent"]["evidence"]["loaded_from"]


def test_the_replay_of_a_loaded_cell_judges_it_again(call, monkeypatch):
    call("--runtime", "phone,wrong", "--save-outputs", "out dir")
    monkeypatch.delitem(runtimes.RUNTIMES, "phone")
    _, (result, _), _ = call("--load-outputs", "out dir")
    words = shlex.split(result["replay"])[3:]
    code, (again,), _ = call(subject=words)
    assert code == 0
    assert judged([again]) == judged([result])


def test_workers_and_children_keep_the_same(call):
    call("--runtime", "phone,ort-cpu", "--save-outputs", "one")
    call("--runtime", "phone,ort-cpu", "--save-outputs", "two", "--workers", "2")
    call("--runtime", "phone,ort-cpu", "--save-outputs", "three", "--isolate")
    kept = [contents(folder) for folder in ("one", "two", "three")]
    assert kept[0] == kept[1] == kept[2]
    _, serial, _ = call("--load-outputs", "one")
    _, parallel, _ = call("--load-outputs", "two", "--workers", "2")
    assert judged(serial) == judged(parallel)


def contents(folder):
    """Every manifest and file of outputs, without times."""
    files = {}
    for path in sorted(Path(folder).rglob("*.*")):
        if path.suffix != ".json":
            files[str(path.relative_to(folder))] = path.read_bytes()
            continue
        manifest = json.loads(path.read_text())
        manifest.pop("sha256")
        for case in manifest["cases"]:
            case.pop("seconds")
        files[str(path.relative_to(folder))] = manifest
    return files


def test_a_bundle_can_be_run_elsewhere(call, tmp_path):
    about = {"key": {}, "exporter": "native", "variant": "fp32", "example": {"batch": 2}}
    bundle.write(tmp_path / "b", doubler.graph().SerializeToString(), about, tmp_path / "golden")
    code, ran, _ = call("--save-outputs", "out", subject=["./b"])
    assert (code, ran[0]["id"]) == (0, "doubler/torch/native/fp32/ort-cpu")
    code, loaded, _ = call("--load-outputs", "out", subject=["./b"])
    assert code == 0
    assert judged(loaded) == judged(ran)


def test_a_reference_model_that_cannot_be_exported_here_is_judged(call, tmp_path, monkeypatch):
    call_there = ["streaming_classifier", "--framework", "torch", "--golden", str(ROOT / "golden")]
    call_there += ["--artifacts", str(ROOT / "build/artifacts"), "--lengths", "1..7"]
    code, ran, _ = call("--save-outputs", "out", subject=call_there)
    assert code == 0, ran
    monkeypatch.setattr(keys, "installed_versions", lambda framework: {})
    call_here = [*call_there, "--artifacts", "nowhere"]
    code, live, _ = call(subject=call_here)
    assert (code, live[0]["status"]) == (4, "unavailable")
    code, loaded, _ = call("--load-outputs", "out", subject=call_here)
    assert code == 0
    assert judged(loaded) == judged(ran)
    assert "lint" not in loaded[0]["evidence"]


def damage_model(tmp_path):
    onnx.save(doubler.graph(constants={"unused": 1.0}), tmp_path / "model.onnx")


def damage_golden(tmp_path):
    golden_cases = doubler.recorded()
    for case in golden_cases:
        case.noise["y"] = 1e-5
    about = {"model": "doubler", "framework": "torch", "seed": 1, "training": {}}
    store.write(
        tmp_path / "golden", doubler.SPEC, {"two": golden_cases[0].inputs["x"]}, golden_cases, about
    )


def damage_outputs(tmp_path):
    path = tmp_path / "out" / CELL / "ort-cpu/outputs.safetensors"
    path.write_bytes(path.read_bytes()[:-4])


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_model, "model.onnx is not the model that ran there"),
        (damage_golden, "the golden here is not the one that it ran with"),
        (damage_outputs, "was altered: its SHA-256 is another"),
    ],
)
def test_what_does_not_match_is_one_line_and_no_pass(call, tmp_path, damage, message):
    call("--save-outputs", "out")
    damage(tmp_path)
    code, (result,), _ = call("--load-outputs", "out")
    assert (code, result["status"], result["stage"]) == (1, "fail", "load")
    assert message in result["reason"]
    assert "\n" not in result["reason"]


def test_cases_that_were_not_run_there_fail_and_cells_are_unavailable(call):
    call("--save-outputs", "out", "--lengths", "1,4")
    code, (result,), _ = call("--load-outputs", "out")
    assert (code, result["status"], result["stage"]) == (1, "fail", "run")
    assert "2 of 5 cases" in result["reason"]
    assert "has no outputs of case sequence9-b3-none" in result["reason"]
    shutil.copytree(f"out/{CELL}/ort-cpu", "out/other/torch/file/fp32/tablet")
    code, results, _ = call("--load-outputs", "out", "--lengths", "1,4")
    assert code == 0
    assert [result["status"] for result in results] == ["pass", "unavailable"]
    assert results[1]["reason"] == "out holds no outputs of this cell"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--load-outputs", "golden"], "golden: no saved outputs"),
        (["--load-outputs", "nowhere"], "nowhere: no saved outputs"),
        (["--load-outputs", "out", "--save-outputs", "new"], "is saved already"),
        (["--load-outputs", "out", "--relation", "run-twice"], "--relation run-twice needs new"),
        (["--load-outputs", "out", "--optimization", "basic"], "--optimization basic: --load-"),
        (["--load-outputs", "out", "--runtime", "ort-cuda"], "'ort-cuda'"),
        (["--load-outputs", "out", "--require", "ort-cuda"], "'ort-cuda'"),
        (["--save-outputs", "model.onnx"], "model.onnx"),
        (["--save-outputs", "model.onnx/x"], "model.onnx"),
        (["--save-outputs", "new", "./model.onnx"], "more than one subject has the cell"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(call, tmp_path, flags, message):
    call("--save-outputs", "out")
    shutil.rmtree("report")
    code, results, said = call(*flags)
    assert (code, results) == (2, []), said
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "report").exists()
    assert not (tmp_path / "new").exists()


def test_relations_do_not_disturb_what_is_kept(call):
    call("--save-outputs", "plain")
    code, ran, _ = call("--save-outputs", "related", "--relation", "all")
    assert code == 0
    assert any(case["relation"] for case in ran[0]["cases"])
    assert contents("plain") == contents("related")
