import io
import json
import re
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from harness import reports
from harness.core import summary
from harness.core.results import CaseResult, Cell, CellResult, OutputComparison, Report, Status
from harness.core.schema import Case, Stage
from harness.reports import console, json_file, junit, page, strip, table, weights

ROOT = Path(__file__).parents[3]
CELL = Cell("tagger", "torch", "native", "fp32", "ort-cpu")


def output(ratio=0.5, reason=""):
    return OutputComparison(
        "scores", ratio * 4e-7, 1e-6, 3, 1e-7, 4e-7, ratio, (0, 6, 2), 6, reason
    )


def case(status=Status.PASS, **kwargs):
    reason = "output scores: too far" if status is Status.FAIL else ""
    return CaseResult(
        Case({"tokens": 7}, 3), status, Stage.COMPARE, reason, (output(**kwargs),), 0.1
    )


def of_length(length, good, ratio=0.5):
    status = Status.PASS if good else Status.FAIL
    return replace(case(status, ratio=ratio), case=Case({"tokens": length}, 3))


def result(status, cases=(), reason=""):
    return CellResult(CELL, status, Stage.COMPARE, reason, {}, tuple(cases), 0.2, "python -m x")


def report(*results):
    return Report("python -m harness.validate", {"python": "3.11"}, results)


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([result(Status.PASS, [case()])], 0),
        ([result(Status.PASS, [case()]), result(Status.XFAIL)], 0),
        ([result(Status.PASS, [case()]), result(Status.UNAVAILABLE)], 0),
        ([result(Status.PASS, [case()]), result(Status.FAIL)], 1),
        ([result(Status.PASS, [case()]), result(Status.XPASS)], 1),
        ([result(Status.PASS, [case()]), result(Status.ERROR)], 1),
        ([result(Status.UNAVAILABLE)], 4),
        ([result(Status.XFAIL)], 4),
        ([], 4),
        ([result(Status.FAIL)] * 256, 1),
    ],
)
def test_exit_codes(results, code):
    assert summary.exit_code(report(*results)) == code


def test_the_last_line_counts():
    line = summary.line(report(result(Status.PASS, [case(), case()]), result(Status.XFAIL)))
    assert line == "2 cells, 2 comparisons at 2 of 2 steps: 1 pass, 1 xfail"
    assert "nothing was compared" in summary.line(report(result(Status.UNAVAILABLE)))


def test_the_json_has_the_contracts_shape(tmp_path):
    path = json_file.write(report(result(Status.PASS, [case()])), tmp_path / "new")
    data = json.loads(path.read_text())
    assert set(data) == {"schema", "command", "environment", "summary", "results"}
    assert set(data["summary"]) == {
        *("cells", "comparisons", "pass", "fail", "xfail", "xpass", "unavailable", "error")
    }
    (cell,) = data["results"]
    assert {"id", "status", "stage", "reason", "evidence", "cases", "replay"} <= set(cell)
    assert cell["id"] == "tagger/torch/native/fp32/ort-cpu"
    (entry,) = cell["cases"]
    assert {"lengths", "batch", "status", "outputs", "seconds"} <= set(entry)
    (compared,) = entry["outputs"]
    assert {
        *("name", "max_abs", "max_rel", "max_ulp", "noise_floor", "tolerance", "ratio"),
        *("worst_index", "worst_step"),
    } <= set(compared)
    assert [p.name for p in path.parent.iterdir()] == ["report.json"]


