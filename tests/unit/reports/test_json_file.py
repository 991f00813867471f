"""``report.json`` holds the dataclasses' fields, whichever there are, and is read strictly."""

import json
from dataclasses import field, fields, make_dataclass, replace

import numpy as np
import pytest

from harness.core.errors import UsageError
from harness.core.results import CaseResult, Cell, CellResult, OutputComparison, Report, Status
from harness.core.schema import Case, Raggedness, Stage
from harness.reports import json_file

OUTPUT = OutputComparison("y", 0.5, 0.0, 1, 0.1, 1.0, 0.5, (0, 2), 2, "", 9, 4)


def report(*outputs, draw=0, evidence=None):
    case = Case({"tokens": 7}, 3, Raggedness.LEFT, True, draw)
    judged = CaseResult(case, Status.PASS, Stage.COMPARE, "", outputs or (OUTPUT,), 0.25, "padding")
    cell = Cell("m", "torch", "native", "fp32", "ort-cpu")
    evidence = {"version": "1"} if evidence is None else evidence
    result = CellResult(cell, Status.PASS, Stage.COMPARE, "", evidence, (judged,), 0.5, "replay")
    return Report("python -m harness.validate", {"cores": 2}, (result,))


@pytest.mark.parametrize("default", [{}, {"default": 0.0}], ids=["stated", "default"])
def test_a_metric_that_is_added_to_the_dataclass_is_written_and_read(
    tmp_path, monkeypatch, default
):
    added = [("median", float, field(**default)), ("places", tuple[int, ...], (0,))]
    more = make_dataclass("More", added, bases=(OutputComparison,), frozen=True, kw_only=True)
    monkeypatch.setattr(json_file, "OutputComparison", more)
    written = report(more(**vars(OUTPUT), median=0.125, places=(3, 4)))
    path = json_file.write(written, tmp_path)
    (output,) = json.loads(path.read_text())["results"][0]["cases"][0]["outputs"]
    assert (output["median"], output["places"]) == (0.125, [3, 4])
    assert json_file.read(path) == written


def test_every_field_is_there_by_its_name(tmp_path):
    data = json.loads(json_file.write(report(), tmp_path).read_text())
    (cell,) = data["results"]
    (case,) = cell["cases"]
    (output,) = case["outputs"]
    names = {kind: {each.name for each in fields(kind)} for kind in (Case, CaseResult, CellResult)}
    assert set(output) == {each.name for each in fields(OutputComparison)}
    assert set(case) == (names[Case] | names[CaseResult]) - {"case", "draw"}
    assert set(cell) == (names[CellResult] | {"id"}) - {"cell"}


def test_what_is_seldom_is_written_only_where_it_is(tmp_path):
    for written, draws in ((report(), None), (report(draw=2), 2)):
        path = json_file.write(written, tmp_path)
        assert json.loads(path.read_text())["results"][0]["cases"][0].get("draw") == draws
        assert json_file.read(path) == written
    part = replace(report(), partial=True)
    assert json_file.read(json_file.write(part, tmp_path)) == part


def test_numbers_of_numpy_are_numbers(tmp_path):
    odd = replace(OUTPUT, ratio=np.float64(0.5), worst_step=np.int64(2))
    path = json_file.write(report(odd, evidence={"k": np.float32(2)}), tmp_path)
    assert json_file.read(path) == report(evidence={"k": 2.0})


def test_a_number_that_is_none_is_refused():
    with pytest.raises(ValueError, match="JSON"):
        json_file.dumps(report(replace(OUTPUT, ratio=float("nan"))))


def test_seconds_are_rounded_to_a_millionth():
    exact = report()
    rough = replace(exact, results=(replace(exact.results[0], seconds=0.50000001),))
    assert json_file.dumps(rough) == json_file.dumps(exact)


CASE = ("results", 0, "cases", 0)
FIRST = (*CASE, "outputs", 0)
PLACE = "results[0].cases[0].outputs[0]"
STRANGE = [
    ((*FIRST, "ratio"), "0.5", f"expected 'float', got 'str' at {PLACE}.ratio"),
    ((*FIRST, "ratio"), True, f"expected 'float', got 'bool' at {PLACE}.ratio"),
    ((*FIRST, "ratio"), None, f"expected 'float', got 'null' at {PLACE}.ratio"),
    ((*FIRST, "max_ulp"), 1.5, f"expected 'int', got 'float' at {PLACE}.max_ulp"),
    ((*FIRST, "worst_index"), [0, "1"], f"expected 'int', got 'str' at {PLACE}.worst_index[1]"),
    ((*FIRST, "median"), 1.0, f"it has no place for 'median' at {PLACE}"),
    ((*CASE, "repeat"), 1, "expected 'bool', got 'int' at results[0].cases[0].repeat"),
    ((*CASE, "batch"), True, "expected 'int', got 'bool' at results[0].cases[0].batch"),
    ((*CASE, "lengths", "tokens"), "7", "got 'str' at results[0].cases[0].lengths[...]"),
    (
        (*CASE, "raggedness"),
        "top",
        "invalid enum value 'top', expected none, right, left, gapped, empty"
        " at results[0].cases[0].raggedness",
    ),
    (("results", 0, "stage"), "x", "'x', expected export, check, load, run, compare at results[0]"),
    (("results", 0, "id"), "m/torch/native/fp32", "at results[0].id"),
    (("results", 0, "evidence"), [], "expected 'object', got 'array' at results[0].evidence"),
    (("schema",), True, "expected 'int', got 'bool' at schema"),
    (("command",), 3, "expected 'str', got 'int' at command"),
    (("partial",), "no", "expected 'bool', got 'str' at partial"),
    (("more\nof it",), 1, "it has no place for 'more of it'"),
]


@pytest.mark.parametrize(("place", "value", "message"), STRANGE)
def test_what_is_not_as_declared_is_named_with_its_place(tmp_path, place, value, message):
    path = json_file.write(report(), tmp_path)
    data = holder = json.loads(path.read_text())
    for part in place[:-1]:
        holder = holder[part]
    holder[place[-1]] = value
    path.write_text(json.dumps(data))
    with pytest.raises(UsageError) as caught:
        json_file.read(path)
    said = str(caught.value)
    assert said.startswith(f"{path} is no whole report: ")
    assert message in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize("place", [(), ("results", 0), CASE, FIRST], ids=len)
def test_a_key_that_is_missing_is_named_with_its_place(tmp_path, place):
    path = json_file.write(report(), tmp_path)
    document = json.loads(path.read_text())
    holder = document
    for part in place:
        holder = holder[part]
    for name in set(holder) - {"schema", "results"}:
        kept = holder.pop(name)
        path.write_text(json.dumps(document))
        with pytest.raises(UsageError, match=f"is no whole report: it has no '{name}'"):
            json_file.read(path)
        holder[name] = kept
