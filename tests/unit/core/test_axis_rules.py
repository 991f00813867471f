"""Lengths that follow what is described of their axes."""

import pytest

from harness.core.axis_rules import AxisRule, fitted

WANTED = range(1, 700)


@pytest.mark.parametrize(
    "rule",
    [AxisRule(4), AxisRule(1, 8, 512), AxisRule(4, 10, 99), AxisRule(1, 5, 5), AxisRule(3, 7)],
)
def test_every_length_is_one_of_the_rule(rule):
    lengths = {rule.fitted(length) for length in WANTED}
    allowed = {
        n for n in range(1, 800) if n % rule.multiple == 0 and rule.least <= n <= (rule.most or 800)
    }
    assert lengths <= allowed
    if rule.most:
        assert lengths == allowed, "all of a range are reached"
    assert {*rule.lengths([1, 2])} <= allowed


def test_a_length_that_follows_the_rule_stays():
    assert [AxisRule(4, 8, 64).fitted(n) for n in (8, 12, 64)] == [8, 12, 64]


@pytest.mark.parametrize(
    "rule", [AxisRule(4), AxisRule(1, 8, 512), AxisRule(4, 10, 99), AxisRule(1, 5, 5)]
)
def test_the_lengths_nearby_are_the_nearest_that_follow_the_rule(rule):
    held = [n for n in range(1, 700) if rule.holds(n)]
    for length in range(1, 600):
        below, above = [n for n in held if n <= length], [n for n in held if n >= length]
        assert rule.near(length) == sorted({*below[-1:], *above[:1]})


def test_axes_that_follow_from_others():
    rules = {
        "time": AxisRule(multiple=4),
        "frames": AxisRule(terms={"time": 2}, plus=1),
        "total": AxisRule(terms={"past": 1, "time": 1}),
    }
    assert fitted(rules, {"time": 5, "past": 3}) == {
        "time": 8,
        "past": 3,
        "frames": 17,
        "total": 11,
    }
