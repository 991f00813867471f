"""What is wrong in the graph of a user's own model, at any place, is found by its bundle."""

import json
import shlex
import shutil

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import harness
from harness.goldens import store
from harness.graphs.edit import Edit
from harness.validate import main

pytest.importorskip("torch")
keras = pytest.importorskip("keras")

from tests.support import own_keras, own_torch  # noqa: E402
from tests.support.own_torch import FRAMES, TOKENS  # noqa: E402


def planted(model, defect):
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        value = numpy_helper.to_array(tensor).copy()
        if value.ndim == 3 and value.shape[1:] == (15, 5):
            if defect == "a weight":
                value[0, 2, 2] += 1e-3
            elif defect == "gates":
                value = value[:, [*range(5, 10), *range(5), *range(10, 15)]]
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return changed


@pytest.mark.parametrize("defect", ["a weight", "gates"])
def test_a_defect_in_a_file_is_found_against_the_framework(ship, shipped, tmp_path, defect):
    mine, model = tmp_path / "mine.onnx", own_torch.Net(lambda y, h: y)
    onnx.save(shipped[1], mine)
    assert (shipped[0] / "model.onnx").exists()
    onnx.save(planted(shipped[1], defect), mine)
    folder, report = ship(model, FRAMES, onnx=mine, conforms=False)
    names = {path.name for path in folder.iterdir()}
    assert names == {"rejected.onnx", "golden", "report.json", "report.html", "account.json"}
    stored = json.loads((folder / "report.json").read_text())
    assert stored["summary"]["fail"] == 1
    again = shlex.split(stored["results"][0]["replay"])[3:]
    assert main([*again, "--report-dir", str(tmp_path / "report"), "-q"]) == 1
    assert report.results[0].stage == "check"
    assert report.results[0].reason.startswith("weights: gru.weight_hh_l0 ")
    assert max(o.ratio for case in report.results[0].cases for o in case.outputs) > 10
    judged = harness.validate(str(folder / "rejected.onnx"), golden=folder / "golden")
    assert judged.summary["fail"] == 1
    assert max(o.ratio for case in judged.results[0].cases for o in case.outputs) > 10
    onnx.save(shipped[1], mine)
    folder, _ = ship(model, FRAMES, onnx=mine)
    assert not (folder / "rejected.onnx").exists()


def test_a_mask_that_a_file_ignores_is_found(ship, tmp_path):
    masked = own_keras.bilstm()
    tokens = keras.Input((None,), dtype="int32", name="tokens")
    plain = keras.layers.Embedding(20, 4)(tokens)
    for layer in masked.layers[2:]:
        plain = layer(plain)
    blind = keras.Model(tokens, plain)
    blind.set_weights(masked.get_weights())
    folder, _ = ship(blind, "tokens: in 0..19", lengths=[1, 3, 9])
    shutil.move(folder / "model.onnx", tmp_path / "blind.onnx")
    shutil.rmtree(folder)
    _, report = ship(masked, lengths=[1, 3, 9], onnx=tmp_path / "blind.onnx", conforms=False)
    failed = {c.case.raggedness.value for c in report.results[0].cases if c.status == "fail"}
    assert "none" not in failed
    assert {"right", "left", "gapped"} <= failed


def valid_counts(edit):
    valid = edit.node("Cast", [edit.node("Cast", ["tokens"], to=9)], to=7)
    return edit.reduced("ReduceSum", valid, [1])


def first(edit, tensor, rows=1):
    return edit.part(tensor, 0, rows, 0)


PLACES = {
    "a row longer than the first": lambda e, n: e.node(
        "Greater", [e.reduced("ReduceMax", n), first(e, n)]
    ),
    "a batch beyond 16": lambda e, n: e.node(
        "Greater", [e.size("tokens", 0), e.constant(16, np.int64)]
    ),
    "two empty rows": lambda e, n: e.node(
        "Equal",
        [
            e.reduced("ReduceSum", e.node("Cast", [e.node("Equal", [n, e.constant(0)])], to=7)),
            e.constant(2),
        ],
    ),
    "the highest token": lambda e, n: e.node(
        "Equal", [e.reduced("ReduceMax", "tokens"), e.constant(399)]
    ),
    "an exact zero": lambda e, n: e.node(
        "Equal",
        [
            e.reduced("ReduceMin", e.node("Abs", ["x"])),
            e.constant(0, np.float32),
        ],
    ),
    "more than 257 steps": lambda e, n: e.node(
        "Greater", [e.size("tokens", 1), e.constant(257, np.int64)]
    ),
}


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masked") / "bundle"
    lines = [TOKENS.replace("..19", "..399"), FRAMES]
    report = harness.export(own_torch.Masked().eval(), folder, inputs=lines)
    assert report.conforms
    return folder, report


@pytest.mark.parametrize("place", PLACES)
def test_what_is_wrong_in_one_place_alone_is_found(masked, tmp_path, place):
    folder, _ = masked
    edit = Edit(onnx.load(folder / "model.onnx"))
    wrong = edit.node("Cast", [PLACES[place](edit, valid_counts(edit))], to=1)
    little = edit.node(
        "Mul", [edit.node("ReduceMax", [wrong], keepdims=0), edit.constant(1e-3, "f4")]
    )
    (output,) = edit.graph.output
    edit.rewrite(output.name, lambda kept: edit.node("Add", [kept, little]))
    onnx.save(edit.done(), tmp_path / "wrong.onnx")
    report = harness.validate(str(tmp_path / "wrong.onnx"), golden=folder / "golden")
    failed = [case for case in report.results[0].cases if case.status == "fail"]
    assert 0 < len(failed) < len(report.results[0].cases)


def test_what_the_cases_cover_is_in_the_report_and_on_the_card(masked, tmp_path):
    folder, report = masked
    evidence = report.results[0].evidence
    assert evidence["coverage"]["values"] == {"tokens": [399, 399]}
    assert evidence["decisions"]["count"] >= 2
    assert store.read(folder / "golden").manifest["coverage"] == {"tokens": [399, 399]}
    card = (folder / "MODEL.md").read_text()
    assert "tokens: 399 of 399 values read" in card
    assert "decisions of the graph: " in card
    place = tmp_path / "report"
    assert main([str(folder), "--decisions", "--report-dir", str(place), "-q"]) == 0
    (result,) = json.loads((place / "report.json").read_text())["results"]
    again = result["evidence"]["decisions"]
    assert again == {**evidence["decisions"], "tries": 0}
