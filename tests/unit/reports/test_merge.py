"""Reports of shards and of several machines become one, and what is missing is noticed."""

import json
from dataclasses import replace
from xml.etree import ElementTree

import pytest

from harness import merge
from harness.commands.run import ended
from harness.core.errors import UsageError
from harness.core.results import CaseResult, Cell, CellResult, OutputComparison, Report, Status
from harness.core.schema import Case, Raggedness, Stage
from harness.reports import json_file, junit, table
from harness.reports import merge as merging


def output(ratio):
    return OutputComparison("y", ratio, 0.0, 1, 0.1, 1.0, ratio, (0, 2), 2, "", 9, 4)


def case(length=7, ratio=0.5, status=Status.PASS, **kwargs):
    outputs = (output(ratio),)
    about = Case({"tokens": length}, 3, Raggedness.LEFT, repeat=length == 1)
    return CaseResult(about, status, Stage.COMPARE, "", outputs, 0.25, **kwargs)


def cell(name="m", status=Status.PASS, cases=None, reason="", **kwargs):
    results = (case(),) if cases is None else tuple(cases)
    about = Cell(name, "torch", "native", "fp32", "ort-cpu")
    result = CellResult(
        about, status, Stage.COMPARE, reason, {"version": "1"}, results, 0.5, "replay x"
    )
    return replace(result, **kwargs)


def report(*cells, shard=None, partial=False, command="harness.validate", **environment):
    environment |= {"shard": shard} if shard else {}
    call = f"python -m {command}" + (f" --shard {shard}" if shard else "")
    return Report(call, {"python": "3.11", **environment}, cells, partial)


def merged(*reports):
    return merging.merge({f"r{n}": r for n, r in enumerate(reports)}, "python -m harness.merge")


def test_a_written_report_is_read_as_it_was(tmp_path):
    cells = (
        cell("a", cases=[case(1), case(3, relation="padding")]),
        cell("b", Status.XFAIL, [], "known", stage=Stage.EXPORT),
    )
    original = report(*cells, partial=True, cores=2)
    assert json_file.read(json_file.write(original, tmp_path)) == original


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: "not JSON", "is not JSON"),
        (lambda data: "[]", "is no report: expected report.json of schema 1"),
        (lambda data: json.dumps(data | {"schema": 2}), "is no report"),
        (lambda data: json.dumps({"schema": 1}), "is no report"),
        (lambda data: json.dumps(data | {"results": [{}]}), "is no whole report: it has no 'id'"),
        (lambda data: json.dumps(data | {"results": 3}), "is no whole report"),
        (lambda data: json.dumps(data | {"results": []}), "does not count its results"),
        (lambda data: json.dumps(data).replace('"pass"', '"fine"'), "is no whole report"),
        (lambda data: json.dumps(data).replace('"m/torch', '"torch'), "is no whole report"),
        (lambda data: json.dumps(data).replace('"ratio": 0.5', '"ratio": NaN'), "NaN"),
        (lambda data: json.dumps(data)[:-40], "is not JSON"),
    ],
)
def test_what_is_no_report_is_told_in_one_line(tmp_path, change, message, capsys):
    path = json_file.write(report(cell()), tmp_path)
    path.write_text(change(json.loads(path.read_text())))
    with pytest.raises(UsageError):
        json_file.read(path)
    out = tmp_path / "out"
    assert ended(merge.main, [str(path), "-o", str(out)]) == 2
    errors = capsys.readouterr().err
    assert len(errors.splitlines()) == 1
    assert str(path) in errors
    assert message in errors
    assert not out.exists()


def test_a_cell_that_two_reports_have_is_there_once():
    joined = merged(report(cell("a"), cell("b")), report(cell("b", seconds=9.0), cell("c")))
    assert [result.cell.model for result in joined.report.results] == ["a", "b", "c"]
    assert joined.report.comparisons == 3
    assert joined.report.results[1].evidence["reports"] == ["r0", "r1"]
    assert not joined.report.results[1].reason
    assert not joined.missing


