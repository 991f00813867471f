"""ci.schemas: what the harness writes is of its schema, and what is malformed is not."""

import io
import json
import re
from contextlib import redirect_stdout
from copy import deepcopy
from importlib import import_module

import numpy as np
import onnx
import pytest
from jsonschema import Draft202012Validator
from onnx import numpy_helper

from ci import schemas
from harness.accounting.account import account
from harness.accounting.form import read as read_account
from harness.core.errors import GoldenError, UsageError
from harness.core.results import Status
from harness.core.schema import Case, Raggedness, RowLengths, Stage
from harness.exporting import bundle
from harness.goldens import manifest as goldens
from harness.linting.finding import Finding
from harness.linting.formats import as_json
from harness.onnx_operators import report as operators
from harness.onnx_operators.cases import OperatorCase, OperatorVerdict
from harness.onnx_operators.survey import Survey
from harness.placing.answer import NodePlaced, PlacedAtOpset, PlacementFile
from harness.reports import json_file
from harness.typed_json import plain
from harness.validation.outputs import manifest as outputs
from tests.support import ROOT, tiny_golden
from tests.unit.reports import test_reports

GONE = "the key is gone"
ALWAYS = (("schema", 2), ("schema", "1"), ("schema", None), ("schema", GONE))
MALFORMED = {
    "report": (
        *(("results.0.cases.0.batch", GONE), ("results.0.more", 1), ("results.0.cases.0.x", 1)),
        *(("results.0.status", "good"), ("results.0.id", "tiny"), ("results.0.cases.0.batch", -1)),
        *(("results.0.cases.0.lengths.sequence", 1.5), ("results.0.cases", {}), ("summary", [])),
        *(("results.0.cases.0.outputs.0.ratio", "0.5"), ("results.0.seconds", True)),
        *(("results.0.cases.0.outputs.0.tolerance", -1e-9), ("results.0.evidence", None)),
        *(("results.0.cases.0.outputs.0.by_step", [-1]), ("results", [[]]), ("command", 1)),
        *(("summary.pass", GONE), ("summary.good", 1), ("summary.cells", -1)),
    ),
    "comparison": (
        *(("cells.0.word", GONE), ("cells.0.reason", GONE), ("cells.0.more", 1), ("more", 1)),
        *(("cells.0.word", "good"), ("cells.0.compared", -1), ("cells.0.before", "1")),
        *(("cells.0.compared", 1.5), ("cells", {}), ("summary", [])),
        *(("budget", None), ("what", 1), ("cells.0.after", True)),
    ),
    "bundle": (
        *(("sha256", GONE), ("key", GONE), ("example", GONE), ("key", []), ("sha256", None)),
        *(("example.batch", -1), ("example.batch", 0), ("example.batch", "5"), ("variant", 1)),
        *(("example.batch", 1.5), ("rounded", {}), ("failure", "none"), ("golden_sha256", 1)),
    ),
    "failed": (
        *(("key", GONE), ("key", "18"), ("failure.stage", "load"), ("failure.stage", GONE)),
        *(("failure.reason", GONE), ("failure.reason", None), ("failure.crashed", 1)),
        *(("failure", []), ("failure", True), ("exporter", 1), ("variant", None)),
    ),
    "account": (
        *(("parameters", GONE), ("parameters.0.how", GONE), ("parameters.0.more", 1)),
        *(("more", 1), ("parameters.0.status", "good"), ("parameters.0.dtype", "float8")),
        *(("parameters.0.shape.0", -1), ("parameters.0.shape.0", "1"), ("parameters", {})),
        *(("parameters.0.blocks.0.rows", 1.5), ("parameters.0.blocks.0.rows", True)),
        *(("parameters.0.constant", "f" * 63), ("parameters.0.name", None)),
    ),
    "golden": (
        *(("spec", GONE), ("spec.inputs.0.dtype", GONE), ("spec.more", 1), ("cases.0.more", 1)),
        *(("spec.inputs.0.dtype", "float8"), ("cases.0.raggedness", "some"), ("cases", [])),
        *(("cases.0.batch", 0), ("cases.0.lengths.sequence", -1), ("cases.0.batch", "1")),
        *(("cases.3.steps.0", 1.5), ("cases", {}), ("spec", []), ("stored", None)),
        *(("cases.0.outputs.y.noise", -1), ("cases.0.outputs.y.sha256", "0"), ("framework", 1)),
    ),
    "outputs": (
        *(("golden", GONE), ("cell.model", GONE), ("more", 1), ("cases.0.more", 1)),
        *(("golden", "g"), ("outputs", None), ("cases.0.seconds", -1), ("cases.0.repeat", 1)),
        *(("outcome", "good"), ("cases.0.seconds", "1"), ("cases", {}), ("evidence", [])),
        *(("cases.0.outputs.0", ["y"]), ("cell.runtime", 1)),
    ),
    "lint": (
        *(("files", GONE), ("files.0.file", GONE), ("files.0.findings.0.rule", GONE)),
        *(("more", 1), ("files.0.more", 1), ("files.0.findings.0.more", 1), ("files", {})),
        *(("files.0.findings.0.severity", "note"), ("files.0.findings.0.place", None)),
        *(("files.0.findings.0", []), ("files.0.findings", "none"), ("files.0.file", 1)),
    ),
    "mutation": (
        *(("kinds", GONE), ("kinds.0.ratio", GONE), ("cells.0.trials.0.place", GONE)),
        *(("more", 1), ("kinds.0.more", 1), ("cells.0.trials.0.more", 1), ("cells", {})),
        *(("cells.0.trials.0.verdict", "good"), ("cells.0.trials.0.stage", "end")),
        *(("kinds.0.caught", -1), ("limits.0.places", -1), ("kinds.0.mutants", 1.5)),
        *(("cells.0.seconds", "1"), ("limits.0.best", True), ("environment", [])),
        *(("partial", "no"), ("command", None)),
    ),
    "diagnosis": (
        *(("diagnoses", GONE), ("diagnoses.0.id", GONE), ("diagnoses.0.node.certain", GONE)),
        *(("more", 1), ("diagnoses.0.more", 1), ("diagnoses.0.departure.more", 1)),
        *(("diagnoses.0.fault", "nobody"), ("diagnoses.0.status", "good"), ("diagnoses", {})),
        *(("diagnoses.0.cases.judged", -1), ("diagnoses.0.departure.steps.0", 1.5)),
        *(("diagnoses.0.node.max_abs", "1"), ("diagnoses.0.shortest", []), ("command", None)),
        *(("diagnoses.0.departure.tolerance", -1), ("diagnoses.0.notes", "none")),
    ),
    "operators": (
        *(("onnx", GONE), ("runtimes.oracle.version", GONE), ("more", 1)),
        *(("runtimes.oracle.more", 1), ("runtimes.oracle.cases.test_a.more", 1)),
        *(("runtimes.oracle.cases.test_a.verdict", "good"), ("selected", -1), ("selected", "1")),
        *(("runtimes.oracle.counts.wrong", 1.5), ("runtimes.oracle.cases", [])),
        *(("recurrent", {}), ("runtimes", []), ("onnx", None)),
    ),
    "placement": (
        *(("file", GONE), ("placements.0.opset", GONE), ("placements.0.nodes.0.node", GONE)),
        *(("more", 1), ("placements.0.more", 1), ("placements.0.nodes.0.more", 1)),
        *(("placements.0.opset", -1), ("placements.0.opset", "18"), ("placements", {})),
        *(("placements.0.nodes_by_provider.CUDAExecutionProvider", []), ("cuda", None)),
        *(("placements.0.nodes_by_provider.CUDAExecutionProvider.LSTM", 1.5), ("cuda", 13.0)),
    ),
}
"""What each kind of file is refused with: a place in it, and what stands there."""