def shown(cell, verbose=False):
    screen = Console(width=300, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.cell(screen, cell, verbose)
    return screen.export_text()


def test_a_passing_cell_is_one_line_with_its_worst_ratio():
    text = shown(result(Status.PASS, [case(), case(ratio=0.75)]))
    assert len(text.splitlines()) == 1
    assert "worst 0.75 x tolerance (scores, tokens=7, batch=3)" in text


def test_a_failing_cell_says_where_and_by_how_much():
    bad = case(Status.FAIL, ratio=12.5, reason="too far")
    text = shown(result(Status.FAIL, [case(), *[bad] * 7], "7 of 8 cases"))
    assert "7 of 8 cases" in text
    assert "scores step 6 [0, 6, 2]: error 5e-06 = 12.5 x tolerance 4e-07" in text
    assert "would pass at 5e-06" in text
    assert "and 2 more cases" in text
    assert "python -m x" in text


def cell(runtime, status, stage=Stage.COMPARE, reason="", framework="torch", exporter="native"):
    return CellResult(Cell("tagger", framework, exporter, "fp32", runtime), status, stage, reason)


def mixed():
    reason = "it lacks an operator: 3 of {} cases"
    return report(
        cell("ort-cpu", Status.PASS),
        cell("tract", Status.XFAIL, Stage.RUN, reason.format(9)),
        cell("ort-cuda", Status.UNAVAILABLE, Stage.LOAD, "no CUDA device"),
        cell("web", Status.UNAVAILABLE, Stage.LOAD, "one"),
        cell("ort-cpu", Status.ERROR, Stage.LOAD, "[lost] a | pipe", framework="keras"),
        cell("tract", Status.XFAIL, Stage.RUN, reason.format(7), framework="keras"),
        cell("ort-cuda", Status.UNAVAILABLE, Stage.LOAD, "no CUDA device", framework="keras"),
        cell("web", Status.PASS, framework="keras"),
    )


NOTES = [
    "1: run: it lacks an operator",
    "2: load: one",
    "3: load: [lost] a | pipe",
    "ort-cuda is unavailable: no CUDA device",
]


def test_the_table_shows_every_cell_once_and_reasons_once(capsys):
    table.show(Console(width=40), mixed())
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert lines[:3] == [
        ["ort-cpu", "tract", "web"],
        ["tagger/torch", "pass", "xfail", "1", "unavailable", "2"],
        ["tagger/keras", "error", "3", "xfail", "1", "pass"],
    ]
    assert [" ".join(line) for line in lines[3:]] == NOTES


def test_the_table_is_written_as_markdown(tmp_path):
    text = table.write(mixed(), tmp_path).read_text()
    assert "| tagger/torch | pass | xfail 1 | unavailable 2 |" in text
    notes = [note.replace("[lost] a | pipe", r"\[lost\] a \| pipe") for note in NOTES]
    assert all(f"- {note}\n" in text for note in notes)
    assert [path.name for path in tmp_path.iterdir()] == ["report.md"]


def test_the_markdown_has_verdict_date_versions_figures_and_failing_lengths(tmp_path):
    cases = [of_length(2, True), of_length(7, False, 12.3), of_length(9, False, 40.0)]
    failing = result(Status.FAIL, cases, "why")
    about = {"date": "2026-01-02T03:04:05Z", "numpy": "2.4"}
    text = table.write(replace(report(failing), environment=about), tmp_path).read_text()
    assert text.startswith("**Does not conform**: 1 cell, 3 comparisons")
    assert "\n2026-01-02T03:04:05Z, numpy 2.4\n" in text
    assert "fail 1 (40) |" in text
    assert "`lengths 2..9: .xx, fails at 7..9`" in text
    nothing = table.write(report(), tmp_path).read_text()
    assert nothing.startswith("**Nothing was compared**: ")


@pytest.mark.parametrize(
    ("verdicts", "text"),
    [
        ({1: True, 2: True}, ""),
        ({1: False}, "lengths 1: x, fails at 1"),
        ({1: True, 3: False, 7: False, 9: True, 33: False},
         "lengths 1..33: .xx.x, fails at 3..7, 33"),
        ({}, ""),
    ],
)  # fmt: skip
def test_failing_lengths_are_a_strip(verdicts, text):
    cases = [of_length(length, good) for length, good in verdicts.items()]
    judged = result(Status.FAIL, cases, "why")
    assert strip.lengths(judged) == text
    assert (text in shown(judged)) if text else ("lengths" not in shown(judged))
    both = replace(judged, cases=(*cases, *(of_length(length, True) for length in verdicts)))
    assert strip.lengths(both) == text


@pytest.mark.parametrize("text", ["<script>x</script>", "a & b", "\x1b[31m::error::"])
def test_a_notebook_shows_the_verdict_and_a_row_for_each_cell(text):
    passed, failed = result(Status.PASS, [case()]), result(Status.FAIL, [case(ratio=12.3)], text)
    shown_one, both = (report(*cells)._repr_html_() for cells in ([passed], [passed, failed]))
    assert shown_one.startswith("<p><b>Conforms</b></p>")
    assert both.startswith("<p><b>Does not conform</b></p>")
    assert "<td>0.5</td>" in both
    assert "<td>12.3</td>" in both
    assert text not in both
    root = ElementTree.fromstring(f"<div>{both}</div>")
    assert len(root.findall(".//tr")) == 3
    assert report()._repr_html_().startswith("<p><b>Does not conform</b></p>")


def test_exporters_are_named_only_where_there_are_several():
    one, other = cell("ort-cpu", Status.PASS), cell("ort-cpu", Status.PASS, exporter="tf2onnx")
    assert list(table.of(report(one)).rows) == ["tagger/torch"]
    rows = list(table.of(report(one, other)).rows)
    assert rows == ["tagger/torch/native/fp32", "tagger/torch/tf2onnx/fp32"]


def test_the_json_has_one_line_for_each_case():
    three = report(result(Status.PASS, [case(), case()]), result(Status.PASS, [case()]))
    text = json_file.dumps(three)
    assert sum(line.startswith('{"lengths": ') for line in text.splitlines()) == 3
    assert [len(cell["cases"]) for cell in json.loads(text)["results"]] == [2, 1]
    assert json.loads(json_file.dumps(report()))["results"] == []


def test_a_runtime_that_is_unavailable_for_several_reasons_keeps_its_column():
    one = cell("web", Status.UNAVAILABLE, Stage.LOAD, "no weights")
    other = cell("web", Status.UNAVAILABLE, Stage.LOAD, "no Node", framework="keras")
    matrix = table.of(report(one, other))
    assert (matrix.columns, matrix.absent) == (["web"], {})
    assert [reason for _, reason in matrix.notes] == ["no weights", "no Node"]


HOSTILE = [
    "a\nb",
    "\r\x1b[2K",
    "::error file=x::",
    "\n::error file=x::y",
    "##[command]rm",
    "<script>alert()</script>",
    "<!-- ]]>",
    "\udc80",
    "a\u202eb",
    "\ufffe\uffff\x00",
    "[red]x[/red] [/nothing] :warning:",
    "*_|`` [a](b) \\",
]


def hostile(text):
    """A report that has a text from a file wherever one may stand."""
    statuses = [*Status, Status.FAIL]
    bad = replace(output(9.0, text), name=text)
    about = Case({text: 7}, 3)
    cases = [
        CaseResult(about, Status.FAIL, Stage.COMPARE, text, (bad,), 0.1, text),
        CaseResult(about, Status.ERROR, Stage.RUN, text, (), 0.1),
        CaseResult(about, Status.PASS, Stage.COMPARE, "", (replace(bad, reason=""),), 0.1),
    ]
    results = []
    for number, status in enumerate(statuses):
        judged = cases[2:] if status is Status.PASS else cases
        names = Cell(text, text, f"{text}{number}", text, text if number else f"{text}{text}")
        evidence = {"lint": [{"severity": text}, text], "tolerance": {"row": "x+tf32"}}
        results.append(
            CellResult(names, status, Stage.COMPARE, text, evidence, tuple(judged), 0.2, text)
        )
    absent = replace(results[4], cell=Cell("m", "f", "e", "v", f"{text}?"), cases=())
    return report(*results, absent)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_comes_from_files_is_shown_on_a_terminal_and_not_obeyed(text, capsys):
    stream = io.StringIO()
    screen = Console(file=stream, width=40, force_terminal=False)
    written = hostile(text)
    for each in written.results:
        console.cell(screen, each, verbose=True)
        console.cell(screen, each, verbose=False)
        console.text(each)
    table.show(screen, written)
    lines = [*stream.getvalue().split("\n"), *str(written).split("\n")]
    assert all(line.isprintable() for line in lines)
    assert not [line for line in lines if line.lstrip().startswith("::") or "##[" in line]
    known = (*Status, "compare: ", "run: ", "lint: ", "…")
    if text.isprintable() and not text.startswith(("::", "##")):
        assert sum(text in line for line in lines) > 20
    cells = [line for line in lines if line and not line.startswith(" ")]
    assert sum(line.startswith(known) for line in cells) >= 2 * len(written.results)


@pytest.mark.parametrize("text", HOSTILE)
def test_what_comes_from_files_is_text_in_junit(text, tmp_path):
    written = hostile(text)
    data = junit.write(written, tmp_path).read_bytes()
    suite = ElementTree.fromstring(data)[0]
    assert [len(case) for case in suite] == [r.status is not Status.PASS for r in written.results]
    shown = text.encode("unicode_escape").decode() if not text.isprintable() else text
    for case, result in zip(suite, written.results, strict=True):
        assert case.get("classname").endswith(shown if result.cell.model != "m" else "m")
        assert case.get("name").count("/") == result.cell.id.count("/")
        for tag in case:
            assert shown in tag.get("message")
            assert not [line for line in tag.text.split("\n") if line.lstrip().startswith("::")]


@pytest.mark.parametrize("text", HOSTILE)
def test_what_comes_from_files_is_text_in_markdown(text, tmp_path):
    lines = table.write(hostile(text), tmp_path).read_text("utf-8").split("\n")
    assert all(line.isprintable() for line in lines)
    assert lines[0].startswith("**Does not conform**: ")
    assert [line[:1] for line in lines[1:4]] == ["", "`", ""]
    assert not re.search(r"<|(?<!\\)[*\[\]]", "\n".join(lines[3:]))
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 2 + len([*Status, Status.FAIL])
    assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows} == {4}
    assert all(not line or line.startswith(("|", "- ", "Figures ")) for line in lines[5:])


