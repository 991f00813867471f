"""Noise at one step: how large, where, and the same for the same inputs."""

import numpy as np
import pytest
from onnx import helper

from harness.core.schema import TensorSpec
from harness.mutation.defects import noise
from tests.support.mutants import STEPS, Echo, planted, spec, subject

UNIT = {"y": 1e-6, "h": 1e-3}


def where(unit=lambda output, inputs: UNIT[output]):
    described = spec(
        [TensorSpec("x", "float32", STEPS), TensorSpec("g", "float32", ("batch", 2))],
        [TensorSpec("y", "float32", STEPS), TensorSpec("h", "float32", ("batch", 2))],
    )
    nodes = [helper.make_node("Identity", [a], [b]) for a, b in (("x", "y"), ("g", "h"))]
    return subject(nodes, {}, described, unit)


def inputs(length, seed=0):
    draw = np.random.default_rng(seed)
    shapes = {"x": (3, length, 5), "g": (3, 2)}
    return {name: draw.uniform(-1, 1, shape).astype(np.float32) for name, shape in shapes.items()}


def noisy(mutant, values):
    """What a mutant adds to each output."""
    out = dict(mutant.wrap(Echo(y="x", h="g")).run(values))
    return {name: out[name].astype(np.float64) - values[x] for name, x in (("y", "x"), ("h", "g"))}


def test_places_are_the_steps_of_an_output_or_the_output_from_large_to_small():
    mutants = planted(noise.noise_at_one_step, where())
    assert {place for place, _ in mutants} == {"y first step", "y middle step", "y last step", "h"}
    sizes = [size for place, size in mutants if place == "h"]
    assert sizes == [100, 64, 32, 16, 12, 10, 8, 6, 5, 4, 3, 2, 1]


@pytest.mark.parametrize(("position", "step"), [("first", 0), ("middle", 4), ("last", 8)])
def test_one_value_at_the_step_is_off_by_so_many_units(position, step):
    mutants = planted(noise.noise_at_one_step, where())
    for size in (100, 8, 1):
        added = noisy(mutants[f"y {position} step", size], inputs(9))
        assert not added["h"].any()
        (place,) = np.argwhere(added["y"])
        assert place[1] == step
        assert abs(added["y"][tuple(place)]) == pytest.approx(size * UNIT["y"], abs=6e-8)


def test_an_output_without_steps_has_noise_too():
    added = noisy(planted(noise.noise_at_one_step, where())["h", 10], inputs(3))
    assert not added["y"].any()
    assert np.abs(added["h"]).max() == pytest.approx(1e-2, rel=1e-4)
    assert np.count_nonzero(added["h"]) == 1


def test_row_feature_and_sign_vary_with_the_inputs_and_with_nothing_else():
    mutant = planted(noise.noise_at_one_step, where())["y first step", 100]
    drawn = [noisy(mutant, inputs(4, seed))["y"] for seed in range(30)]
    np.testing.assert_array_equal(noisy(mutant, inputs(4, 0))["y"], drawn[0])
    places = {tuple(np.argwhere(added)[0]) for added in drawn}
    assert len({row for row, _, _ in places}) == 3
    assert len({feature for _, _, feature in places}) == 5
    assert {np.sign(added.sum()) for added in drawn} == {-1, 1}


def test_the_inputs_and_the_session_below_are_left_as_they_are():
    values = inputs(4)
    before = {name: value.copy() for name, value in values.items()}
    session = planted(noise.noise_at_one_step, where())["y last step", 100].wrap(Echo(y="x", h="g"))
    session.run(values)
    for name, value in before.items():
        np.testing.assert_array_equal(values[name], value)
    assert session.evidence() == {"version": "1"}


def test_nothing_without_a_unit():
    assert planted(noise.noise_at_one_step, where(unit=None)) == {}
