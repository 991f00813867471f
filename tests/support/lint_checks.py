"""What the lint has to say of a graph."""

from __future__ import annotations

from harness.graphs.inference import gather
from harness.linting import RULES, linter


def findings(graph, example):
    return linter.run(gather(graph, example))


def expect_planted(rule, severity, place, text, graph, example):
    """One finding of the rule has this severity, this place and this text."""
    every = findings(graph, example)
    listing = "\n".join(f"{each.severity} {each}" for each in every)
    match = [f for f in every if f.rule == rule and place in f.place and text in f.found]
    assert [f.severity for f in match] == [severity], listing
    assert match[0].remedy
    assert rule in RULES


def expect_clean(rule, graph, example):
    """The rule, or every rule where it is None, finds nothing."""
    every = [f for f in findings(graph, example) if rule in (None, f.rule)]
    assert not every, "\n".join(map(str, every))
