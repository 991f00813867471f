"""The pytest plugin: cells as tests, judged as the commands judge them."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import onnx
import onnxruntime
import pytest

from harness import runtimes
from harness.core.expectations import Expectation
from harness.core.schema import Stage
from harness.exporting import bundle
from harness.onnx_tests import layout
from harness.testing import cells
from harness.validation import pipeline
from tests.support import doubler

assert onnxruntime, "loaded here: pytester takes back what its runs import"
pytest_plugins = ["pytester"]
ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "golden"
ARTIFACTS = ROOT / "build/artifacts"
SMALL = ("--harness-model=sequence_encoder,sequence_decoder", "--harness-lengths=1..3")
CELLS = [
    f"{model}/{framework}/native/fp32/ort-cpu"
    for model in ("sequence_encoder", "sequence_decoder")
    for framework in ("keras", "torch")
]
PLUGIN = "pytest_onnx_sequence_harness"
DOUBLER = "doubler/torch/native/fp32"


@pytest.fixture
def shipped(tmp_path):
    """Writes a bundle of the doubler, or of a graph that is none, and gives its folder."""

    def ship(graph=None, name="bundle"):
        golden = doubler.record(tmp_path / "golden")
        about = {"key": {}, "example": {"batch": 2, "sequence": 5}}
        about |= {"exporter": "native", "variant": "fp32"}
        model = (doubler.graph() if graph is None else graph).SerializeToString()
        bundle.write(tmp_path / name, model, about, golden)
        return tmp_path / name

    return ship


def wrong():
    return doubler.graph(constants={"two": np.float32(2.5)})


@pytest.fixture
def call(pytester, monkeypatch):
    """Runs pytest with the plugin, whether or not it is installed, and with no other."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")

    def run(folder, *arguments):
        options = [
            "--disable-warnings",
            "-p",
            "harness.testing.plugin",
            f"--harness-golden={folder}",
        ]
        options.append(f"--harness-artifacts={ARTIFACTS}")
        if not any("harness-runtime" in argument for argument in arguments):
            options.append("--harness-runtime=ort-cpu")
        return pytester.runpytest_inprocess(*options, *arguments)

    return run


def outcomes(result):
    return {name: n for name, n in result.parseoutcomes().items() if name != "warnings"}


def collected(result):
    return [line for line in result.outlines if line.count("/") == 4 and " " not in line]


def test_a_node_id_is_a_cell_id_and_collecting_exports_nothing(call, monkeypatch):
    monkeypatch.setattr(pipeline, "prepare", None)
    result = call(GOLDEN, *SMALL, "--collect-only", "-q")
    assert result.ret == 0
    assert collected(result) == CELLS
    result.stdout.fnmatch_lines(["4 tests collected*"])


@pytest.mark.parametrize(
    ("arguments", "chosen"),
    [
        (["-k", "decoder/torch"], CELLS[3:]),
        (["-k", "decoder and not torch"], CELLS[2:3]),
        (["-m", "torch"], CELLS[1::2]),
        (["-m", "harness and ort-cpu and not keras"], CELLS[1::2]),
        (["--harness-framework", "keras"], CELLS[::2]),
        ([CELLS[2], CELLS[0]], [CELLS[0], CELLS[2]]),
        (["--deselect", CELLS[0]], CELLS[1:]),
    ],
)
def test_cells_are_selected_as_tests_are(call, arguments, chosen):
    result = call(GOLDEN, *SMALL, "--collect-only", "-q", "--strict-markers", *arguments)
    assert result.ret == 0
    assert collected(result) == chosen


def test_a_golden_of_one_model_has_its_cells(call):
    result = call(GOLDEN / "sequence_encoder/keras", "--harness-lengths=1", "--collect-only", "-q")
    assert collected(result) == CELLS[:1]


@pytest.mark.parametrize(
    ("folder", "arguments", "message"),
    [
        ("nowhere", [], "nowhere: no such file or folder"),
        (ROOT / "tests", [], "tests is not a bundle: no readable manifest.json in it"),
        (GOLDEN, ["--harness-model=no_such"], "unknown model 'no_such'"),
        (GOLDEN, ["--harness-runtime=gpu"], "unknown runtime 'gpu'"),
        (GOLDEN, ["--harness-lengths=14"], "--lengths 14: no golden case has it"),
        (GOLDEN, ["--harness-require=broken"], "runtime broken is required and not available"),
        (GOLDEN, ["--harness-exporter=tf2onnx", "--harness-framework=torch"], "no cell"),
        (GOLDEN, [f"--harness-golden={GOLDEN}"], "is there already"),
    ],
)
def test_what_selects_nothing_is_an_error_in_one_line(
    call, monkeypatch, folder, arguments, message
):
    monkeypatch.setitem(runtimes.RUNTIMES, "broken", "gone:X")
    result = call(folder, *arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in result.errlines if line.strip()]
    assert len(lines) == 1, lines
    assert message in lines[0]
    assert "Traceback" not in str(result.stdout)