def judged_as_tf32(status, saved):
    evidence = {"tolerance": {"row": "ort-cuda+tf32"}, **({"loaded_from": {}} if saved else {})}
    cases = [case()] if status is Status.PASS else ()
    return replace(result(status, cases, "why"), evidence=evidence)


@pytest.mark.parametrize("saved", [True, False])
@pytest.mark.parametrize("status", Status)
def test_a_cell_that_is_judged_as_tf32_says_so(status, saved, tmp_path):
    judged = judged_as_tf32(status, saved)
    note = "judged as TF32" + (" (as its saved evidence says)" if saved else "")
    first = shown(judged).splitlines()[0]
    assert first.endswith(f", {note}")
    other = replace(judged, cell=replace(CELL, runtime="b"), status=Status.PASS, evidence={})
    both = report(judged, other)
    assert re.search(r"\(1 cell judged as TF32\)($|;)", summary.line(both))
    if status is Status.UNAVAILABLE:
        return
    text = table.write(both, tmp_path).read_text()
    (number,) = re.findall(rf"^- (\d): compare: {re.escape(note)}$", text, re.MULTILINE)
    assert re.search(rf"\| {status}( 1,)? {number} (\(0.50\) )?\| pass", text)


def test_other_cells_are_not_said_to_be_judged_as_tf32():
    for tolerance in ({"row": "ort-cuda"}, "x+tf32", None, {"row": None}, {}):
        plain = replace(result(Status.PASS, [case()]), evidence={"tolerance": tolerance})
        assert "TF32" not in shown(plain) + summary.line(report(plain))
    two = summary.line(report(*[judged_as_tf32(Status.PASS, True)] * 2, plain))
    assert two.endswith(": 3 pass (2 cells judged as TF32)")


