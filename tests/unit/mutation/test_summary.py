import io
import json

import pytest
from rich.console import Console

from harness.core.results import Cell
from harness.core.schema import Stage
from harness.mutation import report, summary
from harness.mutation.study import CellStudy, Honest
from harness.mutation.trial import Trial, Verdict

CELL = Cell("model", "torch", "native", "fp32", "ort-cpu")


def caught(kind, place, size=None, **more):
    return Trial(kind, place, size, Verdict.CAUGHT, Stage.COMPARE, **more)


def missed(kind, place, size=None, verdict=Verdict.MISSED):
    return Trial(kind, place, size, verdict, reason="too small")


def study(*trials):
    return CellStudy(CELL, trials, Honest(0.5, 7.0, ()), 1.0)


def test_a_kind_counts_what_is_not_equivalent():
    trials = (
        caught("mask-ignored", "a", lengths={"t": 3}, ratio=9.0, peers={"optimum": True}),
        caught("mask-ignored", "b", lengths={"t": 8}, ratio=2.0, peers={"optimum": False}),
        missed("mask-ignored", "c", verdict=Verdict.EQUIVALENT),
        missed("mask-ignored", "d"),
    )
    (kind,) = summary.kinds([study(*trials)])
    assert (kind.mutants, kind.real, kind.caught, kind.missed) == (4, 3, 2, 1)
    assert (kind.length, kind.ratio) == (8, 2.0)
    assert kind.peers == {"optimum": 1}
    assert kind.stages == {"compare": 2}


def test_an_equivalent_mutant_is_no_catch_of_a_peer():
    equivalent = Trial("mask-ignored", "a", None, Verdict.EQUIVALENT, peers={"optimum": True})
    (kind,) = summary.kinds([study(equivalent)])
    assert kind.peers == {}


def test_the_limit_is_the_smallest_size_caught_at_each_place():
    kind = "one-weight-changed"
    trials = (
        *(caught(kind, "a", 1e-2), caught(kind, "a", 1e-4), missed(kind, "a", 1e-5)),
        *(caught(kind, "b", 1e-2), missed(kind, "b", 1e-3)),
        missed(kind, "c", 1e-2),
        missed(kind, "dead", 1e-2, Verdict.EQUIVALENT),
    )
    (limit,) = summary.limits([study(*trials)])
    assert (limit.places, limit.never) == (3, 1)
    assert (limit.best, limit.worst) == (1e-4, 1e-2)
    assert limit.middle == pytest.approx((1e-4 + 1e-2) / 2)


def test_a_peer_that_refuses_the_unchanged_model_is_named():
    alarmed = CellStudy(CELL, (caught("mask-ignored", "a"),), Honest(0.5, 7.0, ("optimum",)), 1.0)
    console = Console(record=True, file=io.StringIO())
    report.show(console, [alarmed])
    assert f"optimum refuses the unchanged {CELL.id}" in console.export_text()


def test_graded_misses_are_no_misses():
    studied = study(missed("one-weight-changed", "a", 1e-7), missed("mask-ignored", "m"))
    assert [trial.defect for _, trial in summary.missed([studied])] == ["mask-ignored"]


def test_the_line_counts_catches_of_ours_and_of_the_peers():
    studied = study(
        caught("mask-ignored", "a", peers={"optimum": True}), missed("mask-ignored", "b")
    )
    assert "1 of 2 caught, 0 equivalent" in report.line([studied])
    assert "optimum 1" in report.line([studied])


def test_a_partial_report_says_so(tmp_path):
    complete = report.write([study(caught("mask-ignored", "a"))], "command", tmp_path / "whole")
    part = report.write([study()], "command", tmp_path / "part", partial=True)
    assert "partial" not in json.loads(complete.read_text())
    assert json.loads(part.read_text())["partial"] is True
    assert [path.name for path in part.parent.iterdir()] == ["mutation.json"]


def test_names_in_a_file_are_shown_and_not_obeyed():
    stream = io.StringIO()
    trial = Trial("mask-ignored", "[red]\n::x", None, Verdict.MISSED, reason="\x1b[2K :smile:")
    hostile = CellStudy(CELL, [trial], Honest(0.5, 7.0, ("::peer",)), 1.0)
    report.show(Console(file=stream, width=9), [hostile])
    report.cell(Console(file=stream), hostile)
    report.kinds(Console(file=stream), {"::kind": lambda subject: iter(())})
    lines = stream.getvalue().split("\n")
    missed_line = rf"missed: mask-ignored [[red]\n::x] in {CELL.id}: \x1b[2K :smile:"
    assert missed_line in lines
    assert all(line.isprintable() and not line.lstrip().startswith("::") for line in lines)
