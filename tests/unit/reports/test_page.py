"""The page is one file that asks for nothing, and shows what comes from files as text alone."""

import json
import re
import sys
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from harness.core.results import CaseResult, Cell, CellResult, OutputComparison, Report, Status
from harness.core.schema import Case, Stage
from harness.diagnosis import reproduction, run
from harness.reports import columns, diagnoses, json_file, page
from tests.unit.reports.test_reports import HOSTILE, hostile

MARKUP = [
    *HOSTILE,
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "\"'><img src=x onerror=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "&lt;b&gt;",
    "\u2028\u2029",
]
OUTPUT = OutputComparison(
    "y", 2e-7, 1e-6, 3, 1e-7, 4e-7, 0.5, (0, 6), 6, "", 7, 6, (0.1, None, 0.0, 0.5, 3e-9, 0.2, 0.5)
)


class Tags(HTMLParser):
    """Counts tags, and keeps the attributes, the text of each script and all other text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.scripts, self.text = Counter(), [], [], ""
        self.within = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.within = tag
        self.tags[tag] += 1
        self.attributes += attributes
        self.scripts += [""] if tag == "script" else []

    def handle_endtag(self, tag):
        self.within = ""

    def handle_data(self, data):
        if self.within == "script":
            self.scripts[-1] += data
        else:
            self.text += data


def a_report(cells=2, cases=3, outputs=(OUTPUT,), status=Status.PASS):
    results = []
    for number in range(cells):
        judged = tuple(
            CaseResult(Case({"t": n + 1}, 2), Status.PASS, Stage.COMPARE, "", outputs)
            for n in range(cases)
        )
        cell = Cell(f"m{number // 5}", "torch", "native", "fp32", f"runtime{number % 5}")
        about = {"version": "1", "golden": "0" * 64}
        results.append(CellResult(cell, status, Stage.COMPARE, "", about, judged, 0.2, "replay"))
    return Report("python -m harness.validate", {"date": "2026-01-02T03:04:05Z"}, tuple(results))


def data(report):
    return json.loads("".join(columns.parts(report, lambda result: [])))


def written(report, folder):
    return page.write(report, folder).read_text("utf-8")


def test_the_first_screen_says_what_was_compared_on_what_and_when(tmp_path):
    shown = Tags(written(a_report(), tmp_path)).text
    for text in ("Conforms", "2 cells, 6 comparisons", "runtime0 1", "2026-01-02T03:04:05Z"):
        assert text in shown
    assert "Does not conform" in written(a_report(status=Status.FAIL), tmp_path)
    passing, known = a_report().results[0], a_report(status=Status.XFAIL).results[1]
    both = replace(a_report(), results=(passing, known))
    assert "<h1>Conforms, but for 1 expected failure</h1>" in written(both, tmp_path)
    assert "Nothing was compared" in written(Report("", {}, ()), tmp_path)


def test_a_merged_report_names_each_machine_and_the_first_and_last_date(tmp_path):
    parts = [
        {"environment": {"date": f"2026-01-0{day}T00:00:00Z", "gpu": gpu}, "report": "r"}
        for day, gpu in ((3, "none"), (1, "H100"), (2, "none"))
    ]
    shown = Tags(written(replace(a_report(), environment={"reports": parts}), tmp_path)).text
    assert "2026-01-01T00:00:00Z to 2026-01-03T00:00:00Z" in shown
    assert [shown.count(f"gpu {name}") for name in ("none", "H100")] == [1, 1]
    assert written(replace(a_report(), environment={"reports": ["odd", {}]}), tmp_path)


@pytest.mark.parametrize("text", MARKUP)
def test_what_comes_from_files_is_text(text, tmp_path):
    plain, odd = (Tags(written(hostile(each), tmp_path)) for each in ("plain", text))
    assert odd.tags == plain.tags
    assert [name for name, _ in odd.attributes] == [name for name, _ in plain.attributes]
    assert odd.scripts[1:] == plain.scripts[1:]
    assert "<" not in odd.scripts[0]
    held = json.loads(odd.scripts[0])
    assert len(held["cells"]) == len(hostile(text).results)
    shown = columns.visible(text)
    assert shown in held["texts"]
    assert shown.isprintable()
    assert shown in odd.text


def test_it_asks_for_nothing_and_runs_our_scripts_alone(tmp_path):
    text = written(a_report(), tmp_path)
    tags = Tags(text)
    addresses = [value for name, value in tags.attributes if name in ("src", "href", "action")]
    assert addresses == ["data:,"]
    assert not re.search(r"url\(|@import|import\(|fetch\(|XMLHttpRequest|innerHTML", text)
    (policy,) = (value for name, value in tags.attributes if name == "content" and "src" in value)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    styles = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    blocks = [*styles, *tags.scripts[1:]]
    assert all(page._hash(block) in policy for block in blocks)
    assert policy.count("sha256-") == len(blocks) == 5
    assert not re.search(r"<[^>]* (on\w+|style)=", text[: text.index('<script type="application')])
    assert "Copyright (c) 2022 Leon Sorokin" in text


def test_the_same_report_is_the_same_page_in_memory_and_in_a_file(tmp_path):
    first = written(a_report(), tmp_path)
    assert first == written(a_report(), tmp_path / "again")
    assert first == written(json_file.read(json_file.write(a_report(), tmp_path)), tmp_path)


def test_a_cell_is_held_by_column():
    (cell, _) = data(a_report())["cells"]
    texts = data(a_report())["texts"]
    assert (cell["id"], cell["of"]) == (["m0", "torch", "native", "fp32", "runtime0"], 3)
    assert (cell["axes"], cell["lengths"], cell["batch"]) == (["t"], [[1, 2, 3]], [2, 2, 2])
    assert [texts[number] for number in cell["status_of"]] == ["pass"] * 3
    (output,) = cell["outputs"]
    assert (output["ratio"], output["worst_index"]) == ([0.5] * 3, [[0, 6]] * 3)
    assert texts[cell["evidence"]["version"]] == "1"


def read(code):
    """The ratios in the page's digits, as its script reads them."""
    levels = [
        64 * columns.DIGITS.index(a) + columns.DIGITS.index(b)
        for a, b in zip(code[::2], code[1::2], strict=True)
    ]
    return [None if n == 4095 else n and 10 ** ((n - 2048) / 300) for n in levels]


