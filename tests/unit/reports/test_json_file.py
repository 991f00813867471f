"""``report.json`` holds the dataclasses' fields, whichever there are, and is read strictly."""

import gc
import json
import os
import re
from collections import Counter
from dataclasses import field, fields, make_dataclass, replace

import numpy as np
import pytest

from harness.core.errors import UsageError
from harness.core.results import CaseResult, Cell, CellResult, OutputComparison, Report, Status
from harness.core.schema import Case, Raggedness, RowLengths, Stage
from harness.reports import json_file, merge, scanning, stored

OUTPUT = OutputComparison("y", 0.5, 0.0, 1, 0.1, 1.0, 0.5, (0, 2), 2, "", 9, 4)


def report(*outputs, draw=0, evidence=None, rows=RowLengths.FIRST):
    case = Case({"tokens": 7}, 3, Raggedness.LEFT, True, draw, rows)
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
    assert set(output) == {each.name for each in fields(OutputComparison)} - {"by_step"}
    assert set(case) == (names[Case] | names[CaseResult]) - {"case", "draw", "rows"}
    assert set(cell) == (names[CellResult] | {"id"}) - {"cell"}


def test_what_is_seldom_is_written_only_where_it_is(tmp_path):
    for seldom in ({}, {"draw": 2}, {"rows": RowLengths.MIXED}, {"draw": 1, "rows": "two"}):
        written = report(**seldom)
        path = json_file.write(written, tmp_path)
        case = json.loads(path.read_text())["results"][0]["cases"][0]
        assert {name: case.get(name) for name in ("draw", "rows") if name in case} == seldom
        assert json_file.read(path) == written
    by_step = (None, 0.5, *[0.0] * 7)
    path = json_file.write(report(replace(OUTPUT, by_step=by_step), OUTPUT), tmp_path)
    assert '"by_step": [null, 0.5, 0.0' in path.read_text()
    assert json_file.read(path) == report(replace(OUTPUT, by_step=by_step), OUTPUT)
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


def many(cells, cases, name="m"):
    """A report of cells with many cases each, of which the second of two is worse."""
    (result,) = report().results
    (about,) = result.cases
    results = []
    for number in range(cells):
        judged = [
            replace(about, case=Case({"tokens": n}, 3, draw=n % 3), seconds=n / 8)
            for n in range(1, cases + 1)
        ]
        cell = replace(result.cell, model=f"{name}{number}", framework="wörter")
        results.append(replace(result, cell=cell, cases=tuple(judged), reason='{[\\"]'))
    return replace(report(), results=tuple(results))


@pytest.fixture
def in_pieces(monkeypatch):
    """Files are read in pieces as small as a field, and never held."""
    monkeypatch.setattr(scanning, "SMALL", 1)
    monkeypatch.setattr(scanning, "_CHUNK", 13)
    monkeypatch.setattr(stored, "_CHUNK", 600)


def laid_out(data):
    yield json.dumps(data, indent=3, ensure_ascii=False)
    yield json.dumps(data, separators=(",", ":"))
    yield "\t" + json.dumps(data, sort_keys=True, separators=(" \r\n,", "\t:\n")) + "\n \n"
    escaped = {'"cases"': '"c\\u0061ses"', '"results"': '"\\u0072esults"'}
    yield re.sub("|".join(escaped), lambda key: escaped[key[0]], json.dumps(data))


def test_a_report_is_read_however_it_is_laid_out(tmp_path, in_pieces):
    written = many(3, 4)
    path = json_file.write(written, tmp_path)
    assert json_file.read(path) == written
    data = json.loads(path.read_text())
    for number, text in enumerate(laid_out(data)):
        path.write_text(text, "utf-8")
        assert json_file.read(path) == written, number
    assert json_file.dumps(json_file.read(path)) == json_file.dumps(written)


