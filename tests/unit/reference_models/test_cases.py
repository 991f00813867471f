import numpy as np
import pytest

from harness.core.schema import Raggedness, RowLengths
from reference_models import cases, catalog

SPECS = [catalog.load(name) for name in catalog.MODELS]


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
def test_the_plan_covers_lengths_batches_and_raggedness(spec):
    plan = cases.plan(spec)
    assert len({case.id for case in plan}) == len(plan)
    axes = cases.free_axes(spec)
    most = min([rule.most for rule in spec.rules.values() if rule.most], default=4096)
    for axis in axes:
        lengths = {case.lengths[axis] for case in plan}
        assert len(lengths) >= (40 if len(axes) == 1 else 20)
        assert (min(lengths), max(lengths)) == (1, most) or len(axes) == 2
    longest = {max(case.lengths[axis] for axis in axes) for case in plan}
    assert len(longest) >= 40
    assert max(longest) == most
    assert all(spec.fitted(case.lengths) == case.lengths for case in plan)
    assert len({case.batch for case in plan}) >= 3
    if len(axes) == 2:
        unequal = [case for case in plan if len({case.lengths[axis] for axis in axes}) == 2]
        assert len(unequal) >= 40
    if spec.padded:
        assert {case.raggedness for case in plan} == set(Raggedness)
        for kind in Raggedness:
            assert len([c for c in plan if c.raggedness is kind]) >= 8


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
def test_an_axis_is_empty_where_its_rule_allows_it_and_nowhere_else(spec):
    plan = cases.plan(spec)
    for axis in spec.axes:
        empty = [case for case in plan if case.lengths[axis] == 0]
        allowed = axis in spec.rules and not spec.rules[axis].terms and spec.rules[axis].least == 0
        assert len({case.batch for case in empty}) >= 3 if allowed else not empty


TWO_LENGTHS = [s for s in SPECS if len(cases.free_axes(s)) == 2]


@pytest.mark.parametrize("spec", [s for s in TWO_LENGTHS if s.padded], ids=lambda s: s.name)
def test_every_raggedness_of_one_of_two_lengths_comes_at_many(spec):
    axis = next(t for t in spec.inputs if t.name == spec.padded).axes[1]
    for kind in Raggedness:
        ragged = [case for case in cases.plan(spec) if case.raggedness is kind]
        assert len({case.lengths[axis] for case in ragged}) >= 8
        assert max(case.lengths[axis] for case in ragged) >= 1000
        other = {n for case in ragged for a, n in case.lengths.items() if a != axis}
        assert len(other) >= 5


def test_two_lengths_without_padding_are_never_ragged():
    plain = [spec for spec in TWO_LENGTHS if spec.padded is None]
    assert plain
    for case in (case for spec in plain for case in cases.plan(spec)):
        assert case.raggedness is Raggedness.NONE


@pytest.mark.parametrize("spec", [s for s in SPECS if s.padded], ids=lambda s: s.name)
def test_ragged_inputs_are_what_their_case_says(spec):
    for case in (c for c in cases.plan(spec) if max(c.lengths.values()) <= 64):
        valid = cases.drawn(spec, case, 1)[1][spec.padded] != 0
        steps = np.arange(valid.shape[1])
        count = valid.sum(axis=1, keepdims=True)
        if case.raggedness is Raggedness.NONE:
            assert valid.all()
        elif case.raggedness is Raggedness.EMPTY:
            assert (count == 0).any()
            assert (valid == (steps < count)).all()
        elif case.raggedness is Raggedness.LEFT:
            assert not valid.all()
            assert (valid == (steps >= valid.shape[1] - count)).all()
        elif case.raggedness is Raggedness.RIGHT:
            assert not valid.all()
            assert (valid == (steps < count)).all()
        else:
            assert not valid.all()


def drawn(spec, framework="torch"):
    """Return the inputs of every case of production's kinds, as recording draws them."""
    plan = [c for c in cases.plan(spec) if c.batch > 16 or c.draw or c.rows is not RowLengths.FIRST]
    seeds = [cases.seed_of(f"{spec.name}/{framework}/{case.id}") for case in plan]
    return [cases.drawn(spec, *pair)[1] for pair in zip(plan, seeds, strict=True)]


@pytest.mark.parametrize("framework", ["keras", "torch"])
@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
def test_some_batches_are_large_and_some_values_at_the_ends_of_their_range(spec, framework):
    plan = cases.plan(spec)
    assert max(case.batch for case in plan) >= 17
    apart = {*spec.lengths, *spec.masks}
    for tensor in (t for t in spec.inputs if t.name not in apart):
        values = [inputs[tensor.name] for inputs in drawn(spec, framework)]
        for end in cases.ends(tensor):
            assert any((value == np.asarray(end, tensor.dtype)).any() for value in values)
        if tensor.step_axis == 1:
            flat = [value.reshape(*value.shape[:2], -1).any(axis=2) for value in values]
            assert any(
                (
                    (value[:, 1:] == value[:, :-1]).reshape(*valid[:, 1:].shape, -1).all(2)
                    & valid[:, 1:]
                ).any()
                for value, valid in zip(values, flat, strict=True)
            )


@pytest.mark.parametrize("spec", [s for s in SPECS if s.padded], ids=lambda s: s.name)
def test_rows_are_as_long_as_production_has_them(spec):
    found = set()
    for inputs in drawn(spec):
        valid = inputs[spec.padded] != 0
        counts, steps = valid.sum(axis=1).tolist(), valid.shape[1]
        padded = [count for count in counts if 0 < count < steps]
        found |= {"full beside padded"} if steps in counts and min(counts) < steps else set()
        found |= {"first shorter"} if counts[0] < max(counts) else set()
        found |= {"later empty"} if 0 in counts[1:] else set()
        found |= {"two empty"} if counts.count(0) > 1 else set()
        found |= {"equally long"} if len(padded) > len(set(padded)) else set()
        found |= (
            {"sorted"} if counts == sorted(counts, reverse=True) and min(counts) < steps else set()
        )
    assert len(found) == 6


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
def test_a_golden_holds_few_values_of_a_large_batch(spec):
    for case in (c for c in cases.plan(spec) if c.batch > 17):
        outputs = [t.shape(case.batch, case.lengths) for t in spec.outputs]
        assert sum(map(np.prod, outputs)) <= cases.OUTPUT_VALUES or case.longest > cases.ALL_STEPS


@pytest.mark.parametrize("steps", [1, 2, 8, 9, 10, 17, 100, 4096])
def test_kept_steps_hold_both_ends(steps):
    kept = cases.kept_steps(steps, 5)
    if steps <= cases.ALL_STEPS:
        assert kept is None
        return
    assert kept[0] == 0
    assert kept[-2:].tolist() == [steps - 2, steps - 1]
    assert len(kept) <= cases.KEPT_STEPS
    assert (np.diff(kept) > 0).all()
    assert len(kept) >= min(cases.KEPT_STEPS, 5)


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
def test_steps_are_kept_of_the_axis_that_the_outputs_have(spec):
    for case in cases.plan(spec):
        steps = cases.output_steps(spec, case)
        stepped = [t for t in spec.outputs if t.step_axis is not None]
        fixed = [t.axes[t.step_axis] for t in stepped]
        assert steps in (*case.lengths.values(), *fixed)
        for tensor in stepped:
            assert steps <= tensor.shape(case.batch, case.lengths)[tensor.step_axis]
        assert stepped or steps == max(case.lengths.values())
