"""What entry points add: it is named with its origin, and what is broken stays apart."""

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from harness import reports, runtimes
from harness.core import registry
from harness.core.errors import LoadError, UsageError
from harness.core.results import Report
from harness.goldens import manifest as manifests
from harness.goldens import store
from harness.runtimes import twins
from harness.validation import pipeline
from harness.validation.selection import Selection
from reference_models import catalog
from tests.support import doubler

ROOT = Path(__file__).parents[3]


@pytest.fixture
def added(monkeypatch):
    def add(**targets):
        points = [metadata.EntryPoint(n, t, "harness.runtimes") for n, t in targets.items()]
        monkeypatch.setattr(metadata, "entry_points", lambda *, group: points)
        merged = registry.extended("harness.runtimes", runtimes.OURS)
        monkeypatch.setattr(runtimes, "RUNTIMES", merged)
        return merged

    return add


def test_an_entry_point_adds_a_runtime_after_ours(added):
    targets = added(theirs="tests.support.planted:CLEAN")
    assert list(targets) == [*runtimes.OURS, "theirs"]
    assert runtimes.load("theirs").version() == "planted"
    assert runtimes.load("onnx-reference").check() is None


def test_a_name_of_ours_cannot_be_taken(added):
    assert added(**{"ort-cpu": "tests.support.planted:CLEAN"}) == runtimes.OURS


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("no_such_module:X", "cannot be imported: ModuleNotFoundError: No module named"),
        ("tests.support.planted:NONE", "cannot be imported: AttributeError: module"),
        ("tests.support.planted:right", r"is no runtime: it has no check\(\)"),
        ("not a target", "cannot be imported: ModuleNotFoundError"),
        ("tests.support.leaving:X", "cannot be imported: SystemExit: 0"),
    ],
)
def test_a_broken_one_is_unavailable_with_the_reason(added, target, message):
    added(theirs=target)
    broken = runtimes.load("theirs")
    assert broken.version() == ""
    with pytest.raises(LoadError, match=message) as caught:
        broken.prepare("m.onnx")
    assert broken.check() == str(caught.value)
    assert broken.check().startswith(target)
    assert runtimes.load("onnx-reference").check() is None


def points(monkeypatch, group, *pairs):
    entries = [metadata.EntryPoint(name, target, group) for name, target in pairs]
    monkeypatch.setattr(metadata, "entry_points", lambda *, group: entries)


def test_the_first_to_take_a_name_has_it_and_the_other_is_told_why_not(monkeypatch):
    points(monkeypatch, "harness.models", ("a", "one:A"), ("a", "two:A"), ("b", "three:B"))
    first, second, third = registry.added("harness.models", {"b": "ours:B"})
    assert not first.refused
    assert second.refused == "a is taken by an unnamed package"
    assert third.refused == "b is taken by the harness"
    assert registry.extended("harness.models", {"b": "ours:B"}) == {"b": "ours:B", "a": "one:A"}


@pytest.mark.parametrize(
    ("group", "name", "fits"),
    [
        ("harness.models", "a.b-c_1", True),
        ("harness.models", "a/b", False),
        ("harness.runtimes", "two words", False),
        ("harness.reports", "*", False),
        ("harness.exporters", "mine/torch", True),
        ("harness.exporters", "mine", False),
    ],
)
def test_a_name_that_a_cell_id_cannot_hold_is_refused(monkeypatch, group, name, fits):
    points(monkeypatch, group, (name, "theirs:X"))
    (added,) = registry.added(group, {})
    assert ("expected" in added.refused) != fits
    assert (name in registry.extended(group, {})) == fits


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("gone:X", "gone:X cannot be imported: ModuleNotFoundError: No module named 'gone'"),
        ("tests.support.doubler:NOISE", "NOISE is float, expected a ModelSpec of 'theirs'"),
        ("tests.support.doubler:SPEC", "SPEC is of 'doubler', expected a ModelSpec of 'theirs'"),
    ],
)
def test_a_broken_model_is_told_in_one_line(monkeypatch, target, message):
    monkeypatch.setitem(catalog.MODELS, "theirs", target)
    with pytest.raises(UsageError, match="model theirs: ") as caught:
        catalog.load("theirs")
    assert message in str(caught.value)


def test_a_package_may_ship_the_goldens_of_its_models(tmp_path, monkeypatch):
    monkeypatch.setitem(catalog.MODELS, "doubler", "tests.support.doubler:SPEC")
    assert catalog.goldens(doubler.SPEC) == Path("golden")
    folder = tmp_path / "shipping/golden"
    folder.mkdir(parents=True)
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "shipping/specs.py").touch()
    for target in ("shipping:SPEC", "shipping.specs:SPEC"):
        monkeypatch.setitem(catalog.MODELS, "doubler", target)
        assert catalog.goldens(doubler.SPEC) == folder