BROKEN = [
    (b'"ratio": 0.5', b'"ratio": 0.5, "ratio": 0.5', "key 'ratio' is there twice"),
    (b'"ratio": 0.5', b'"ratio" : 0.5, "r\\u0061tio": 0.5', "key 'ratio' is there twice"),
    (b'"tokens": 1', b'"tokens": 1, "tokens": 1', "key 'tokens' is there twice"),
    (b'"cases": [', b'"cases": [], "cases": [', "key 'cases' is there twice, in results[0]"),
    (b'"results": [', b'"results": [], "results": [', "key 'results' is there twice"),
    (b'"version": "1"', b'"a": {"b": 1, "b": 1}', "key 'b' is there twice, in results[0]"),
    (b'"version": "1"', b'"version": NaN', "NaN"),
    (b'"ratio": 0.5', b'"ratio": 1e999', "1e999 is no number of JSON"),
    (b'"ratio": 0.5', b'"ratio": -Infinity', "-Infinity is no number of JSON"),
    (b'"batch": 3', b'"batch": 3000000000000000000000', "a whole number from 0 on"),
    (b'"name": "y"', b'"name": "\\ud800"', "a half of a surrogate pair, in results[0].cases[0]"),
    (b'"name": "y"', b'"name": "\xff"', "'utf-8' codec can't decode byte 0xff"),
    (b'"name": "y"', b'"name": "y" "z"', "Expecting ',' delimiter"),
    (
        b'"version": "1"',
        b'"version": ' + b"[" * 99999 + b"]" * 99999,
        "nested too deep: expected at most 100",
    ),
    (b'"cases": [', b'"cases": [,', "expected a value at byte"),
    (b'"cases": [', b'"cases": [3, ', "expected 'object', got 'int' at results[0].cases[0]"),
    (b'"cases": [', b'"cases": 3, "more": [', "got 'int' at results[0].cases"),
    (b'"status": "pass"', b'"status" "pass"', "is not JSON"),
    (b'"results": [', b'"results": [] [', "expected '}' at byte"),
    (b'"results": [', b'"results": [{}, ', "it has no 'id' at results[0]"),
    (b'"results": [', b'"results": [4, ', "expected 'object', got 'int' at results[0]"),
    (b'{\n"schema"', b'{3: 4, "schema"', "expected a key in quotes at byte"),
    (b'{\n"schema"', b'"{" {\n"schema"', "is no report"),
    (b"]\n}\n", b"]\n} x", "expected nothing more at byte"),
    (b"]\n}\n", b"]\n", "expected '}' at the end"),
    (b'"replay"\n}\n]\n}\n', b'"repl', "it ends within what begins at byte"),
]


@pytest.mark.parametrize("small", [True, False], ids=["whole", "pieces"])
@pytest.mark.parametrize(("old", "new", "message"), BROKEN)
def test_what_is_not_strict_json_is_told_in_one_line(tmp_path, request, small, old, new, message):
    if not small:
        request.getfixturevalue("in_pieces")
    path = json_file.write(replace(many(2, 2), partial=True), tmp_path)
    text = path.read_bytes()
    assert old in text
    path.write_bytes(text.replace(old, new, 1))
    with pytest.raises(UsageError) as caught:
        json_file.read(path)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert message in said
    assert said.isprintable()


def test_what_is_too_large_is_refused(tmp_path, monkeypatch):
    path = json_file.write(many(2, 9), tmp_path)
    assert json_file.read(path).comparisons == 18
    monkeypatch.setattr(scanning, "VALUE_BYTES", 300)
    with pytest.raises(UsageError, match="is too large: expected at most 300 bytes"):
        json_file.read(path)
    monkeypatch.undo()
    monkeypatch.setattr(stored, "VALUE_BYTES", 100)
    with pytest.raises(UsageError, match="is too large: expected at most"):
        json_file.read(path)
    monkeypatch.setattr(json_file, "BYTES", 4000)
    with pytest.raises(UsageError, match="is too large: expected at most 4,000 bytes"):
        json_file.read(path)


def test_no_more_than_a_case_of_each_report_is_held(tmp_path, monkeypatch, in_pieces):
    parts = {}
    for name, report_of in {"a": many(3, 40), "b": many(3, 40), "c": many(2, 30, "n")}.items():
        parts[name] = json_file.read(json_file.write(report_of, tmp_path / name))
    del report_of
    held, encode = [], json_file.encoder

    def counting(output):
        line = encode(output)

        def encoded(case):
            held.append(sum(type(each) is CaseResult for each in gc.get_objects()))
            return line(case)

        return encoded

    gc.collect()
    before = sum(type(each) is CaseResult for each in gc.get_objects())
    monkeypatch.setattr(json_file, "encoder", counting)
    merged = merge.merge(parts, "python -m harness.merge").report
    path = json_file.write(merged, tmp_path / "merged")
    assert len(held) == 3 * 40 + 2 * 30
    assert max(held) - before <= len(parts)
    assert json_file.read(path) == merged
    assert Counter(len(result.cases) for result in merged.results) == {40: 3, 30: 2}


def test_the_file_may_be_replaced_but_not_changed_under_it(tmp_path, in_pieces):
    written = many(2, 3)
    path = json_file.write(written, tmp_path)
    read = json_file.read(path)
    json_file.write(report(), tmp_path)
    assert read == written
    read = json_file.read(path)
    os.truncate(path, 200)
    with pytest.raises(UsageError, match="was changed while it was read"):
        list(read.results[0].cases)


def test_stored_cases_are_a_sequence(tmp_path):
    path = json_file.write(many(2, 5), tmp_path)
    last = json_file.read(path).results[1].cases
    assert (len(last), [case.case.lengths["tokens"] for case in last]) == (5, [1, 2, 3, 4, 5])
    assert last[-1].case.lengths == {"tokens": 5}
    assert [case.case.lengths["tokens"] for case in last[1:3]] == [2, 3]
    assert last == tuple(last) == last[:]
    assert last != tuple(last)[1:]
    assert last != 3
    with pytest.raises(IndexError):
        last[5]