def test_ratios_along_time_are_held_to_a_hundredth():
    (output,) = data(a_report(1, 1))["cells"][0]["outputs"]
    small = read(columns._Codes().text((3e-9,)))
    assert small == [pytest.approx(1.5e-7, rel=0.01)]  # the least that is told from 0
    expected = [small[0] if ratio == 3e-9 else ratio for ratio in OUTPUT.by_step]
    held = read(output["by_step"][0])
    assert [n is None for n in held] == [n is None for n in expected]
    assert list(filter(None, held)) == pytest.approx(list(filter(None, expected)), rel=0.01)


def test_the_digits_are_those_of_the_script():
    script = (page.FOLDER / "cell.js").read_text()
    assert f'const DIGITS = "{columns.DIGITS}"' in script


def test_the_largest_numbers_are_held():
    most = sys.float_info.max
    far = replace(OUTPUT, max_abs=most, ratio=most, max_ulp=2**64 - 1, by_step=(most, 5e-324))
    (output,) = data(a_report(1, 1, (far,)))["cells"][0]["outputs"]
    assert output["ratio"] == output["max_abs"] == [most]
    assert read(output["by_step"][0]) == [
        pytest.approx(6.6e6, rel=0.02),
        pytest.approx(1.5e-7, rel=0.1),
    ]


def test_why_a_case_fails_is_held_where_its_figures_do_not_tell():
    (cell,) = a_report(1, 1).results
    texts = []
    for reason, why in (
        ("error 5 is 9 times", ""),
        ("NaN at [0]", "compare: output y: NaN at [0]"),
    ):
        outputs = (replace(OUTPUT, reason=reason),)
        case = replace(cell.cases[0], outputs=outputs, reason=f"output y: {reason}")
        held = data(replace(a_report(), results=(replace(cell, cases=(case,)),)))
        texts.append((held["texts"][held["cells"][0]["why"][0]], why))
    assert [told for told, _ in texts] == [why for _, why in texts]


