"""harness.validation.from_catalog: the command that judges one cell again."""

import shlex
from pathlib import Path

import pytest

from harness.core.results import Cell
from harness.validate import parser
from harness.validation import from_catalog
from harness.validation.selection import Selection

CELL = Cell("gru_tagger", "torch", "native", "fp32", "ort-cpu")


@pytest.mark.parametrize(
    "selection",
    [
        Selection(),
        Selection(artifacts=Path("my exports"), golden=Path("my goldens"), opset=20),
        Selection(artifacts=Path("/elsewhere")),
    ],
)
def test_a_replay_names_every_place_that_the_cell_was_judged_from(selection):
    replay = from_catalog._exported(CELL, None, (), "torch is not installed", selection).replay
    words = shlex.split(replay)
    assert words[:3] == ["python", "-m", "harness.validate"]
    again = parser().parse_intermixed_args(words[3:])
    places = (again.artifacts, again.golden, again.opset)
    assert places == (selection.artifacts, selection.golden, selection.opset)
    assert ("--artifacts" in words) == (selection != Selection())
