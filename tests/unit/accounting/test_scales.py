"""A number beside a root of a size: what honest exports compute is left, what is off is told."""

import math

import numpy as np
import pytest

from harness.accounting import scales

SIZES = {8, 24, 64, 96, 384, 768}
HEADS = (2, 3, 4, 7, 8, 12, 16, 24, 32, 48, 64, 80, 96, 128, 192, 256, 512, 768)


@pytest.mark.parametrize("size", HEADS)
def test_a_root_by_any_way_is_left(size):
    n, one = np.float32(size), np.float32(1)
    honest = [size**-0.5, size**0.5, size**-0.25, size**0.25]
    honest += [one / np.sqrt(n), np.sqrt(one / n), np.power(n, np.float32(-0.5))]
    honest += [np.sqrt(one / np.sqrt(n)), np.sqrt(np.float32(1 / math.sqrt(size)))]
    honest += [float(f"{size**-0.5:.7g}"), round(size**-0.5, 8)]
    for number in honest:
        assert scales.off(np.float32(number), {size}) == ""
        assert scales.off(np.float32([[number]]), {size, 2 * size}) == ""


@pytest.mark.parametrize(
    ("size", "power"),
    [(8, -0.25), (8, 0.5), (64, -0.5), (128, -0.25), (768, -0.5), (768, 0.25), (96, -0.25)],
)
@pytest.mark.parametrize("toward", [0, 9])
def test_the_next_float32_is_told_with_what_it_should_be(size, power, toward):
    moved = np.nextafter(np.float32(size**power), np.float32(toward))
    known = {value for _, _, values in scales.ways(size) for value in values}
    text, doubt = scales.off(moved, {size}), scales.doubtful(moved, {size})
    assert (text == "") == (moved in known or doubt is not None)
    assert not text or "an ULP beside" in text


def test_the_factor_of_an_attention_is_told_one_ulp_off():
    moved = np.nextafter(np.float32(8**-0.25), np.float32(9))
    assert scales.off(moved, {16}) == "is 0.594603598, an ULP beside 1/∜8 = 0.594603539"


@pytest.mark.parametrize(
    "number",
    [0.1, 1e-5, 0.044715, math.sqrt(2 / math.pi), 10000.0, 1 - np.float32(0.9), -8**-0.5, 0.0,
     np.nan, np.inf, 1.0, 1.0000001, 0.35356, 8.000001, 0.1428572],
)  # fmt: skip
def test_other_numbers_are_left(number):
    assert scales.off(np.float32(number), SIZES | {10, 49, 100, 1000, 10000}) == ""


def test_what_is_no_single_float32_is_left():
    moved = np.nextafter(np.float32(0.125), np.float32(9))
    assert scales.off(moved, SIZES)
    assert scales.off(np.float64(moved), SIZES) == ""
    assert scales.off(np.full(2, moved), SIZES) == ""
    assert scales.off(moved, {7, 11}) == ""
    assert scales.off(moved, set()) == ""