def test_a_folder_for_exports_that_cannot_be_is_an_error_in_one_line(call):
    result = call(GOLDEN, *SMALL, "--harness-artifacts=/dev/null/x", CELLS[0])
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in result.errlines if line.strip()]
    assert "/dev/null/x" in line


def test_a_bundle_is_judged_and_one_that_fails_shows_what_the_console_does(call, shipped, pytester):
    assert outcomes(call(shipped(), "--harness-artifacts=exports")) == {"passed": 1}
    assert not (pytester.path / "exports").exists()
    folder = shipped(wrong(), "wrong")
    result = call(folder, "--junitxml=j.xml", "-rf")
    assert result.ret == 1
    assert outcomes(result) == {"failed": 1}
    replay = f"python -m harness.validate {folder} --runtime ort-cpu"
    result.stdout.fnmatch_lines(
        [
            f"*{DOUBLER}/ort-cpu*",
            "*compare: 5 of 5 cases; first at sequence=1, batch=2: output y: *",
            "*sequence=1, batch=2: y step 0 *: error * x tolerance *",
            f"*{replay}",
        ]
    )
    assert "Traceback" not in str(result.stdout)
    assert ".py" not in str(result.stdout)
    (case,) = ElementTree.parse(pytester.path / "j.xml").getroot().iter("testcase")
    assert case.get("name") == f"{DOUBLER}/ort-cpu"
    assert case.get("classname") == "harness"
    assert replay in case.find("failure").text
    properties = {each.get("name"): each.get("value") for each in case.iter("property")}
    assert properties["comparisons"] == "10"
    assert float(properties["worst error over tolerance"]) > 1


def test_a_folder_of_onnx_tests_is_judged(call, tmp_path):
    folder = tmp_path / "doubling"
    folder.mkdir()
    onnx.save(doubler.graph(), folder / "model.onnx")
    x = np.ones((2, 4, doubler.FEATURES), np.float32)
    outputs = [("y", 2 * x), ("total", 2 * x.sum(axis=1))]
    layout.write(folder, 0, {"input": [("x", x)], "output": outputs})
    result = call(folder)
    assert outcomes(result) == {"passed": 1}
    outputs[1] = ("total", 3 * x.sum(axis=1))
    layout.write(folder, 1, {"input": [("x", x)], "output": outputs})
    result = call(folder)
    assert outcomes(result) == {"failed": 1}
    assert "output total: " in str(result.stdout)


def expecting(monkeypatch, cell, stage):
    """Lets the rows of expectations hold one for the cell, of a bundle too."""
    own = pipeline.prepare

    def prepare(selection, progress):
        prepared = own(selection, progress)
        row = Expectation(cell, stage, "it is known", "upstream/1")
        jobs = [replace(job, ours=True) for job in prepared.jobs]
        return replace(prepared, jobs=jobs, rows=[row], partial=False)

    monkeypatch.setattr(cells.pipeline, "prepare", prepare)


def test_an_expected_failure_is_xfail_with_its_reason(call, shipped, monkeypatch):
    expecting(monkeypatch, "doubler/*", Stage.COMPARE)
    result = call(shipped(wrong()), "-rx")
    assert result.ret == 0
    assert outcomes(result) == {"xfailed": 1}
    assert "it is known [upstream/1]" in str(result.stdout)


def test_expectations_of_ones_own_hold(call, shipped, tmp_path):
    row = 'cell = "doubler/*"\nstage = "compare"\nreason = "known"\nupstream = "up/2"\n'
    (tmp_path / "own.toml").write_text(f"[[expect]]\n{row}")
    own = f"--harness-expectations={tmp_path / 'own.toml'}"
    result = call(shipped(wrong()), own, "-rx")
    assert (result.ret, outcomes(result)) == (0, {"xfailed": 1})
    assert "known [up/2]" in str(result.stdout)
    assert outcomes(call(shipped(), own)) == {"failed": 1}


def test_an_unexpected_pass_fails(call, shipped, monkeypatch):
    expecting(monkeypatch, "doubler/*", Stage.COMPARE)
    result = call(shipped())
    assert result.ret == 1
    assert outcomes(result) == {"failed": 1}
    result.stdout.fnmatch_lines(["*but it conforms: remove the expectation", "*--runtime ort-cpu"])


def test_a_runtime_that_is_not_here_is_skipped_with_its_reason(call, shipped, monkeypatch):
    monkeypatch.setitem(runtimes.RUNTIMES, "broken", "gone:X")
    result = call(shipped(), "--harness-runtime", "broken,ort-cpu", "-rs")
    assert outcomes(result) == {"passed": 1, "skipped": 1}
    assert "gone:X cannot be imported: ModuleNotFoundError" in str(result.stdout)


