"""ci.honest: inputs drawn anew, transplanted weights, and the count of alarms."""

from pathlib import Path

import numpy as np
import pytest

from ci.honest import fresh, tally, transplant, variations
from ci.honest.fresh import Draw
from harness.core.errors import UsageError
from harness.core.results import CaseResult, Cell, CellResult, OutputComparison, Status
from harness.core.schema import Case, Raggedness, Stage
from harness.frameworks import FRAMEWORKS
from harness.goldens import store
from harness.recording import reference_model
from harness.runtimes import row
from reference_models import catalog

GOLDEN = Path(__file__).parents[3] / "golden"


def test_a_draw_has_the_lengths_and_the_batch_that_it_says():
    spec = catalog.load("gru_tagger")
    drawn = Draw(1, 9).cases(spec)
    assert {max(case.lengths.values()) for case in drawn} == {*range(1, 10)}
    assert {case.batch for case in drawn} == {1, 2, 3, 5, 16, 17, 33, 64}
    wide = Draw(1, 9, 64).cases(spec)
    assert {case.batch for case in wide} == {64}
    assert len({case.id for case in wide}) == len(wide) < len(drawn)
    assert len({Draw(1, 9).name, Draw(2, 9).name, Draw(1, 8).name, Draw(1, 9, 64).name}) == 4


def test_a_fresh_golden_has_other_inputs_and_a_noise_floor_of_its_own(tmp_path):
    draw = Draw(7, 5, 4)
    fresh.measure("sequence_encoder", "torch", [draw], tmp_path)
    fresh_golden = store.read(tmp_path / draw.name / "sequence_encoder" / "torch")
    source = store.read(GOLDEN / "sequence_encoder" / "torch")
    assert fresh_golden.weights_sha256 == source.weights_sha256
    assert reference_model.check(fresh_golden.folder) <= reference_model.FLOAT64_AGREEMENT
    lengths = {"sequence": 5}
    assert fresh_golden.usual.noise_floor("code", lengths) != source.usual.noise_floor(
        "code", lengths
    )
    case = next(case for case in source.cases if dict(case.lengths) == lengths)
    drawn, recorded = fresh_golden.load(Case(lengths, 4)), source.load(case)
    assert (drawn.inputs["tokens"][:1] != recorded.inputs["tokens"][:1]).any()


def test_every_case_of_every_seed_has_inputs_of_its_own():
    spec = catalog.load("sequence_encoder")
    drawn = [case for seed in (1, 2) for case in fresh._drawn(spec, Draw(seed, 33, 4))]
    texts = [case.inputs["tokens"][0] for case in drawn]
    starts = {tuple(text[:9]) for text in texts if len(text) >= 9}
    assert len(starts) == sum(len(text) >= 9 for text in texts)


def test_a_draw_is_measured_once_for_the_same_golden(tmp_path, monkeypatch):
    called = []
    monkeypatch.setattr(fresh.subprocess, "run", lambda *args, **_: called.append(args[0]))
    draw = Draw(7, 2)
    fresh.ensure(["sequence_encoder"], [draw], tmp_path, lambda text: None)
    assert [command[-1] for command in called] == ["keras", "torch"]
    fresh.measure("sequence_encoder", "torch", [draw], tmp_path)
    called.clear()
    fresh.ensure(["sequence_encoder"], [draw], tmp_path, lambda text: None)
    assert [command[-1] for command in called] == ["keras"]


def parameters(*names):
    rng = np.random.default_rng(len(names))
    return {name: rng.normal(size=4).astype(np.float32) for name in names}


def test_two_biases_become_their_sum_and_one_gets_a_zero_beside_it():
    two = parameters("lstm.kernel", "lstm.bias", "lstm.recurrent_bias")
    summed = transplant.laid_out(two, {"lstm.kernel", "lstm.bias"})
    assert set(summed) == {"lstm.kernel", "lstm.bias"}
    np.testing.assert_array_equal(
        summed["lstm.bias"], two["lstm.bias"] + two["lstm.recurrent_bias"]
    )
    back = transplant.laid_out(summed, set(two))
    np.testing.assert_array_equal(back["lstm.bias"], summed["lstm.bias"])
    np.testing.assert_array_equal(back["lstm.recurrent_bias"], np.zeros(4))
    assert transplant.laid_out(two, set(two)) == two