def test_two_models_of_one_name_are_not_merged():
    one, other = (cell(evidence={"golden": name * 64}) for name in "ab")
    with pytest.raises(UsageError, match=r"r0 and r1 judged m/.* by different goldens"):
        merged(report(one), report(other))
    unavailable = cell(status=Status.UNAVAILABLE, cases=[], evidence={})
    assert merged(report(one), report(one), report(unavailable)).report.results[0].cases
    with pytest.raises(UsageError, match=r"r0 has the cell m/.* twice"):
        merged(report(one, one))


def test_a_failing_subject_is_not_hidden_by_another_of_its_name():
    matrix = table.of(report(cell(status=Status.FAIL), cell()))
    assert [[row, matrix.text(row, "ort-cpu")] for row in matrix.rows] == [
        ["m/torch", "fail 1"],
        ["m/torch (2)", "pass"],
    ]


def test_cases_are_joined_and_the_worse_of_two_counts():
    one = report(cell(cases=[case(2, 0.1), case(3, 0.9)]))
    two = report(cell(cases=[case(3, 0.2), case(4, 0.3)]))
    for pair in ((one, two), (two, one)):
        (result,) = merged(*pair).report.results
        ratios = {c.case.lengths["tokens"]: c.outputs[0].ratio for c in result.cases}
        assert ratios == {2: 0.1, 3: 0.9, 4: 0.3}


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        (Status.PASS, Status.FAIL),
        (Status.PASS, Status.XPASS),
        (Status.PASS, Status.ERROR),
        (Status.XFAIL, Status.FAIL),
        (Status.FAIL, Status.ERROR),
        (Status.UNAVAILABLE, Status.PASS),
        (Status.UNAVAILABLE, Status.FAIL),
    ],
)
def test_where_reports_conflict_the_worse_counts_and_says_so(good, bad):
    better, worse = report(cell(status=good)), report(cell(status=bad, reason="why"))
    for names, pair in (("r0", "r1"), (better, worse)), (("r1", "r0"), (worse, better)):
        (result,) = merged(*pair).report.results
        assert result.status is bad
        assert result.reason.endswith(": why")
        for name, status in zip(names, (good, bad), strict=True):
            assert f"{status}" in result.reason
            assert f"in {name}" in result.reason


def test_a_failure_at_two_stages_says_both():
    loading = report(cell(status=Status.FAIL, stage=Stage.LOAD))
    (result,) = merged(loading, report(cell(status=Status.FAIL, reason="x"))).report.results
    assert result.reason.startswith("fail at load in r0; fail at compare in r1")


def test_what_any_report_judged_as_tf32_says_so_once_merged(tmp_path):
    wide = report(cell(evidence={"tolerance": {"row": "ort-cuda+tf32"}}, cases=[case(9, 0.1)]))
    joined = merged(wide, report(cell())).report
    assert joined.results[0].tf32 == "judged as TF32 in r0"
    again = json_file.read(json_file.write(joined, tmp_path))
    assert again.results[0].tf32 == "judged as TF32 in r0"
    assert merged(report(cell(cases=[case(9, 0.1)])), wide).report.results[0].tf32
    assert not merged(report(cell()), report(cell())).report.results[0].tf32


def test_three_reports_of_a_cell_are_each_told_once():
    bad = report(cell(status=Status.FAIL, reason="why"))
    (result,) = merged(report(cell()), bad, report(cell())).report.results
    assert result.reason == "pass in r0, r2; fail at compare in r1: why"


def test_environments_that_differ_are_all_kept():
    one, two = report(cell(), gpu="H200", cores=2), report(cell(), gpu="none", cores=2)
    environment = merged(one, two).report.environment
    assert environment["cores"] == 2
    assert "gpu" not in environment
    assert [r["environment"]["gpu"] for r in environment["reports"]] == ["H200", "none"]
    assert [r["report"] for r in environment["reports"]] == ["r0", "r1"]