def test_what_a_golden_names_is_never_imported(tmp_path, monkeypatch):
    """Neither where the catalog has no such model, nor where it has one elsewhere."""
    folder = doubler.record(tmp_path / "golden")
    (tmp_path / "planted").mkdir()
    for name in ("__init__", "oracle", "torch_twin"):
        (tmp_path / f"planted/{name}.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    path = folder / store.MANIFEST
    manifest = json.loads(path.read_text())
    manifest["spec"]["package"] = "planted"
    manifest["sha256"] = manifests.signed(manifest)["sha256"]
    path.write_text(manifests.text(manifest))
    source = store.read(folder)
    assert source.spec == doubler.SPEC
    with pytest.raises(UsageError, match="unknown model 'doubler'"):
        catalog.part(source.spec, "oracle")
    with pytest.raises(UsageError, match="is not that of doubler in the catalog"):
        twins.TORCH_CPU.prepare(str(folder))
    monkeypatch.setitem(catalog.MODELS, "doubler", "tests.support.doubler:SPEC")
    with pytest.raises(ModuleNotFoundError, match=r"tests\.support\.oracle"):
        catalog.part(source.spec, "oracle")
    assert "planted" not in sys.modules


def test_no_golden_here_names_a_module():
    for folder in store.goldens(Path("golden")):
        assert "reference_models" not in manifests.text(store.read(folder).manifest), folder


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("gone:X", "report theirs: gone:X cannot be imported: ModuleNotFoundError"),
        ("tests.support.doubler:NOISE", "cannot be called with (report, folder)"),
        ("math:sqrt", "report theirs: TypeError"),
    ],
)
def test_a_report_that_fails_costs_no_other(monkeypatch, tmp_path, target, message):
    written = []
    monkeypatch.setitem(reports.REPORTS, "theirs", target)
    monkeypatch.setitem(reports.REPORTS, "last", "tests.unit.core.test_registry:WRITER")
    monkeypatch.setitem(globals(), "WRITER", lambda report, folder: written.append(folder))
    (line,) = reports.write(Report("", {}, ()), tmp_path)
    assert message in line
    assert line.startswith("report theirs: ")
    assert written == [tmp_path]
    names = {"report.json", "report.html", "junit.xml", "report.md"}
    assert {path.name for path in tmp_path.iterdir()} == names


BROKEN = """
[harness.models]
neighbour = theirs:MODEL
no-model = theirs:GOOD
two_input_qa = theirs:MODEL
[harness.runtimes]
neighbour = theirs:GOOD
our-neighbour = theirs:R()
broken = gone:X
raising = theirs:RAISING
leaving = tests.support.leaving:X
ort-cpu = theirs:GOOD
[harness.exporters]
gone/torch = gone:export
none/jax = theirs:MODEL
[harness.reports]
broken = theirs:NOTHING
"""
THEIRS = """
from harness.core.schema import ModelSpec
MODEL = ModelSpec("neighbour", "what it is", (), (), "neighbour")
class R:
    def check(self): return None
    def version(self): return '4.2'
    def prepare(self, path): raise ValueError
class S(R):
    def check(self): raise OSError("no\\nfile")
GOOD, RAISING = R(), S()
"""


def test_list_tells_what_installed_distributions_add_each_in_one_line(tmp_path):
    (tmp_path / "theirs.py").write_text(THEIRS)
    about = tmp_path / "theirs-4.2.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 4.2\n")
    (about / "entry_points.txt").write_text(BROKEN)
    done = subprocess.run(
        [sys.executable, "-m", "harness.list"],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": f"{ROOT}:{tmp_path}", "PATH": "/usr/bin:/bin"},
    )
    assert (done.returncode, done.stderr) == (0, "leaving\n")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    patterns = [
        r"neighbour what it is",
        r"no-model unavailable: model no-model: theirs:GOOD is R, expected a ModelSpec .*",
        r"two_input_qa refused: two_input_qa is taken by the harness",
        r"neighbour 4.2",
        r"our-neighbour unavailable: theirs:R\(\) cannot be imported: AttributeError.*",
        r"broken unavailable: gone:X cannot be imported: ModuleNotFoundError.*",
        r"raising unavailable: check\(\) raised OSError: no",
        r"leaving unavailable: tests.support.leaving:X cannot be imported: SystemExit: 0",
        r"ort-cpu refused: ort-cpu is taken by the harness",
        r"gone/torch unavailable: (gone:export cannot be imported: ModuleNotFound|torch is not).*",
        r"none/jax unavailable: jax is no framework; choose from: keras, torch",
        r"broken unavailable: report broken: theirs:NOTHING cannot be imported: Attribute.*",
    ]
    theirs = [line for line in lines if line.endswith(" (from theirs 4.2)")]
    for pattern in patterns:
        full = rf"{pattern} \(from theirs 4.2\)"
        assert sum(re.fullmatch(full, line) is not None for line in theirs) == 1, pattern
    assert len(theirs) == len(patterns)
    assert any(line.startswith("onnx-reference ") for line in lines)


def test_what_a_distribution_breaks_costs_only_those_who_select_it(monkeypatch):
    monkeypatch.setitem(catalog.MODELS, "theirs", "gone:X")
    ours = sum(len(catalog.load(name).frameworks) for name in catalog.OURS)
    assert len(pipeline.cells(Selection(runtimes=["ort-cpu"]))) == ours
    with pytest.raises(UsageError, match="model theirs: gone:X cannot be imported"):
        pipeline.cells(Selection(subjects=["th*"]))
