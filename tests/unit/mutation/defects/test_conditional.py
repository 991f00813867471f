"""Defects under a condition: the outputs are off where it holds, and exactly right elsewhere."""

from dataclasses import replace

import numpy as np
import pytest

from harness.core.schema import TensorSpec
from harness.mutation.defects import conditional
from tests.support.mutants import STEPS, Echo, Loaded, pair, planted, pointwise, run, spec, tagger


def drawn(batch, length, seed=0):
    return np.random.default_rng(seed).normal(size=(batch, length, 5)).astype(np.float32)


def off(x):
    return x + np.float32(0.01) * np.abs(x).max()


def mutant_of(defect, place="y", where=None):
    return planted(defect, where or pointwise("Identity"))[place]


LENGTHS = [
    (conditional.wrong_beyond_a_length, "y steps > 255", {255: False, 256: True}),
    (conditional.wrong_beyond_a_length, "y steps > 1023", {1023: False, 1024: True}),
    (conditional.wrong_beyond_a_length, "y steps > 4095", {4095: False, 4096: True}),
    (conditional.wrong_at_odd_lengths, "y steps odd", {1: True, 2: False, 7: True, 8: False}),
    (conditional.wrong_at_multiples_of_64, "y steps multiple of 64", {32: 0, 64: 1, 96: 0, 128: 1}),
]


@pytest.mark.parametrize(("defect", "place", "lengths"), LENGTHS)
def test_some_lengths_are_wrong(defect, place, lengths):
    session = Loaded(mutant_of(defect, place).model)
    for length, wrong in lengths.items():
        x = drawn(2, length)
        np.testing.assert_array_equal(dict(session.run({"x": x}))["y"], off(x) if wrong else x)


def test_a_length_that_is_an_input_is_heeded():
    mutants = planted(conditional.wrong_at_odd_lengths, pair())
    assert set(mutants) == {"p steps odd", "q steps odd"}
    a = np.ones((2, 2), np.float32)
    for length, wrong in ((3, True), (4, False)):
        inputs = {"a": a, "b": a, "count": np.array(length, np.int32)}
        outputs = run(mutants["p steps odd"].model, inputs)
        np.testing.assert_array_equal(outputs["p"], off(a + 1) if wrong else a + 1)
        np.testing.assert_array_equal(outputs["q"], 2 * a)


@pytest.mark.parametrize(
    ("defect", "wrong"),
    [(conditional.wrong_for_a_batch_of_one, {1}), (conditional.wrong_for_larger_batches, {2, 3})],
)
def test_some_batches_are_wrong(defect, wrong):
    session = Loaded(mutant_of(defect).model)
    for batch in (1, 2, 3):
        x = drawn(batch, 4)
        expected = off(x) if batch in wrong else x
        np.testing.assert_array_equal(dict(session.run({"x": x}))["y"], expected)


@pytest.mark.parametrize(
    ("defect", "index"),
    [
        (conditional.wrong_in_last_row, np.s_[-1]),
        (conditional.wrong_at_last_step, np.s_[:, -1]),
        (conditional.wrong_at_first_step, np.s_[:, 0]),
    ],
)
def test_one_row_or_step_is_wrong(defect, index):
    session = Loaded(mutant_of(defect).model)
    for batch, length in ((1, 1), (3, 4)):
        x = drawn(batch, length)
        expected = x.copy()
        expected[index] = off(x)[index]
        np.testing.assert_array_equal(dict(session.run({"x": x}))["y"], expected)


def test_an_output_without_steps_has_no_wrong_step():
    for defect in (conditional.wrong_at_first_step, conditional.wrong_at_last_step):
        assert planted(defect, pair()) == {}


