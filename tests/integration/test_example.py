"""The example of a distribution of one's own: installed, listed, recorded and judged."""

import os
import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from harness.reports import json_file

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("example")]
ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples/plugin"
RECORD = """
import sys
from harness import record
from reference_models import cases
cases.LENGTHS, cases.WIDE = (1, 2, 3, 9), ((7, 5),)
sys.exit(record.main(["echo", "--framework", "torch", "-q", "--golden", sys.argv[1]]))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("example")


@pytest.fixture(scope="module")
def call(folder):
    """Runs Python where the example is installed and its golden is recorded, at few lengths."""
    site = folder / "site"
    path = f"{ROOT}{os.pathsep}{site}"
    environment = {**os.environ, "PYTHONPATH": path, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}

    def run(*arguments):
        given = {"cwd": folder, "env": environment, "capture_output": True, "text": True}
        return subprocess.run([sys.executable, *arguments], check=False, **given)

    pip = ("-m", "pip", "--disable-pip-version-check", "install", "--no-deps", "--no-index")
    source = folder / "source"
    for path in (p for p in EXAMPLE.rglob("*") if p.suffix in (".py", ".toml")):
        copied = source / path.relative_to(EXAMPLE)
        copied.parent.mkdir(parents=True, exist_ok=True)
        copied.write_bytes(path.read_bytes())
    for done in (
        run(*pip, "--no-build-isolation", "--target", str(site), str(source)),
        run("-c", RECORD, str(site / "echo_models/golden")),
    ):
        assert done.returncode == 0, done.stderr
    assert "recorded echo/torch: score 1.0000" in done.stdout
    return run


def test_list_names_what_the_example_adds_and_whence(call):
    done = call("-m", "harness.list")
    assert done.returncode == 0
    theirs = [line.split() for line in done.stdout.splitlines() if "(from echo-models 1.0)" in line]
    assert [line[0] for line in theirs] == ["echo", "stamped/torch", "plain", "worst"]


def test_its_model_and_exporter_are_judged_in_its_runtime_and_told_in_its_report(call, folder):
    given = ("--runtime", "plain,ort-cpu", "--exporter", "all", "--every-step")
    done = call("-m", "harness.validate", "echo", *given, "-k", "native or stamped")
    assert done.returncode == 0, done.stderr
    report = json_file.read(folder / "build/report/report.json")
    assert report.conforms
    cells = [
        f"echo/torch/{exporter}/fp32/{runtime}"
        for exporter in ("native", "stamped")
        for runtime in ("plain", "ort-cpu")
    ]
    assert sorted(result.cell.id for result in report.results) == sorted(cells)
    levels = {result.cell.runtime: result.evidence["optimization"] for result in report.results}
    assert levels == {"plain": "none", "ort-cpu": "all"}
    for exporter in ("native", "stamped"):
        model = onnx.load(folder / f"build/artifacts/echo/torch/{exporter}/fp32/model.onnx")
        assert (model.producer_name == "echo-models") == (exporter == "stamped")
    assert report.steps[0] == report.steps[1] > 0
    lines = (folder / "build/report/worst.txt").read_text().splitlines()
    assert {line.split()[2] for line in lines} == set(cells)
    ratios = [float(line.split()[0]) for line in lines]
    assert ratios == sorted(ratios, reverse=True)
    assert 0 < ratios[0] < 1


def test_the_pytest_plugin_takes_its_golden(call):
    golden = "--harness-golden=site/echo_models/golden"
    plugin = ("-p", "harness.testing.plugin", "-p", "no:cacheprovider")
    done = call("-m", "pytest", *plugin, golden, "-m", "plain", "--harness-runtime=all", "-q")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout


def test_a_model_without_its_golden_is_told_in_one_line(call, tmp_path):
    done = call("-m", "harness.validate", "echo", "--golden", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == f"error: no golden at {tmp_path}/echo/torch: manifest.json is missing\n"