def limited():
    """As on a full disk: a file may hold no byte, and what writes more is refused."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))


WRITE = """
import sys
from pathlib import Path
from harness import reports
from harness.commands.run import ended
from harness.core.results import Report
sys.exit(ended(lambda argv: reports.load(argv[0])(Report("", {}, ()), Path(argv[1]))
    and 0, sys.argv[1:]))
"""
FORMS = {"json": json_file.NAME, "html": page.NAME, "junit": junit.NAME, "markdown": table.NAME}


@pytest.mark.parametrize("form", FORMS)
def test_a_report_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path, form):
    path = tmp_path / FORMS[form]
    command = [sys.executable, "-B", "-c", WRITE, form, str(tmp_path)]
    ended = subprocess.run(
        command, preexec_fn=limited, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 2, ended.stderr
    assert ended.stderr == f"error: {path}: File too large\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_in_a_reports_place_is_named_and_stays(tmp_path, form):
    path = tmp_path / FORMS[form]
    path.mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        reports.load(form)(report(), tmp_path)
    assert caught.value.filename == str(path)
    assert list(tmp_path.iterdir()) == [path]


def test_how_many_weights_were_found_is_one_line():
    account = {
        "parameters": 14,
        "copied": 11,
        "derived": 2,
        "unused": 1,
        "elements": 123456,
        "elements_proved": 123400,
        "unproven": [],
        "without_source": [{"name": "mask", "shape": [2, 3], "elements": 6}],
    }
    assert weights.line(account) == (
        "weights: 13 of 14 parameters, 123,400 of 123,456 elements, to the bit"
        " (2 derived, to one ulp; 1 unused; 1 constant of no weight)"
    )
    assert weights.line({**account, "derived": "2"}) == weights.line(None) == ""
