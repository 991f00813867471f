"""Which stored exports are used again: those that exporting now would give, and whole ones."""

import shutil
from importlib import metadata

import numpy as np
import pytest

from harness.core import registry
from harness.core.results import Cell
from harness.exporters import DEFAULT_OPSET, EXPORTERS
from harness.exporting import bundle, cache, source_hash
from harness.exporting import key as keys
from harness.goldens import store
from reference_models import catalog
from tests.support import doubler
from tests.support.planted_exporters import TARGETS

OTHER = "tests.support.planted_exporters"


@pytest.fixture
def place(tmp_path, monkeypatch):
    doubler.record(tmp_path / "golden")
    monkeypatch.setitem(cache.FRAMEWORKS, "torch", "tests.support.planted_exporters")
    monkeypatch.setitem(catalog.MODELS, "doubler", "tests.support.doubler:SPEC")
    for key, target in TARGETS.items():
        monkeypatch.setitem(EXPORTERS, key, target)
    monkeypatch.setattr(keys, "installed_versions", lambda framework: {framework: "1.0"})
    return tmp_path


@pytest.fixture
def ensure(place):
    """Export by one planted exporter where it is needed; the bundle and how often it was."""

    def run(name="succeed", opset=18):
        job = cache.ExportJob(
            "doubler", "torch", name, "fp32", opset, str(place / "golden"), str(place / name)
        )
        messages = []
        stored = cache.ensure([job], messages.append)
        return stored[job.name], len(messages)

    return run


def other_weights(place, monkeypatch):
    about = {"model": "doubler", "framework": "torch", "seed": 1, "training": {}}
    weights = {"two": np.float32([3])}
    store.write(place / "golden", doubler.SPEC, weights, doubler.recorded(), about)


def other_exporter(place, monkeypatch):
    monkeypatch.setitem(EXPORTERS, "succeed/torch", "tests.support.small_graphs:cell")


def other_variant(place, monkeypatch):
    monkeypatch.setitem(cache.VARIANTS, "fp32", "harness.graphs.interface:name_axes")


def other_source(place, monkeypatch):
    read = source_hash._source

    def changed(name):
        source = read(name)
        return source._replace(text=b"# changed\n") if name == OTHER else source

    monkeypatch.setattr(source_hash, "_source", changed)


def other_library(place, monkeypatch):
    monkeypatch.setattr(keys, "installed_versions", lambda framework: {framework: "1.1"})


class Distribution:
    name, version = "Planted", "1.0"


def other_distribution(place, monkeypatch):
    monkeypatch.setattr(keys, "origin", registry.origin.__wrapped__)
    entry = metadata.EntryPoint("succeed/torch", TARGETS["succeed/torch"], "harness.exporters")
    vars(entry)["dist"] = Distribution
    monkeypatch.setattr(
        metadata, "entry_points", lambda value: [entry] if value == entry.value else ()
    )


@pytest.mark.parametrize(
    "change",
    [
        other_weights,
        other_exporter,
        other_variant,
        other_source,
        other_library,
        other_distribution,
    ],
)
def test_what_an_export_depends_on_changes_its_key(place, monkeypatch, change):
    job = cache.ExportJob("doubler", "torch", "succeed", "fp32", 18, str(place / "golden"), "")

    def key():
        return cache._plan(job, store.read(place / "golden"), {}).key

    before = key()
    assert key() == before
    change(place, monkeypatch)
    assert key() != before


def test_a_changed_source_is_exported_anew_once(ensure, place, monkeypatch):
    assert ensure()[1] == 1
    assert ensure()[1] == 0
    other_source(place, monkeypatch)
    assert ensure()[1] == 1
    assert ensure()[1] == 0


def test_a_half_written_entry_is_never_there(ensure, place):
    stored, _ = ensure("cut")
    assert "SIGKILL" in str(stored.failure)
    assert not (place / "cut").exists()
    half = [path for path in place.glob(".cut-*") if (path / bundle.MODEL).exists()]
    assert half, "it was to be killed with the model written"
    assert all(not (path / bundle.MANIFEST).exists() for path in half)


def test_an_entry_stays_whole_when_its_successor_is_cut_short(ensure, place):
    ensure()
    shutil.copytree(place / "succeed", place / "cut")
    before = bundle.read(place / "cut")
    stored, _ = ensure("cut", opset=19)
    assert "SIGKILL" in str(stored.failure)
    assert bundle.read(place / "cut") == before


def test_goldens_that_are_known_are_not_read_again(place, monkeypatch):
    golden = store.read(place / "golden")
    monkeypatch.setattr(store, "read", lambda folder: pytest.fail("read again"))
    folder = str(place / "golden")
    job = cache.ExportJob("doubler", "torch", "succeed", "fp32", 18, folder, str(place / "succeed"))
    assert cache.ensure([job], lambda text: None, {folder: golden})[job.name].model.is_file()


def test_an_export_at_another_opset_stands_beside_the_default(place):
    cell = Cell("doubler", "torch", "succeed", "fp32", "ort-cpu")
    default, other = bundle.folder(place, cell), bundle.folder(place, cell, 20)
    assert default == bundle.folder(place, cell, DEFAULT_OPSET)
    assert default == place / "doubler/torch/succeed/fp32"
    messages = []
    for _ in range(2):
        for opset, folder in ((DEFAULT_OPSET, default), (20, other)):
            job = cache.ExportJob(
                *("doubler", "torch", "succeed", "fp32", opset), str(place / "golden"), str(folder)
            )
            stored = cache.ensure([job], messages.append)[job.name]
            assert stored.manifest["opset"] == opset
    assert len(messages) == 2


def test_the_key_names_what_torch_exports_with():
    assert {"torch", "onnxscript", "onnx-ir", "onnx"} <= set(keys.LIBRARIES["torch"])


def test_an_exporters_distribution_is_named_with_its_version(tmp_path, monkeypatch):
    for version in ("1.0", "1.1"):
        about = tmp_path / version / f"their_exporters-{version}.dist-info"
        about.mkdir(parents=True)
        (about / "METADATA").write_text(f"Name: their-exporters\nVersion: {version}\n")
        points = "[harness.exporters]\ntheirs/torch = their_exporter:export\n"
        (about / "entry_points.txt").write_text(points)
        monkeypatch.syspath_prepend(tmp_path / version)
        registry.origin.cache_clear()
        assert registry.origin("their_exporter:export") == f"their-exporters {version}"
    assert registry.origin("their_exporter:other") == ""
    assert registry.origin(EXPORTERS["native/torch"]) == ""
    registry.origin.cache_clear()


def test_what_makes_the_example_inputs_is_part_of_the_key():
    texts = {}
    targets = keys.Targets(
        twin="reference_models.gru_tagger.torch_twin",
        framework="harness.frameworks.torch_twin",
        exporter="harness.exporters.torch.native:export",
        variant="harness.exporters.variants:fp32",
    )
    keys.key(targets, "torch", "", 18, texts)
    assert {"harness.graphs.example", "harness.graphs.interface"} <= texts.keys()