def test_no_other_test_is_collected_unless_it_is_named(call, pytester, shipped):
    pytester.makepyfile(
        test_theirs="def test_it(assert_conforms): assert callable(assert_conforms)"
    )
    folder = shipped()
    assert outcomes(call(folder)) == {"passed": 1}
    assert outcomes(call(folder, "test_theirs.py")) == {"passed": 2}
    assert outcomes(call(folder, f"{DOUBLER}/ort-cpu", "test_theirs.py")) == {"passed": 2}
    assert call(folder, f"{DOUBLER}/ort-cuda").ret == pytest.ExitCode.USAGE_ERROR


def test_the_last_failed_alone_run_again(call, shipped):
    assert call(shipped(wrong())).ret == 1
    result = call(shipped(wrong()), "--harness-runtime=ort-cpu,onnx-reference", "--lf")
    assert outcomes(result) == {"failed": 1, "deselected": 1}


PLANTED = """
import json, time
from pathlib import Path
from harness.exporting import bundle, cache

def export(groups, progress, limits):
    exports = [one for group in groups for one in group]
    if exports:
        with open("exports.jsonl", "a") as file:
            file.write(json.dumps(sorted(one.job.name for one in exports)) + "\\n")
        time.sleep(0.3)
    for one in exports:
        failure = {"stage": "export", "reason": f"planted in {one.job.name}"}
        bundle.write(Path(one.job.folder), None, {**one.about, "failure": failure}, None)
    return {}

cache._in_children = export
"""


def test_two_workers_share_the_cells_and_export_each_once(tmp_path):
    (tmp_path / "conftest.py").write_text(PLANTED)
    call = [sys.executable, "-m", "pytest", "-p", "xdist", "-p", "harness.testing.plugin", "-n2"]
    call += ["--harness-golden", str(GOLDEN), *SMALL, "-k", "encoder/torch or decoder/torch"]
    call += ["--harness-runtime", "ort-cpu", "--junitxml=j.xml", "-p", "no:cacheprovider"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(call, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "2 failed" in done.stdout
    exports = [json.loads(line) for line in (tmp_path / "exports.jsonl").read_text().splitlines()]
    names = [cell.rpartition("/")[0] for cell in CELLS[1::2]]
    assert exports == [sorted(names)]
    cases = list(ElementTree.parse(tmp_path / "j.xml").getroot().iter("testcase"))
    assert sorted(case.get("name") for case in cases) == sorted(CELLS[1::2])
    for case in cases:
        name = case.get("name").rpartition("/")[0]
        assert f"export: planted in {name}" in case.find("failure").text
        assert f"export: planted in {name}" in done.stdout


def modules(folder, *arguments):
    """The modules that pytest has loaded at its end."""
    options = ["-p", "no:cacheprovider", *arguments]
    program = f"import sys, pytest; pytest.main({options}); print('loaded', *sys.modules)"
    environment = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=folder, env=environment
    )
    assert done.returncode == 0, done.stderr
    *shown, loaded = done.stdout.splitlines()
    return set(loaded.split()), "\n".join(shown)


def test_the_plugin_costs_nothing_where_it_is_not_used(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_it(): pass")
    without, _ = modules(tmp_path)
    used, shown = modules(tmp_path, "-p", PLUGIN)
    assert "1 passed" in shown
    assert used - without == {PLUGIN}
    _, shown = modules(tmp_path, "-p", PLUGIN, "--markers")
    assert "@pytest.mark.harness: a cell" in shown


def test_a_harness_of_ones_own_is_left_alone(tmp_path):
    (tmp_path / "harness.py").write_text("MINE = 1\n")
    (tmp_path / "test_it.py").write_text(
        "import harness\ndef test_it(): assert harness.MINE\ndef test_ours(assert_conforms): pass\n"
    )
    environment = {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    def run(*arguments):
        call = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:cacheprovider", *arguments]
        options = {"capture_output": True, "text": True, "cwd": tmp_path, "env": environment}
        return subprocess.run(call, check=False, **options)

    message = f"{tmp_path / 'harness.py'} is imported in place of onnx-sequence-harness: rename it"
    done = run("test_it.py::test_it")
    assert (done.returncode, done.stderr) == (0, "")
    done = run()
    assert "1 passed, 1 error" in done.stdout
    assert message in done.stdout
    done = run(f"--harness-golden={GOLDEN}")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in done.stderr.splitlines() if line]
    assert message in line


def test_the_plugin_is_loaded_once_under_whichever_name(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_it(): pass")
    for names in ((PLUGIN, "harness.testing.plugin"), ("harness.testing.plugin", PLUGIN)):
        flags = [flag for name in names for flag in ("-p", name)]
        _, shown = modules(tmp_path, *flags)
        assert "1 passed" in shown
