"""How far two arrays lie apart, and what became of the outputs that two runs kept."""

import hashlib
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

from harness.comparing.change import Word
from harness.comparing.outputs import apart, changes
from harness.core.errors import UsageError
from harness.core.results import Cell, Status
from harness.core.schema import Stage
from harness.validation.outputs import manifest, saved

CELL = Cell("m", "torch", "native", "fp32", "ort-cpu")
FLOATS = {np.float16: 16, np.float32: 32, np.float64: 64}


@pytest.mark.parametrize("dtype", FLOATS)
@given(data=st.data())
def test_ulps_are_counted_in_the_own_dtype(dtype, data):
    largest = float(np.finfo(dtype).max) / 2
    start = moved = dtype(data.draw(st.floats(0, largest, width=FLOATS[dtype]))).__abs__()
    steps = data.draw(st.integers(0, 40))
    for _ in range(steps):
        moved = np.nextafter(moved, dtype(np.inf))
    for pair in ((start, moved), (moved, start), (-start, -moved)):
        assert apart(*map(np.array, pair)).ulp == steps


@pytest.mark.parametrize(
    ("before", "after", "ulp"),
    [
        (np.float32([1, 2]), np.float32([1, 2]), 0),
        (np.float32(0.0), np.float32(-0.0), 1),
        (np.float32([np.nan, np.inf, -np.inf]), np.float32([np.nan, np.inf, -np.inf]), 0),
        (np.float32(-1), np.float32(1), 2 * 0x3F800000 + 1),
        (np.finfo(np.float64).min, np.finfo(np.float64).max, 2 * 0x7FEFFFFFFFFFFFFF + 1),
        (np.int64([5, -3]), np.int64([5, 4]), 7),
        (np.uint64([2**64 - 1]), np.uint64([2**64 - 3]), 2),
        (np.array([True]), np.array([False]), 1),
        (np.zeros((0, 3), np.float32), np.zeros((0, 3), np.float32), 0),
    ],
)
def test_the_largest_distance_counts(before, after, ulp):
    found = apart(np.asarray(before), np.asarray(after))
    assert (found.ulp, found.reason) == (ulp, "")
    assert apart(np.asarray(after), np.asarray(before)).ulp == ulp


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        (np.float32([1]), np.float64([1]), "is float64, was float32"),
        (np.float32([1]), np.float32([[1]]), "has shape (1, 1), had (1,)"),
        (np.float32([1, 2]), np.float32([1, np.nan]), "infinity in other places, first at [1]"),
        (np.float32([np.inf]), np.float32([-np.inf]), "first at [0]: -inf where inf was"),
        (np.float32([np.nan]), np.float32([np.inf]), "first at [0]"),
    ],
)  # fmt: skip
def test_what_has_no_distance_says_why(before, after, words):
    assert words in apart(before, after).reason


def keep(root, values, *, inputs="1", outcome=None, cell=CELL, names=None, failure=None):
    """Keep one cell of as many cases as there are values; return what is kept there."""
    runs = [
        manifest.KeptRun(
            f"t{n}-b1-none", False, 0.1, {"x": inputs},
            None if failure else [((names or ["y"])[0], f"{n}/0")], failure,
        )
        for n, _ in enumerate(values)
    ]  # fmt: skip
    data = save({f"{n}/0": np.float32(value) for n, value in enumerate(values)})
    digest = hashlib.sha256(data).hexdigest()
    about = manifest.Manifest(cell, None, "a" * 64, "b" * 64, "1", {}, outcome, {}, digest, runs)
    manifest.write(root, about, data)
    return saved.every(root)


UP = np.nextafter(np.float32(1), np.float32(2))


@pytest.mark.parametrize(
    ("values", "most", "word"),
    [
        (([1], [2]), 0, Word.IDENTICAL),
        (([UP], [2]), 0, Word.WORSE),
        (([UP], [2]), 1, Word.SAME),
        (([1], [2 * UP * UP]), 1, Word.WORSE),
        (([1],), 0, Word.MISSING),
        (([1, 1], [2]), 9, Word.NEWLY_FAILING),
    ],
)
def test_outputs_may_move_by_so_many_ulps(tmp_path, values, most, word):
    before, after = keep(tmp_path / "a", [[1], [2]]), keep(tmp_path / "b", values)
    (change,) = changes(before, after, most)
    assert change.word is word
    assert (change.reason == "") == (word is Word.IDENTICAL)


def test_what_failed_or_is_of_another_name_is_told(tmp_path):
    lost = manifest.Outcome(Status.ERROR, Stage.LOAD, "it fell")
    good = keep(tmp_path / "a", [[1]])
    bad = keep(tmp_path / "b", [], outcome=lost)
    assert [(c.word, c.reason) for c in changes(good, bad, 0)] == [
        (Word.NEWLY_FAILING, "error at load: it fell")
    ]
    assert [c.word for c in changes(bad, good, 0)] == [Word.MENDED]
    assert [c.word for c in changes(bad, bad, 0)] == [Word.SAME]
    run_lost = keep(tmp_path / "c", [[1]], failure=lost)
    assert [c.word for c in changes(good, run_lost, 0)] == [Word.NEWLY_FAILING]
    other = keep(tmp_path / "d", [[1]], names=["z"])
    assert [c.word for c in changes(good, other, 0)] == [Word.NEWLY_FAILING]


def test_other_inputs_cells_and_altered_files(tmp_path):
    good = keep(tmp_path / "a", [[1]])
    with pytest.raises(UsageError, match="ran with other inputs"):
        [*changes(good, keep(tmp_path / "b", [[1]], inputs="2"), 0)]
    other = keep(tmp_path / "c", [[1]], cell=Cell("n", "torch", "native", "fp32", "ort-cpu"))
    assert [c.word for c in changes(good, other, 0)] == [Word.MISSING, Word.ADDED]
    path = next((tmp_path / "a").rglob(manifest.MANIFEST))
    path.write_text(json.dumps({**json.loads(path.read_text()), "golden": "h"}))
    with pytest.raises(UsageError, match="altered"):
        saved.every(tmp_path / "a")
    with pytest.raises(UsageError, match="no saved outputs"):
        saved.every(tmp_path / "nowhere")
