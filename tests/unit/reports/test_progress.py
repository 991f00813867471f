"""Progress: how much is left, as a line now and then, or nothing."""

import io

import pytest
from rich.console import Console

from harness.reports import progress
from harness.reports.progress import Estimate

PHASES = {"float64": 0.25, "float32": 0.5, "validating": 0.25}


class Clock:
    """A time that stands until it is moved."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


def told(*texts, phases, seconds):
    clock = Clock()
    estimate = Estimate(phases, clock)
    for text in texts:
        clock.seconds += seconds
        estimate.tell(text)
    return estimate.part, estimate.left


@pytest.mark.parametrize(
    ("text", "part", "left"),
    [
        ("net: float64, case 5/10", 0.125, "about 140 s left"),
        ("net: float32, run 2/4", 0.5, "about 20 s left"),
        ("float64: float32, run 2/4", 0.5, "about 20 s left"),
        ("net: validating, case 4/4", 1.0, ""),
        ("net: something else", 0.0, ""),
        ("net: float64, case 0/0", 0.0, ""),
    ],
)
def test_phases_have_their_share_of_the_time(text, part, left):
    assert told(text, phases=PHASES, seconds=20) == (part, left.replace("140 s", "2 min"))


def test_what_is_done_never_shrinks_and_an_unknown_phase_changes_nothing():
    texts = ("a: float32, run 4/4", "b: float64, case 1/9", "a: linting")
    assert told(*texts, phases=PHASES, seconds=10) == (0.75, "about 10 s left")


def test_without_phases_the_time_begins_with_the_first_count():
    texts = ("exported a", "exported b", "a: validating, case 0/4", "a: validating, case 1/4")
    assert told(*texts, phases={}, seconds=10) == (0.25, "about 30 s left")


def shown(terminal, enabled=True, steps=4, seconds=6):
    stream, clock = io.StringIO(), Clock()
    console = Console(file=stream, force_terminal=terminal, width=80)
    with progress.shown(console, enabled, now=clock) as tell:
        for step in range(1, steps + 1):
            clock.seconds += seconds
            tell(f"[red]\x1b: case {step}/{steps}")
    return stream.getvalue()


def test_off_a_terminal_a_line_comes_now_and_then():
    lines = shown(terminal=False).splitlines()
    assert lines == [
        "[12 s] [red]\\x1b: case 2/4, about 6 s left",
        "[24 s] [red]\\x1b: case 4/4",
    ]
    assert shown(terminal=False, steps=3, seconds=3) == ""


def test_a_terminal_gets_a_bar_and_a_quiet_call_nothing():
    assert "case 4/4" in shown(terminal=True)
    assert "\x1b:" not in shown(terminal=True)
    assert shown(terminal=True, enabled=False) == shown(terminal=False, enabled=False) == ""
