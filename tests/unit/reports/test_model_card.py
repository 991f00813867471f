"""``MODEL.md``: what it says, and that what it says to run runs."""

import ast
import re
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import harness
from harness.core.results import Cell, CellResult, Report, Status
from harness.core.schema import Case, ModelSpec, Raggedness, Stage, TensorSpec
from harness.linting import linter
from harness.reports import model_card


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """The bundle of a graph with a padded table, masked and refused somewhere, and a lint."""
    folder = tmp_path_factory.mktemp("card")
    value = helper.make_tensor_value_info
    table = np.linspace(-1, 1, 40, dtype=np.float32).reshape(10, 4)
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "tokens"], ["rows"]),
            helper.make_node("Unsqueeze", ["mask", "axis"], ["column"]),
            helper.make_node("Mul", ["rows", "column"], ["kept"]),
            helper.make_node("Identity", ["kept"], ["y"]),
        ],
        "table",
        [
            value("tokens", TensorProto.INT64, ["rows", "steps"]),
            value("mask", TensorProto.FLOAT, ["rows", "steps"]),
        ],
        [value("y", TensorProto.FLOAT, ["rows", "steps", 4])],
        [
            numpy_helper.from_array(table, "table"),
            numpy_helper.from_array(np.array([-1]), "axis"),
            numpy_helper.from_array(np.ones(3, np.float32), "idle"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    onnx.save(model, folder / "table.onnx")
    inputs = {"tokens": "padding 0", "mask": "mask of steps"}
    harness.export(folder / "table.onnx", folder / "out", inputs=inputs, lengths=[1, 6])
    return folder / "out"


def test_it_says_what_goes_in_and_out(shipped):
    text = (shipped / "MODEL.md").read_text()
    assert "| input | `tokens` | int64[batch, steps] | 1 to 9; 0 is padding |" in text
    assert "| input | `mask` | float32[batch, steps] | 1 at valid steps of steps" in text
    assert "| output | `y` | float32[batch, steps, 4] | |" in text


def test_it_says_what_was_proved(shipped):
    text = (shipped / "MODEL.md").read_text()
    assert "the float64 evaluation of the file's own graph" in text
    assert "- steps: 1, 6\n" in text
    assert re.search(r"^- padding: none, .*gapped", text, re.MULTILINE)
    assert re.search(r"\| ort-cpu \| \S+ \| `y` \| \d\.\d\d x tolerance \| \S+ \|", text)
    assert "## Not compared" not in text


def test_its_example_runs(shipped, monkeypatch):
    monkeypatch.chdir(shipped)
    (code,) = re.findall(r"```python\n(.*?)```", (shipped / "MODEL.md").read_text(), re.DOTALL)
    names = {}
    exec(code, names)
    assert names["outputs"][0].shape == (1, 9, 4)


def test_it_says_what_lint_found(shipped):
    text = (shipped / "MODEL.md").read_text()
    listed = re.findall(r"^- (\w+): .*; .* \((\S+)\)$", text, re.MULTILINE)
    findings = linter.of_file(shipped / "model.onnx", {})
    assert ("warning", "unused") in listed
    assert sorted(listed) == sorted((finding.severity, finding.rule) for finding in findings)


def test_it_says_how_to_prove_it_again_from_outside(shipped):
    text = (shipped / "MODEL.md").read_text()
    assert "from outside this folder" in text
    assert "```\nharness validate path/to/table\n```" in text
    assert "python -m" not in text


@pytest.mark.parametrize(
    "text", ["a\nb", "<script>", "x|y", "``[a](b)*", "\x1b[2K\udc80\u202e\ufffe"]
)
def test_names_in_it_are_only_shown(text):
    tensor = TensorSpec(text, "int64", ("batch", text))
    spec = ModelSpec(text, text, (tensor,), (tensor,), text, masks={}, lengths={text: text})
    stored = SimpleNamespace(
        spec=spec, framework=text, manifest={}, cases=[Case({text: 3}, 2, Raggedness.RIGHT)]
    )
    finding = dict.fromkeys(("severity", "place", "found", "remedy", "rule"), text)
    evidence = {"version": text, "lint": [finding], "coverage": {"values": {text: [3, 5000]}}}
    way = dict.fromkeys(("node", "operator", "condition", "never"), text)
    evidence["decisions"] = {"count": 2, "both_ways": 1, "tries": 9, "one_way": [way]}
    cells = [
        CellResult(Cell("m", "f", "e", "v", runtime), Status.ERROR, Stage.RUN, text, evidence)
        for runtime in (text, "other")
    ]
    row = {text: {"worst_ratio": 0.5, "largest": 1.0}}
    manifest = {"subject": text, "exporter": text, "variant": text, "refused": [text]}
    manifest["tolerance"] = {text: row}
    card = model_card.text(stored, manifest, Report("", {}, tuple(cells)))
    assert "3 of 5,000 values read; nothing proves the others" in card
    assert "decisions of the graph: 1 of 2 both ways" in card
    lines = card.split("\n")
    assert all(line.isprintable() for line in lines)
    rows = [re.findall(r"(?<!\\)(?:\\\\)*\|", line) for line in lines if line.startswith("|")]
    assert [len(bars) for bars in rows] == [5] * 4 + [6] * 4
    prose = re.sub(r"(?ms)^```.*?^```$", "", card)
    prose = re.sub(r"(?<![\\`])(`+)(?!`).*?(?<!`)\1(?!`)", "", prose)
    assert not re.search(r"<|(?<!\\)(\*|\]\(|`)", prose)
    ast.parse(re.search(r"(?s)```python\n(.*?)\n```", card)[1])