@pytest.mark.parametrize(
    ("shards", "missing"),
    [
        (["1/2", "2/2"], []),
        (["2/3"], ["1/3", "3/3"]),
        (["1/2", "1/2"], ["2/2"]),
        (["1/1"], []),
        (["1/3", "2/2"], ["2/3", "3/3", "1/2"]),
    ],
)
def test_a_missing_shard_is_noticed(shards, missing):
    joined = merged(*(report(cell(shard), shard=shard) for shard in shards))
    assert [line.split()[1] for line in joined.missing] == missing
    assert joined.report.partial == bool(missing)


def test_of_very_many_missing_shards_some_are_told():
    lines = merged(report(cell(), shard="2/900000000")).missing
    assert len(lines) == merging.MISSING + 1
    assert lines[1].startswith("shard 3/900000000 is missing: r0 is 2/900000000 of ")
    assert lines[-1].startswith("899,999,899 more shards of 900,000,000 are missing: r0 is ")
    assert not merged(report(cell(), shard=f"1/{'9' * 5000}")).missing


def test_shards_of_two_selections_do_not_stand_in_for_each_other():
    call = "harness.validate --runtime"
    one = report(cell(), shard="1/2", command=f"{call} a --report-dir x -q")
    two = report(cell(), shard="2/2", command=f"{call} a --report-dir=y --workers 3")
    assert not merged(one, two).missing
    other = report(cell(), shard="2/2", command=f"{call} b")
    missing = merged(one, other).missing
    assert [line.split(" of ")[1] for line in missing] == [
        f"python -m {call} a",
        f"python -m {call} b",
    ]


@pytest.mark.parametrize(
    ("reports", "code"),
    [
        ([report(cell("a")), report(cell("b"))], 0),
        ([report(cell("a")), report(cell("a", Status.FAIL))], 1),
        ([report(cell("a")), report(cell("b", Status.UNAVAILABLE, []))], 0),
        ([report(cell("b", Status.UNAVAILABLE, []))], 4),
        ([report()], 4),
        ([report(cell("a")), report(cell("b"), partial=True)], 2),
        ([report(cell("a"), shard="1/2")], 2),
        ([report(cell("a", Status.FAIL), shard="1/2")], 1),
    ],
)
def test_the_command_writes_every_report_and_ends_as_validate_does(reports, code, tmp_path, capsys):
    paths = [json_file.write(part, tmp_path / str(n)) for n, part in enumerate(reports)]
    out = tmp_path / "out"
    assert ended(merge.main, [*map(str, paths), "-o", str(out)]) == code
    printed = capsys.readouterr()
    written = json_file.read(out / "report.json")
    assert bool(printed.err) == written.partial
    assert written.partial == any(r.partial or "shard" in r.environment for r in reports)
    assert "partial report" in printed.out or not written.partial
    assert all(result.cell.id in printed.out for result in written.results)
    suite = ElementTree.parse(out / "junit.xml").getroot()
    assert int(suite.get("tests")) == len(written.results)


def test_junit_has_a_case_for_each_cell(tmp_path):
    statuses = list(Status)
    cells = [cell(s.value, s, reason=f"<{s}> \x1b[1m\x00") for s in statuses]
    suites = ElementTree.parse(junit.write(report(*cells), tmp_path)).getroot()
    (suite,) = suites
    counts = {"tests": "6", "failures": "2", "errors": "1", "skipped": "2", "time": "3.000"}
    assert {name: suite.get(name) for name in counts} == counts
    assert {name: suites.get(name) for name in counts} == counts
    tags = {each.get("name").split("/")[0]: [child.tag for child in each] for each in suite}
    assert tags == {
        "pass": [],
        "fail": ["failure"],
        "xpass": ["failure"],
        "error": ["error"],
        "xfail": ["skipped"],
        "unavailable": ["skipped"],
    }
    failure = suite.find("./testcase/failure")
    assert failure.get("message").startswith("fail at compare: <fail>")
    assert "replay x" in failure.text
    assert [path.name for path in tmp_path.iterdir()] == ["junit.xml"]
