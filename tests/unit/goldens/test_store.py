import json
from dataclasses import replace

import numpy as np
import pytest

from harness.core.errors import GoldenError
from harness.core.schema import Case, TensorSpec
from harness.goldens import noise_floor, store
from harness.goldens.manifest import sha256
from tests.support import doubler


@pytest.fixture
def folder(tmp_path):
    return doubler.record(tmp_path / "golden")


def test_a_golden_reads_as_it_was_written(folder):
    read = store.read(folder)
    assert read.spec == doubler.SPEC
    assert read.cases == doubler.CASES
    assert read.parameters()["two"].tolist() == [2]
    case = read.load(read.cases[2])
    np.testing.assert_array_equal(case.outputs["y"], 2 * case.inputs["x"].astype(np.float64))
    assert case.outputs["y"].dtype == np.float64


def with_noise(folder, noise):
    """The golden, its cases' noise of ``total`` replaced, lengths 1, 4, 9 and 30."""
    read = store.read(folder)
    for entry, value in zip(read.manifest["cases"], noise, strict=True):
        entry["outputs"]["total"]["noise"] = value
    return read


@pytest.fixture
def near(monkeypatch):
    """One case is enough to tell what is usual at a length."""
    monkeypatch.setattr(noise_floor, "ENOUGH", 1)


def test_the_noise_floor_is_that_of_its_lengths(folder, near):
    read = with_noise(folder, [1e-7, 4e-7, 9e-7, 3e-6])
    assert read.usual.noise_floor("total", {"sequence": 4}) == 4e-7
    assert read.usual.noise_floor("total", {"sequence": 30}) == 3e-6


def test_the_scale_is_the_largest_value_nearby(folder, near):
    read = store.read(folder)
    largest = {
        case.lengths["sequence"]: read.load(case).outputs["total"].max() for case in read.cases
    }
    assert read.usual.scale("total", {"sequence": 15}) == max(largest[9], largest[30])
    assert read.load(read.cases[1]).scale["total"] == largest[4]


def test_large_inputs_are_formulas_and_small_ones_are_stored(folder, monkeypatch, tmp_path):
    assert any("/input/" in name for name in store.read(folder).tensors)
    monkeypatch.setattr(store, "INLINE_BYTES", 0)
    other = store.read(doubler.record(tmp_path / "formulas"))
    assert not any("/input/" in name for name in other.tensors)
    for case in other.cases:
        same = store.read(folder).load(case).inputs["x"]
        np.testing.assert_array_equal(other.load(case).inputs["x"], same)


def test_a_golden_can_share_the_weights_of_another(folder, tmp_path):
    recorded = doubler.recorded()
    other = tmp_path / "other" / "torch"
    store.write(other, doubler.SPEC, folder, recorded, {"framework": "torch"})
    assert store.read(other).parameters()["two"].tolist() == [2]
    assert store.read(other).weights_sha256 == store.read(folder).weights_sha256
    assert not (other / store.WEIGHTS).exists()


def test_altered_weights_are_refused(folder):
    path = folder / store.WEIGHTS
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(GoldenError, match="altered"):
        store.read(folder).parameters()


@pytest.mark.parametrize("name", [store.MANIFEST, store.CASES])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(GoldenError, match=name):
        store.read(folder)


def test_a_changed_noise_floor_is_noticed(folder):
    manifest = json.loads((folder / store.MANIFEST).read_text())
    manifest["cases"][0]["outputs"]["y"]["noise"] = 1.0
    (folder / store.MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(GoldenError, match="altered"):
        store.read(folder)


def test_a_failed_write_leaves_the_old_golden(folder):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    bad = store.RecordedCase(Case({"sequence": 1}, 1), {}, {"x": np.zeros(1)}, {}, None, {})
    with pytest.raises(KeyError):
        store.write(folder, doubler.SPEC, {"two": np.zeros(1)}, [bad], {})
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == before
    assert [p.name for p in folder.parent.iterdir()] == [folder.name]


def test_the_hash_tells_dtype_and_shape_apart():
    values = np.zeros(4, np.float32)
    same = {sha256(a) for a in (values, values.reshape(2, 2), values.astype(np.int32))}
    assert len(same) == 3
    scalar = np.float32(1)
    assert sha256(scalar) != sha256(scalar.reshape(1))
    assert sha256(values.astype(">f4")) == sha256(values)


def test_every_recorded_input_keeps_its_shape(tmp_path):
    spec = replace(
        doubler.SPEC,
        inputs=(*doubler.SPEC.inputs, TensorSpec("length", "int32", ())),
        lengths={"length": "sequence"},
    )
    case = Case({"sequence": 1}, 1)
    x, length = np.ones((1, 1, 3), np.float32), np.asarray(1, np.int32)
    outputs = {"y": 2.0 * x.astype(np.float64), "total": 2.0 * np.ones((1, 3))}
    formulas = {"x": {"constant": 1}, "length": {"constant": 1}}
    inputs, noise = {"x": x, "length": length}, {"y": 0.0, "total": 0.0}
    recorded = store.RecordedCase(case, formulas, inputs, outputs, None, noise)
    store.write(tmp_path / "g", spec, {"w": x}, [recorded], {"framework": "torch"})
    loaded = store.read(tmp_path / "g").load(case)
    assert {name: value.shape for name, value in loaded.inputs.items()} == {
        "x": (1, 1, 3),
        "length": (),
    }


def test_what_a_killed_process_left_unfinished_is_no_golden(tmp_path):
    folder = doubler.record(tmp_path / "doubler/torch")
    doubler.record(tmp_path / "doubler/.torch-abc")
    assert list(store.goldens(tmp_path)) == [folder]
