"""Findings in each format, whatever the names in a graph and the files are."""

import json

import pytest

from harness.linting import formats, linter
from harness.linting.finding import Finding

HOSTILE = "a b\n::error::x,%0A:y\u202e\x1b[31m<script>##vso[task]"
FINDINGS = [
    Finding("baked-length", "error", "Reshape 'r'", "7 is a constant", "take it from Shape"),
    Finding("unused", "warning", HOSTILE, HOSTILE, "leave it out"),
]
BY_FILE = {"model.onnx": FINDINGS, f"dir/{HOSTILE}.onnx": FINDINGS[1:], "clean.onnx": []}


def text(name, by_file=BY_FILE):
    return "\n".join(formats.FORMATS[name](by_file))


def test_every_format_is_one_that_the_command_offers():
    from harness.lint import FORMATS

    assert tuple(formats.FORMATS) == FORMATS


@pytest.mark.parametrize("name", formats.FORMATS)
def test_no_name_steers_a_terminal_or_begins_a_line(name):
    printed = text(name)
    assert not {"\x1b", "\u202e", "\r"} & {*printed}
    assert "\n::error::x" not in printed
    if name in ("text", "github"):
        assert "##vso[" not in printed


def test_github_shows_each_finding_at_its_file():
    first, second, third = text("github").splitlines()
    assert first == (
        "::error file=model.onnx,title=baked-length::"
        "Reshape 'r': 7 is a constant; take it from Shape"
    )
    assert second.startswith("::warning file=model.onnx,title=unused::")
    properties = third.removeprefix("::warning ").partition(",title=unused::")[0]
    assert not {",", ":"} & {*properties.removeprefix("file=")}
    assert text("github", {"clean.onnx": []}) == ""


def test_sarif_has_a_result_for_each_finding_and_the_rules_that_it_names():
    log = json.loads(text("sarif"))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == ["baked-length", "unused"]
    assert rules[0]["shortDescription"]["text"] == linter.rules()["baked-length"]
    assert [result["level"] for result in run["results"]] == ["error", "warning", "warning"]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert result["message"]["text"]
    empty = json.loads(text("sarif", {"clean.onnx": []}))["runs"][0]
    assert (empty["results"], empty["tool"]["driver"]["rules"]) == ([], [])


@pytest.mark.parametrize(
    ("file", "uri"),
    [
        ("model.onnx", "model.onnx"),
        ("a b/ü#1?.onnx", "a%20b/%C3%BC%231%3F.onnx"),
        ("/abs/m.onnx", "file:///abs/m.onnx"),
        ("C:\\m x.onnx", "file:///C:/m%20x.onnx"),
        ("a:b.onnx", "./a%3Ab.onnx"),
    ],
)
def test_a_sarif_location_is_a_uri_reference(file, uri):
    (run,) = json.loads(text("sarif", {file: FINDINGS[:1]}))["runs"]
    location = run["results"][0]["locations"][0]["physicalLocation"]["artifactLocation"]
    assert location["uri"] == uri


def test_json_and_text_have_every_finding():
    files = json.loads(text("json"))["files"]
    assert [len(file["findings"]) for file in files] == [2, 1, 0]
    assert files[0]["findings"][0] == FINDINGS[0].as_dict()
    assert text("text").endswith("3 files: 1 error, 2 warnings")