def schema(kind):
    name = "bundle" if kind == "failed" else kind
    return json.loads((schemas.FOLDER / f"{name}.json").read_text("utf-8"))


def errors(kind, document):
    """What is wrong with a file by its published schema."""
    return [error.message for error in Draft202012Validator(schema(kind)).iter_errors(document)]


def called(command, *argv):
    """What a command prints."""
    text = io.StringIO()
    with redirect_stdout(text):
        import_module(f"harness.{command}").main([str(word) for word in argv])
    return text.getvalue()


def printed(*words):
    return json.loads(called(*words, "--json"))


def altered(document, place, value):
    document = deepcopy(document)
    *folders, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    at = document
    for folder in folders:
        at = at[folder]
    if value is GONE:
        del at[last]
    else:
        at[last] = value
    return document


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A file of each kind, as the harness writes it; most are from commands over a small LSTM."""
    folder = tmp_path_factory.mktemp("files")
    whole = tiny_golden.make_bundle(folder / "tiny")
    good, golden = folder / "tiny/made/tiny.onnx", folder / "tiny/made/golden"
    net = onnx.load(good)
    weights = {each.name: numpy_helper.to_array(each) for each in net.graph.initializer}
    broken = np.float32(1.5) * weights["W"]
    net.graph.initializer[0].CopyFrom(numpy_helper.from_array(broken, "W"))
    onnx.save(net, folder / "broken.onnx")
    kept = ("--runtime", "ort-cpu", "--report-dir", folder / "report")
    printed("validate", whole, *kept, "--save-outputs", folder / "outputs")
    (saved,) = (folder / "outputs").rglob("manifest.json")
    report = folder / "report/report.json"
    defects = ("--defect", "gates-clipped,tensor-scaled", "--lengths", "1..7")
    called("mutate", whole, *defects, "--report-dir", folder, "-q")
    failure = {"stage": "export", "reason": "it has no way", "crashed": True}
    bundle.write(folder / "failed", None, {"key": {}, "failure": failure}, None)
    against = ("--golden", golden, "--against", good, "-o", folder / "diagnosis")
    surveyed = {
        "oracle": Survey("1", {"test_a": OperatorVerdict("wrong", "off by one")}),
        "tract": Survey("", {}, "not installed"),
    }
    placed = NodePlaced("CUDAExecutionProvider", "LSTM", "lstm")
    at_18 = PlacedAtOpset(18, "", {placed.provider: {"LSTM": 1}}, [placed])
    found = Finding("dynamic-axes", "error", "x", "a fixed axis", "name it")
    return {
        "report": json.loads(report.read_text()),
        "comparison": printed("compare", report, report),
        "bundle": json.loads((whole / "manifest.json").read_text()),
        "failed": json.loads((folder / "failed/manifest.json").read_text()),
        "account": json.loads(account(weights, onnx.load(good)).json()),
        "golden": json.loads(goldens.stored(golden / "manifest.json")),
        "outputs": json.loads(saved.read_text()),
        "lint": json.loads("".join(as_json({"a.onnx": [found], "b.onnx": []}))),
        "mutation": json.loads((folder / "mutation.json").read_text()),
        "diagnosis": printed("diagnose", folder / "broken.onnx", *against),
        "operators": operators.report(surveyed, [OperatorCase("test_a", b"", (), True)]),
        "placement": plain(PlacementFile(1, "a.onnx", "1.31.0", "13.0", [at_18])),
        "lint of a file": printed("lint", good),
    }


def test_what_is_published_is_what_the_types_say_now():
    published = {path.stem: json.loads(path.read_text("utf-8")) for path in PUBLISHED}
    assert published == {name: json.loads(schemas.text(name)) for name in schemas.SCHEMAS}


PUBLISHED = sorted(schemas.FOLDER.iterdir())


def test_every_schema_is_one_and_is_in_the_document():
    for path in PUBLISHED:
        Draft202012Validator.check_schema(json.loads(path.read_text("utf-8")))
    listed = re.findall(r"\]\(schemas/(\w+)\.json\)", (ROOT / "docs/files.md").read_text("utf-8"))
    assert sorted(listed) == [path.stem for path in PUBLISHED]


def test_what_is_written_is_of_its_schema(files):
    wrong = {kind: errors(kind.partition(" ")[0], document) for kind, document in files.items()}
    assert not {kind: why for kind, why in wrong.items() if why}
    assert {*files} >= {*schemas.SCHEMAS}


def test_seldom_fields_are_in_the_schema(files):
    result = test_reports.result(Status.FAIL, [test_reports.case(Status.FAIL, reason="too far")])
    rows = Case({"tokens": 7}, 3, Raggedness.RIGHT, True, 2, RowLengths.MIXED)
    judged = test_reports.replace(result.cases[0], case=rows, relation="reversal")
    judged = test_reports.replace(
        judged, outputs=(test_reports.replace(judged.outputs[0], by_step=(0.5, None)),)
    )
    crashed = test_reports.result(Status.ERROR, reason="it fell")
    both = test_reports.report(test_reports.replace(result, cases=(judged,)), crashed)
    document = json.loads(json_file.dumps(test_reports.replace(both, partial=True)))
    assert {"draw", "rows"} < {*document["results"][0]["cases"][0]}
    assert not errors("report", document)
    lost = plain(outputs.Outcome(Status.ERROR, Stage.LOAD, "it fell"))
    assert not errors("outputs", {**files["outputs"], "outcome": lost, "model": None})


@pytest.mark.parametrize("path", sorted(ROOT.glob("golden/*/*/manifest.packed")), ids=str)
def test_every_golden_here_is_of_its_schema(path):
    assert not errors("golden", json.loads(goldens.stored(path.with_suffix(".json"))))


def test_each_kind_of_file_is_refused_for_ten_reasons_of_its_own():
    assert {*MALFORMED} == {*schemas.SCHEMAS, "failed"}
    assert min(len({*map(str, changes)}) for changes in MALFORMED.values()) >= 10


@pytest.mark.parametrize("kind", MALFORMED)
def test_a_malformed_file_is_refused(files, kind):
    changes = [*MALFORMED[kind], *ALWAYS]
    accepted = [each for each in changes if not errors(kind, altered(files[kind], *each))]
    assert not accepted
    assert errors(kind, [files[kind]])


def read_golden(path):
    document = json.loads(path.read_text())
    path.write_text(json.dumps(goldens.signed(document)))
    goldens.read(path)


def read_outputs(path):
    document = json.loads(path.read_text())
    document["sha256"] = outputs._sha256({k: v for k, v in document.items() if k != "sha256"})
    path.write_text(json.dumps(document))
    outputs.read(path)


def read_manifest(path):
    bundle.check_manifest(json.loads(path.read_text()), path)


READERS = {
    "report": json_file.read,
    "bundle": read_manifest,
    "failed": read_manifest,
    "account": read_account,
    "golden": read_golden,
    "outputs": read_outputs,
}
"""What reads a kind of file again; those that have a hash of themselves are signed anew."""


@pytest.mark.parametrize("kind", READERS)
def test_what_reads_a_file_refuses_what_its_schema_does(files, tmp_path, kind):
    path = tmp_path / "manifest.json"

    def refusal(document):
        path.write_text(json.dumps(document))
        try:
            READERS[kind](path)
        except (UsageError, GoldenError) as error:
            return str(error)
        return ""

    assert not refusal(files[kind])
    said = [(each, refusal(altered(files[kind], *each))) for each in (*MALFORMED[kind], *ALWAYS)]
    assert not [each for each, text in said if not text or "\n" in text]
