"""The page in a headless Chromium; skipped, with the reason, where there is none."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from harness.core.results import CaseResult, Cell, CellResult, OutputComparison, Report, Status
from harness.core.schema import Case, Stage
from harness.reports import page
from tests.support import browser
from tests.unit.reports.test_page import MARKUP, a_report
from tests.unit.reports.test_reports import hostile

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]
PICTURES = os.environ.get("PAGE_PICTURES")
"""A folder for pictures of what the tests see."""
UPSTREAM = "https://example.org/issue/1"
ACCOUNT = {
    **dict.fromkeys(("parameters", "copied"), 3),
    **dict.fromkeys(("elements", "elements_proved"), 700),
    **dict.fromkeys(("derived", "unused"), 0),
    "lines": ["lstm.kernel → LSTM.W, gates i o f c"],
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    with browser.page(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture
def see(opened, tmp_path):
    """Opens a report; after the test nothing was asked for but its file, and nothing complained."""
    opened.requests.clear()
    opened.errors.clear()
    opened.resize(1400, 900)
    opened.scheme("light")

    def open_page(report, fragment=""):
        opened.open(page.write(report, tmp_path), fragment)
        return opened

    yield open_page
    assert opened.errors == []
    assert set(opened.requests) == {(tmp_path / page.NAME).as_uri()}


def picture(opened, name):
    if PICTURES:
        opened.picture(Path(PICTURES) / f"{name}.png")


def compared(length, ratio, name="scores"):
    count = min(length, 64)
    along = tuple(ratio * (n + 1) / count for n in range(count)) if length > 1 else ()
    size = ratio * 4e-7
    reason = f"error {size:g} is {ratio:g} times the tolerance 4e-07" if ratio > 1 else ""
    place = (1, length - 1, 0)
    return OutputComparison(
        *(name, size, 1e-6, 3, 1e-7, 4e-7, ratio, place, length - 1, reason),
        *(length, length, along),
    )


def judged(length, batch, *ratios):
    outputs = tuple(compared(length, r, f"scores{n or ''}") for n, r in enumerate(ratios))
    bad = [output for output in outputs if output.reason]
    reason = f"output {bad[0].name}: {bad[0].reason}" if bad else ""
    status = Status.FAIL if bad else Status.PASS
    return CaseResult(Case({"tokens": length}, batch), status, Stage.COMPARE, reason, outputs)


def a_matrix():
    """Two models in four runtimes: one passes, one fails with length, one is known, one absent."""
    lengths = (1, 2, 7, 33, 100, 4096)
    good = tuple(judged(n, b, 0.05, 0.2) for n in lengths for b in (1, 3))
    bad = tuple(judged(n, 3, n / 10, 0.2) for n in lengths)
    lost = (replace(good[0], status=Status.ERROR, stage=Stage.RUN, reason="lost", outputs=()),)
    about = {
        "nodes_by_provider": {"CPUExecutionProvider": {"LSTM": 2}, "CUDA": {"Gemm": 1}},
        "account": ACCOUNT,
        "version": "1.31.0",
    }
    rows = [
        ("ort-cpu", Status.PASS, Stage.COMPARE, "", good),
        ("openvino", Status.FAIL, Stage.COMPARE, "4 of 6 cases", bad),
        ("tract", Status.XFAIL, Stage.LOAD, f"it refuses Scan [{UPSTREAM}]: a Scan", ()),
        ("ort-cuda", Status.UNAVAILABLE, Stage.LOAD, "no CUDA device", ()),
        ("slow", Status.ERROR, Stage.RUN, "the process died", (*good[1:3], *lost)),
    ]
    results = [
        CellResult(
            Cell(model, "torch", "native", "fp32", runtime),
            *(status, stage, reason, about if cases else {}, cases, 1.5),
            f"python -m harness.validate {model} --runtime {runtime}",
        )
        for model in ("tagger", "decoder")
        for runtime, status, stage, reason, cases in rows
    ]
    environment = {"date": "2026-01-02T03:04:05Z", "python": "3.11", "onnxruntime": "1.31.0"}
    return Report("python -m harness.validate", environment, tuple(results))


SQUARE = ".model:nth-child(1) tr:nth-child(2) .square:nth-child({})"
DETAIL = "document.getElementById('detail').innerText"
FOUND = "document.getElementById('found').textContent"


def squares(opened, of="*"):
    return opened.ask(f"document.querySelectorAll('.square:is({of})').length")


def test_the_grid_has_a_square_for_each_length_and_runtime(see):
    opened = see(a_matrix())
    assert opened.ask("document.querySelector('h1').innerText") == "Does not conform"
    assert squares(opened) == 2 * (6 + 6 + 2)
    kinds = {"p2": 18, "p3": 2, "f1": 4, "f2": 2, "crash": 2}
    assert {kind: squares(opened, f".{kind}") for kind in kinds} == kinds
    heads = "[...document.querySelectorAll('.model:nth-child(1) .length')].map(e => e.innerText)"
    assert opened.ask(heads) == ["1", "2", "7", "33", "100", "4096"]
    assert opened.ask(f"document.querySelector({SQUARE.format(8)!r}).ariaLabel") == (
        "openvino, tokens 4096: 410 \u00d7 tolerance, 1 case"
    )
    picture(opened, "grid")


def test_a_click_shows_a_cell_with_its_figures_and_curves(see):
    opened = see(a_matrix())
    opened.click(SQUARE.format(7))
    shown = opened.ask(DETAIL)
    for text in (
        "tagger/torch/native/fp32/openvino",
        "4 of 6 cases",
        "tokens 100, batch 3",
        "LSTM",
        "CUDA",
        "[1, 99, 0]",
        "weights: 3 of 3 parameters",
        "python -m harness.validate tagger --runtime openvino",
        "scores: error against the length",
        "1.31.0",
    ):
        assert text in shown, text
    assert opened.ask("document.querySelectorAll('#detail canvas').length") == 2
    ink = (
        "[...document.querySelectorAll('#detail canvas')].map(c => c.getContext('2d')"
        ".getImageData(0, 0, c.width, c.height).data.some(n => n))"
    )
    assert opened.ask(ink) == [True, True]
    assert opened.ask("location.hash") == "#tagger/torch/native/fp32/openvino:4"
    picture(opened, "cell")
    opened.click("#detail .figures button:not([aria-pressed=true])")
    assert "scores1: error against the length" in opened.ask(DETAIL)
    opened.key("Escape")
    assert opened.ask("document.getElementById('detail').hidden")
    assert opened.ask("document.activeElement.ariaLabel").startswith("openvino, tokens 100")


def test_the_slider_goes_through_time(see):
    opened = see(a_matrix(), "#decoder/torch/native/fp32/openvino:5")
    said = "document.querySelector('.time output').textContent"
    assert opened.ask(said) == "steps 4032 to 4095 of 4096: 410 \u00d7 tolerance"
    at = "document.querySelector('#detail .u-cursor-x').getBoundingClientRect().x"
    last = opened.ask(at)
    opened.ask("document.querySelector('.time input').focus()")
    opened.key("Home")
    assert opened.ask(said) == "steps 0 to 63 of 4096: 6.4 \u00d7 tolerance"
    opened.key("ArrowRight")
    assert opened.ask(said) == "steps 64 to 127 of 4096: 13 \u00d7 tolerance"
    assert opened.ask(at) < last
    opened.click("#detail .curve:last-child .u-over")
    assert "tokens 33, batch 3" in opened.ask(DETAIL)


def test_the_filter_leaves_what_matches(see):
    opened = see(a_matrix())
    assert opened.ask(FOUND) == "10 of 10 cells"
    for name, value, left in (
        ("status", "fail", 2),
        ("model", "tagger", 1),
        ("runtime", "tract", 0),
        ("status", "", 1),
    ):
        opened.ask(
            f"(() => {{ const e = document.getElementById({name!r}); e.value = {value!r};"
            " e.dispatchEvent(new Event('input', {bubbles: true})); })()"
        )
        assert opened.ask(FOUND) == f"{left} of 10 cells"
    rows = "[...document.querySelectorAll('tbody tr')].filter(e => e.offsetParent).length"
    assert opened.ask(rows) == 1


def test_all_of_it_can_be_done_by_keys(see):
    opened = see(a_matrix())
    opened.key("/")
    assert opened.ask("document.activeElement.id") == "find"
    for letter in "OPENV":
        opened.key(letter, letter)
    assert opened.ask(FOUND) == "2 of 10 cells"
    opened.ask("(filter.find.value = '', document.activeElement.blur(), sift())")
    opened.ask("document.querySelector('.square').focus()")
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
        opened.key(key)
    assert "tokens 7, batch 3" in opened.ask(DETAIL)
    opened.key("Escape")
    opened.key("n")
    opened.key("n")
    assert UPSTREAM in opened.ask(DETAIL)
    assert "Expected failure" in opened.ask(DETAIL)
    link = "document.querySelector('#detail a')"
    assert opened.ask(f"[{link}.href, {link}.rel]") == [UPSTREAM, "noreferrer noopener"]
    opened.key("p")
    shown = opened.ask(DETAIL)
    assert "tagger/torch/native/fp32/openvino" in shown
    assert "tokens 4096, batch 3: fail 410" in shown


def test_it_is_light_and_dark(see):
    opened = see(a_matrix(), "#tagger/torch/native/fp32/openvino:4")
    ground = "getComputedStyle(document.body).backgroundColor"
    light = opened.ask(ground)
    opened.scheme("dark")
    dark = opened.ask(ground)
    assert (light, dark) == ("rgb(255, 255, 255)", "rgb(20, 23, 28)")
    picture(opened, "dark")
    seen = []
    for _ in range(3):
        opened.click("#theme")
        seen.append(opened.ask(ground))
    assert seen == [dark, light, dark]


def test_it_is_readable_on_a_phone(see):
    opened = see(a_matrix())
    opened.resize(390, 844, mobile=True)
    assert opened.ask("document.documentElement.scrollWidth") == 390
    picture(opened, "phone")
    opened.click(SQUARE.format(5))
    box = "(({x, y, width, height}) => [x, y, width, height])(detail.getBoundingClientRect())"
    assert opened.ask(box) == [0, 0, 390, 844]
    assert opened.ask("detail.scrollWidth <= 390")
    picture(opened, "phone-cell")
    opened.click("#detail .close")
    assert opened.ask("detail.hidden")


def test_names_from_files_are_text(see):
    for text in MARKUP:
        opened = see(hostile(text))
        opened.ask("cells.forEach(cell => show(cell, worst(cell)))")
        assert (
            opened.ask("document.querySelectorAll('img, script:not(:is(#data, #data ~ *))').length")
            == 0
        )
        assert opened.ask(
            "cells[0].id[0].length > 0 && detail.innerText.includes(cells.at(-1).id[0])"
        )


def test_evidence_of_any_kind_is_shown(see):
    (cell, *_) = a_matrix().results
    proto = {"__proto__": {"constructor": 1}, "constructor": {"toString": [[], {}, None]}}
    for odd in (
        None,
        3,
        "text",
        [1, [2]],
        {"CPU": None},
        {"CPU": {"LSTM": [1]}, "b": proto},
        proto,
    ):
        about = dict.fromkeys(("nodes_by_provider", "account", "lint", "version", "__proto__"), odd)
        opened = see(Report("", {}, (replace(cell, evidence=about),)), f"#{cell.cell.id}")
        assert "Evidence" in opened.ask(DETAIL)
        assert "function" not in opened.ask(DETAIL)


def test_a_hundred_thousand_cases_can_be_gone_through(see, tmp_path):
    opened = see(a_report(100, 1000, (compared(64, 0.25),)))
    done = "performance.getEntriesByType('navigation')[0].domComplete / 1000"
    size = (tmp_path / page.NAME).stat().st_size
    print(f"100,000 cases: {size:,} bytes, complete after {opened.ask(done):.2f} s")
    assert opened.ask(FOUND) == "100 of 100 cells"
    assert 0 < squares(opened, "td") <= 96 * 5 * 20
    opened.click(".square")
    assert "m0/torch/native/fp32/runtime0" in opened.ask(DETAIL)
    assert opened.ask("document.querySelectorAll('#detail canvas').length") == 2
    picture(opened, "many")