@pytest.mark.parametrize(
    ("biases", "names", "message"),
    [
        (("lstm.bias", "extra.kernel"), {"lstm.bias"}, "extra.kernel has no place"),
        (("lstm.bias",), {"lstm.bias", "dense.kernel"}, "dense.kernel is not among lstm.bias"),
        (("lstm.recurrent_bias",), {"lstm.kernel"}, "lstm.recurrent_bias has no place"),
    ],
)
def test_weights_of_another_model_are_refused(biases, names, message):
    with pytest.raises(ValueError, match=message):
        transplant.laid_out(parameters(*biases), names)


def test_a_transplanted_golden_is_whole_and_has_the_donors_noise_floors(tmp_path):
    source, host = (store.read(GOLDEN / "sequence_encoder" / f) for f in FRAMEWORKS)
    transplanted = store.read(transplant.write(source, host, tmp_path))
    assert (
        transplanted.folder
        == tmp_path / f"{source.framework}_weights/sequence_encoder/{host.framework}"
    )
    assert transplanted.framework == host.framework
    assert set(transplanted.parameters()) == set(host.parameters())
    assert transplanted.weights_sha256 not in (source.weights_sha256, host.weights_sha256)
    case = source.cases[0]
    assert transplanted.load(case).noise_floor == source.load(case).noise_floor
    np.testing.assert_allclose(
        transplanted.load(case).outputs["code"], source.load(case).outputs["code"], rtol=1e-6
    )


def result(status=Status.PASS, stage=Stage.COMPARE, outputs=(), cases=True):
    case = CaseResult(Case({"t": 7}, 3, Raggedness.LEFT), status, stage, "why", tuple(outputs))
    cell = Cell("m", "keras", "native", "fp32", "ort-cpu")
    return CellResult(cell, status, stage, "why", {}, (case,) if cases else ())


def output(ratio, reason=""):
    return OutputComparison("y", 0, 0, 0, 1e-7, 1e-6, ratio, (0,), 0, reason)


def test_comparisons_and_their_worst_are_counted():
    counted = tally.Tally()
    counted.see("a", result(outputs=[output(0.25), output(0.5)]))
    counted.see("b", result(outputs=[output(0.125)]))
    assert counted.comparisons == 3
    assert counted.alarms == []
    assert counted.variations["a"].worst.ratio == 0.5
    runtime = counted.runtimes["ort-cpu"]
    assert runtime.worst.floors == 0.5 * row("ort-cpu").k
    assert runtime.worst.where == "m/keras/native/fp32/ort-cpu t=7 batch=3 left y (a)"
    assert runtime.over[2] == sum(r * row("ort-cpu").k > 2 for r in (0.25, 0.5, 0.125))
    assert "3 honest comparisons, 0 alarms" in list(counted.lines())[-1]


@pytest.mark.parametrize(
    "bad",
    [
        result(Status.FAIL, outputs=[output(1.5, "too far")]),
        result(Status.FAIL),
        result(Status.FAIL, Stage.LOAD, cases=False),
        result(Status.ERROR, Stage.RUN),
    ],
)
def test_whatever_fails_is_one_alarm(bad):
    counted = tally.Tally()
    counted.see("a", bad)
    assert len(counted.alarms) == counted.variations["a"].alarms == 1
    assert any(line.startswith("ALARM a: m/keras/native") for line in counted.lines())


@pytest.mark.parametrize("status", [Status.XFAIL, Status.UNAVAILABLE])
def test_what_is_expected_to_fail_or_cannot_run_is_not_counted(status):
    counted = tally.Tally()
    counted.see("a", result(status, outputs=[output(9.0, "too far")]))
    assert counted.comparisons == len(counted.alarms) == 0
    assert list(counted.skipped) == ["a: m/keras/native/fp32/ort-cpu"]
    assert any(line.startswith("not counted: a: m/keras") for line in counted.lines())


def test_a_selection_without_two_twins_is_not_every_model():
    assert variations.transplanted(["gru_tagger_reset_before"], lambda text: None) == {}
    with pytest.raises(UsageError, match="unknown model 'gru_taggr'"):
        variations.transplanted(["gru_taggr"], lambda text: None)


def test_every_reference_model_can_be_transplanted():
    for name in catalog.MODELS:
        frameworks = catalog.load(name).frameworks
        if len(frameworks) > 1:
            one, other = (store.read(GOLDEN / name / f).parameters() for f in frameworks)
            assert set(transplant.laid_out(one, set(other))) == set(other)
            assert set(transplant.laid_out(other, set(one))) == set(one)
