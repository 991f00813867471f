import json
from dataclasses import replace

import numpy as np
import pytest

from harness.core.errors import GoldenError
from harness.core.schema import Case, TensorSpec
from harness.goldens import manifest as manifests
from harness.goldens import noise_floor, store
from harness.goldens.form import WEIGHTS
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


def test_a_golden_can_share_the_weights_of_another(tmp_path):
    folder = doubler.record(tmp_path / "doubler" / "torch")
    other, spec = tmp_path / "other" / "torch", replace(doubler.SPEC, name="other")
    store.write(other, spec, folder, doubler.recorded(), {"framework": "torch"})
    assert store.read(other).parameters()["two"].tolist() == [2]
    assert store.read(other).weights_sha256 == store.read(folder).weights_sha256
    assert not (other / WEIGHTS).exists()


def test_altered_weights_are_refused(folder):
    path = folder / WEIGHTS
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


def resign(folder, change):
    """Change a manifest as a forger would: with a SHA-256 of its own that fits."""
    manifest = json.loads((folder / store.MANIFEST).read_text())
    change(manifest)
    (folder / store.MANIFEST).write_text(json.dumps(manifests.signed(manifest)))


def at(*place):
    """What sets the value at a place of a manifest."""

    def change(manifest, value):
        *parents, last = place
        for name in parents:
            manifest = manifest[name]
        manifest[last] = value

    return change


CASE, NOISE = ("cases", 0), ("cases", 1, "outputs", "y", "noise")
FORMULA = (*CASE, "inputs", "x", "formula")


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        ((*CASE, "steps"), [], "steps are []; nothing would be compared"),
        ((*CASE, "steps"), [1, 0], "steps do not ascend"),
        ((*CASE, "steps"), [0, 1], "step 1; an output has only 1"),
        ((*CASE, "batch"), 0, "expected 'int' >= 1 at cases[0].batch"),
        ((*CASE, "batch"), True, "expected 'int', got 'bool' at cases[0].batch"),
        ((*CASE, "lengths"), {"sequence": -1}, "expected 'int' >= 0 at cases[0].lengths"),
        ((*CASE, "lengths"), {"sequence": 2**38}, "input x of"),
        ((*CASE, "lengths"), {"time": 1}, "lengths of time; expected ['sequence']"),
        ((*CASE, "draw"), "1", "expected 'int', got 'str' at cases[0].draw"),
        (NOISE, 1e30, "the noise of 'y' in case sequence4-b1-none is 1e+30, more than"),
        (NOISE, 0.01, "more than a thousandth of its scale"),
        (NOISE, 1e308, "more than a thousandth of its scale"),
        (NOISE, -1e-9, "expected 'float' >= 0"),
        (NOISE, True, "expected 'float', got 'bool'"),
        (NOISE, "1e9", "expected 'float', got 'str'"),
        ((*FORMULA, "seed"), -1, "expected 'int' >= 0"),
        (FORMULA, {}, "its formula has no constant, no values and no seed"),
        ((*FORMULA, "low"), 2, "no range whose low is below its high"),
        ((*FORMULA, "counts"), [1], "counts without raggedness"),
        ((*FORMULA, "permuted"), 3, "permutes a range that is not of 1 to 4294967296 integers"),
        ((*FORMULA, "first"), -1, "expected 'int' >= 0"),
        ((*FORMULA, "ends"), [], "length >= 1"),
        ((*FORMULA, "ends"), ["x"], "expected 'float', got 'str'"),
        ((*FORMULA, "runs"), 1, "expected 'bool', got 'int'"),
        ((*CASE, "rows"), "odd", "invalid enum value 'odd'"),
        (("coverage",), {"x": [1]}, "coverage"),
        ((*FORMULA, "code"), "x", "it has no place for 'code'"),
        (("weights", "file"), "/etc/passwd", "weights.file is '/etc/passwd'; expected weights"),
        (("weights", "file"), "../weights.safetensors", "weights.file is '../weights"),
        (("spec", "name"), "../../x", "spec.name: '../../x'; expected a name"),
        (("spec", "name"), "a\nb", "spec.name: 'a\\nb'; expected a name"),
        (("framework",), "/abs", "framework: '/abs'; expected a name"),
        (("spec", "weights"), "..", "spec.weights: '..'; expected a name"),
        (("spec", "padded"), "z", "spec.padded has 'z'; the inputs are x"),
        (("spec", "outputs", 0, "name"), "\x1b[2K", "'\\x1b[2K'; expected a name of printable"),
        (("spec", "outputs", 0, "dtype"), "object", "invalid enum value 'object'"),
        (("cases",), [], "length >= 1 at cases"),
    ],
)
def test_a_golden_whose_manifest_lies_is_refused(folder, place, value, message):
    resign(folder, lambda manifest: at(*place)(manifest, value))
    with pytest.raises(GoldenError) as caught:
        store.read(folder)
    assert message in str(caught.value)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999"])
def test_noise_that_is_no_number_is_refused(folder, text):
    path = folder / store.MANIFEST
    path.write_text(path.read_text().replace('"noise":1e-07', f'"noise":{text}'))
    with pytest.raises(GoldenError, match="is no number of JSON"):
        store.read(folder)


def test_a_golden_of_an_output_without_values_is_refused(tmp_path):
    spec = replace(doubler.SPEC, inputs=(TensorSpec("x", "float32", ("sequence", 0)),))
    spec = replace(spec, outputs=(TensorSpec("y", "float32", ("sequence", 0)),))
    case, empty = Case({"sequence": 3}, 1), np.zeros((3, 0), np.float32)
    formula = {"x": {"constant": 0}}
    outputs = {"y": empty.astype(np.float64)}
    recorded = store.RecordedCase(case, formula, {"x": empty}, outputs, None, {"y": 0.0})
    store.write(tmp_path / "g", spec, {}, [recorded], {"framework": "torch"})
    with pytest.raises(GoldenError, match="output 'y' has no value in any case to compare with"):
        store.read(tmp_path / "g")


def test_a_module_that_an_older_manifest_names_is_only_read(folder):
    resign(folder, lambda manifest: at("spec", "package")(manifest, "evil"))
    assert store.read(folder).spec == doubler.SPEC


@pytest.mark.parametrize("name", [store.MANIFEST, store.CASES, WEIGHTS])
def test_a_file_that_is_a_link_out_of_the_golden_is_refused(folder, name):
    (folder / name).rename(folder.parent / name)
    (folder / name).symlink_to(folder.parent / name)
    with pytest.raises(GoldenError, match=f"{name} leads out of"):
        store.read(folder).parameters()


def test_weights_of_another_model_are_looked_for_beside_it_only(tmp_path):
    owner = doubler.record(tmp_path / "doubler" / "torch")
    spec = replace(doubler.SPEC, name="other")
    for folder in (tmp_path / "elsewhere" / "golden", tmp_path / "other" / "torch"):
        store.write(folder, spec, owner, doubler.recorded(), {"framework": "torch"})
    assert not store.read(tmp_path / "elsewhere" / "golden").has_weights
    with pytest.raises(GoldenError, match="has no weights"):
        store.read(tmp_path / "elsewhere" / "golden").parameters()
    assert store.read(tmp_path / "other" / "torch").has_weights