@pytest.mark.parametrize("padding", [0, 4])
def test_a_row_of_padding_alone_is_wrong(padding):
    where = tagger()
    where = replace(where, spec=replace(where.spec, padding=padding))
    mutant = mutant_of(conditional.wrong_where_a_row_is_empty, where=where)
    ids = np.array([[1, 2], [padding, padding], [3, padding]], np.int32)
    sound, changed = (run(m, {"ids": ids})["y"] for m in (where.model, mutant.model))
    np.testing.assert_array_equal(changed[[0, 2]], sound[[0, 2]])
    np.testing.assert_allclose(changed[1], (sound + 0.01 * sound.max())[1], rtol=1e-6)
    assert planted(conditional.wrong_where_a_row_is_empty, pointwise("Identity")) == {}


def sessions(defect):
    """Two changed sessions whose output ``y`` is their input ``x``."""
    mutant = mutant_of(defect, "session")
    return [mutant.wrap(Echo(y="x")) for _ in range(2)]


def wrong_runs(session, *inputs):
    """The numbers of the runs that are off."""
    outputs = [dict(session.run({"x": x}))["y"] for x in inputs]
    for x, y in zip(inputs, outputs, strict=True):
        assert np.array_equal(y, x) or np.array_equal(y, off(x))
    return [n for n, (x, y) in enumerate(zip(inputs, outputs, strict=True)) if not (x == y).all()]


def test_the_second_run_of_every_session_is_wrong():
    for session in sessions(conditional.wrong_on_second_run):
        assert wrong_runs(session, *[drawn(1, 3)] * 4) == [1]
        assert session.evidence() == {"version": "1"}


def test_every_third_run_is_wrong():
    for session in sessions(conditional.wrong_in_one_run_of_three):
        assert wrong_runs(session, *[drawn(1, 3)] * 7) == [2, 5]


def test_a_run_after_a_longer_one_is_wrong():
    inputs = [drawn(2, length) for length in (3, 5, 5, 4, 9, 5)]
    for session in sessions(conditional.wrong_after_a_longer_run):
        assert wrong_runs(session, *inputs) == [3, 5]


def test_a_length_that_is_an_input_counts_as_the_length_of_a_run():
    count = TensorSpec("count", "int32", ())
    steps = TensorSpec("y", "float32", STEPS)
    described = spec([count], [steps], lengths={"count": "steps"})
    assert conditional._length(described, {"count": np.array(12, np.int32)}) == 12


def test_the_longest_of_the_rows_counts_as_the_length_of_a_run():
    x = TensorSpec("x", "float32", STEPS)
    counts = TensorSpec("counts", "int32", ("batch",))
    where = pointwise("Identity")
    where = replace(where, spec=spec([x, counts], where.spec.outputs, lengths={"counts": "steps"}))
    session = Echo(y="x")
    spoilt = mutant_of(conditional.wrong_after_a_longer_run, "session", where).wrap(session)
    rows = [np.array([9, 2], np.int32), np.array([3, 4], np.int32)]
    x = drawn(2, 4)
    first, second = (dict(spoilt.run({"x": x, "counts": lens}))["y"] for lens in rows)
    np.testing.assert_array_equal(first, x)
    np.testing.assert_array_equal(second, off(x))


def test_the_run_before_leaks_into_the_next():
    first, second = drawn(2, 3, seed=1), drawn(1, 7, seed=2)
    for session in sessions(conditional.state_of_previous_run_leaks):
        np.testing.assert_array_equal(dict(session.run({"x": first}))["y"], first)
        leak = np.float32(0.01 * np.abs(first).max())
        np.testing.assert_array_equal(dict(session.run({"x": second}))["y"], second + leak)


def test_a_reduction_over_axes_is_valid_where_they_are_an_attribute():
    where = tagger()
    where.model.opset_import[0].version = 17
    ids = np.array([[1, 2], [0, 0]], np.int32)
    sound = run(where.model, {"ids": ids})["y"]
    mutant = mutant_of(conditional.wrong_where_a_row_is_empty, where=where)
    changed = run(mutant.model, {"ids": ids})["y"]
    assert (changed != sound).any((1, 2)).tolist() == [False, True]