def test_an_output_that_a_case_lacks_is_null():
    (cell,) = a_report(1, 1).results
    other = replace(cell.cases[0], outputs=(replace(OUTPUT, name="z"),))
    report = replace(a_report(), results=(replace(cell, cases=(*cell.cases, other)),))
    y, z = data(report)["cells"][0]["outputs"]
    assert (y["ratio"], z["ratio"]) == ([0.5, None], [None, 0.5])
    assert (y["by_step"][1], z["steps"]) == (None, [None, 7])


def test_of_very_many_cases_the_worst_are_held_in_their_order(monkeypatch):
    monkeypatch.setattr(columns, "COMPARISONS", 4)
    (cell,) = a_report(1, 8).results
    cases = list(cell.cases)
    cases[6] = replace(cases[6], status=Status.FAIL, stage=Stage.RUN, outputs=(), reason="gone")
    for number, ratio in ((1, 0.9), (4, 0.7)):
        cases[number] = replace(cases[number], outputs=(replace(OUTPUT, ratio=ratio),))
    report = replace(a_report(), results=(replace(cell, cases=tuple(cases)),))
    (held,) = data(report)["cells"]
    assert held["of"] == 8
    assert [n for n in held["lengths"][0] if n in (2, 5, 7)] == [2, 5, 7]
    assert len(held["batch"]) == 5


def test_of_many_ratios_along_time_the_larger_of_neighbours_are_held(monkeypatch):
    monkeypatch.setattr(columns, "POINTS", 16 * 6)
    by_step = (None,) * 4 + tuple(None if n % 4 == 1 else n / 100 for n in range(4, 64))
    long = replace(OUTPUT, ratio=0.63, steps=128, steps_compared=128, by_step=by_step)
    (output,) = data(a_report(outputs=(long,)))["cells"][0]["outputs"]
    none, *others = read(output["by_step"][0])
    assert none is None
    assert others == pytest.approx(by_step[7::4], rel=0.01)


@pytest.fixture
def diagnosed(tmp_path):
    """Writes a diagnosis of a failing cell beside a report, and returns what the page has of it."""
    (cell,) = a_report(1, status=Status.FAIL).results

    def lines(stage="compare", text="fault  the graph\n</script>\x1b", name=cell.cell.id):
        place = run.FOLDER.relative_to("build") / cell.cell.id.replace("/", "-")
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        about = {"schema": 1, "diagnoses": [{"id": name, "stage": stage, "more": 1}]}
        (tmp_path / place / reproduction.JSON).write_text(json.dumps(about))
        (tmp_path / place / reproduction.TEXT).write_text(f"# of it\n\n```text\n{text}\n```\n")
        report = replace(a_report(), results=(cell,))
        held = json.loads(Tags(written(report, tmp_path / "report")).scripts[0])
        return held["texts"][held["cells"][0]["diagnosis"]]

    return lines


def test_a_diagnosis_beside_the_report_is_shown(diagnosed):
    assert diagnosed() == ["", "fault  the graph", r"</script>\x1b"]


def test_a_diagnosis_of_something_else_is_not(diagnosed, tmp_path):
    assert diagnosed(stage="load") == diagnosed(name="m/torch/native/fp32/other") == []
    (broken,) = tmp_path.glob("diagnosis/*/diagnosis.json")
    for text in ("", "{}", '{"diagnoses": [3]}'):
        broken.write_text(text)
        assert (
            diagnoses.lines(tmp_path / "report", a_report(1, status=Status.FAIL).results[0]) == []
        )
    assert diagnosed()
    assert diagnoses.lines(tmp_path / "report", a_report(1).results[0]) == []


@pytest.mark.slow
def test_a_hundred_thousand_cases_are_below_thirty_megabytes(tmp_path):
    reason = "error 2e-07 is 0.5 times the tolerance 4e-07"
    long = replace(OUTPUT, reason=reason, steps=64, steps_compared=64, by_step=(0.25,) * 64)
    path = page.write(a_report(100, 1000, (long, replace(long, name="z"))), tmp_path)
    assert path.stat().st_size < 30e6
