import json
import zlib
from dataclasses import replace

import numpy as np
import pytest

from harness.core.errors import GoldenError
from harness.goldens import manifest as manifests
from harness.goldens import store
from harness.goldens.form import DTYPES, WEIGHTS
from harness.goldens.packing import FIRST_MAGIC, GROWTH, MAGIC, packed
from harness.goldens.tensor_files import PACKED, read_tensors, write_tensors, write_text
from tests.support import doubler

MANIFEST = store.MANIFEST
START = len(MAGIC) + 8


def random(dtype, *shape):
    """Return values of any bits, NaN of every kind among them."""
    rng = np.random.default_rng(0)
    if dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    count = int(np.prod(shape)) * np.dtype(dtype).itemsize
    return np.frombuffer(rng.bytes(count), dtype).reshape(shape)


def every_dtype():
    return {
        f"{number} {dtype}": random(dtype, *shape)
        for number, shape in enumerate([(3, 4, 5), (), (0, 7), (33,)])
        for dtype in DTYPES
    }


def refused(folder, data):
    """Return why a packed file is refused."""
    (folder / "x.packed").write_bytes(data)
    with pytest.raises(GoldenError) as error:
        read_tensors(folder / "x.safetensors", folder)
    assert "\n" not in str(error.value)
    return str(error.value)


def file_of(magic, header, streams):
    """Return a packed file of a header, deflated as ``magic`` says, and streams."""
    text = json.dumps(header).encode()
    text = zlib.compress(text) if magic == MAGIC else text
    return magic + len(text).to_bytes(8, "little") + text + streams


def altered(data, change, magic=MAGIC):
    """Return a packed file with another header and the same streams."""
    size = int.from_bytes(data[len(MAGIC) : START], "little")
    header = json.loads(zlib.decompress(data[START : START + size]))
    change(header)
    return file_of(magic, header, data[START + size :])


def of_stream(stream, count):
    """Return a packed file of one tensor of so many uint8 values with this stream."""
    header = {
        "tensors": [{"name": "x", "dtype": "uint8", "shape": [count]}],
        "parts": [{"dtype": "uint8", "bytes": count, "stream": len(stream)}],
    }
    return file_of(FIRST_MAGIC, header, stream)


def test_every_dtype_comes_back_to_the_bit_and_in_its_order(tmp_path):
    tensors = every_dtype()
    write_tensors(tmp_path / "x.safetensors", tensors, pack=True)
    assert [path.name for path in tmp_path.iterdir()] == ["x.packed"]
    back = read_tensors(tmp_path / "x.safetensors", tmp_path)
    assert [*back] == [*tensors]
    for name, value in tensors.items():
        assert (back[name].dtype, back[name].shape) == (value.dtype, value.shape)
        assert back[name].tobytes() == value.tobytes()


@pytest.mark.parametrize(
    "tensors", [{}, {"zeros": np.zeros(10**6)}, {"turned": np.eye(5)[:, ::-1]}]
)
def test_what_is_empty_shrinks_well_or_lies_otherwise_comes_back(tmp_path, tensors):
    write_tensors(tmp_path / "x.safetensors", tensors, pack=True)
    back = read_tensors(tmp_path / "x.safetensors", tmp_path)
    assert {n: v.tolist() for n, v in back.items()} == {n: v.tolist() for n, v in tensors.items()}


def test_small_values_take_less_space():
    values = {"x": np.random.default_rng(0).normal(size=10_000)}
    assert len(packed(values)) < 0.95 * values["x"].nbytes


def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path):
    data = packed({"x": random("float32", 50), "y": random("int16", 9)})
    for size in range(len(data)):
        assert str(tmp_path / "x.packed") in refused(tmp_path, data[:size])


def test_a_file_that_goes_on_is_refused(tmp_path):
    assert "its header says" in refused(tmp_path, packed({"x": np.arange(9)}) + b"\0")
    stream = zlib.compress(bytes(9))
    assert "does not end after its 9 bytes" in refused(tmp_path, of_stream(stream + b"\0", 9))


@pytest.mark.parametrize("count", [8, 10, 500])
def test_a_stream_of_another_length_than_declared_is_refused(tmp_path, count):
    why = refused(tmp_path, of_stream(zlib.compress(bytes(9)), count))
    assert f"does not end after its {count} bytes" in why


def test_what_would_grow_too_much_is_refused_before_it_is_inflated(tmp_path, monkeypatch):
    data = bytes(10**7)
    bomb = of_stream(zlib.compress(data), len(data))
    monkeypatch.setattr("harness.goldens.packing.zlib", None)
    assert f"at most {GROWTH} times" in refused(tmp_path, bomb)


def test_more_than_is_allowed_is_refused_before_it_is_inflated(tmp_path, monkeypatch):
    data = altered(packed({"x": np.arange(100)}), lambda header: None, FIRST_MAGIC)
    monkeypatch.setattr("harness.goldens.packing.zlib", None)
    monkeypatch.setattr("harness.goldens.tensor_files.TENSOR_BYTES", 799)
    assert "at most 799 bytes" in refused(tmp_path, data)


def test_a_hidden_bomb_is_inflated_no_further_than_declared(tmp_path):
    stream = zlib.compress(bytes(10**8))
    why = refused(tmp_path, of_stream(stream, len(stream)))
    assert "does not end after" in why


CHANGES = {
    "a name twice": (lambda h: h["tensors"][1].update(name="x"), "there twice"),
    "a dtype twice": (lambda h: h["parts"].append(h["parts"][0]), "there twice"),
    "no part": (lambda h: h["parts"].pop(), "no part of int16"),
    "another shape": (lambda h: h["tensors"][0].update(shape=[7]), "its tensors have 56"),
    "a negative size": (lambda h: h["tensors"][0].update(shape=[-6]), ">= 0"),
    "huge sizes": (lambda h: h["tensors"][0].update(shape=[2**40] * 32), "its tensors have"),
    "nothing of huge sizes": (
        lambda h: h["tensors"].append(
            {"name": "z", "dtype": "int16", "shape": [0, 2**40, 2**40, 2**40]}
        ),
        "is not a file of tensors",
    ),
    "another dtype": (lambda h: h["tensors"][0].update(dtype="object"), "invalid enum value"),
    "one thing more": (lambda h: h.update(more=1), "no place for 'more'"),
    "a longer stream": (lambda h: h["parts"][0].update(stream=10**6), "its header says"),
    "a shorter stream": (lambda h: h["parts"][0].update(stream=3), "its header says"),
}


@pytest.mark.parametrize("magic", [MAGIC, FIRST_MAGIC])
@pytest.mark.parametrize("change", CHANGES)
def test_a_header_that_lies_is_refused(tmp_path, change, magic):
    data = packed({"x": np.arange(6.0), "y": np.arange(3, dtype=np.int16)})
    lie, why = CHANGES[change]
    assert why in refused(tmp_path, altered(data, lie, magic))


def test_a_file_whose_header_is_not_deflated_reads_the_same(tmp_path):
    tensors = every_dtype()
    data = altered(packed(tensors), lambda header: None, FIRST_MAGIC)
    (tmp_path / "x.packed").write_bytes(data)
    back = read_tensors(tmp_path / "x.safetensors", tmp_path)
    assert {n: v.tobytes() for n, v in back.items()} == {n: v.tobytes() for n, v in tensors.items()}


@pytest.mark.parametrize("more", [b"", b"\0"])
def test_a_header_that_grows_too_much_or_goes_on_is_refused(tmp_path, more):
    text = zlib.compress(b" " * 10**7) + more
    data = MAGIC + len(text).to_bytes(8, "little") + text
    assert "the header does not end after" in refused(tmp_path, data)


def test_a_golden_whose_tensors_are_packed_reads_the_same(tmp_path):
    plain, other = doubler.record(tmp_path / "plain"), tmp_path / "packed"
    about = {"framework": "torch"}
    store.write(other, doubler.SPEC, {"two": np.float32([2])}, doubler.recorded(), about, pack=True)
    assert {path.suffix for path in other.iterdir()} == {PACKED}
    one, two = store.read(plain), store.read(other)
    assert one.manifest["cases"] == two.manifest["cases"]
    assert {n: v.tobytes() for n, v in one.tensors.items()} == {
        n: v.tobytes() for n, v in two.tensors.items()
    }
    assert two.has_weights
    assert two.parameters()["two"].tolist() == [2]


def test_weights_that_are_packed_serve_other_goldens(tmp_path):
    owner, other = tmp_path / "doubler" / "torch", tmp_path / "other" / "torch"
    about, spec = {"framework": "torch"}, replace(doubler.SPEC, name="other")
    weights = {"two": np.float32([2])}
    store.write(owner, doubler.SPEC, weights, doubler.recorded(), about, pack=True)
    store.write(other, spec, owner, doubler.recorded(), about, pack=True)
    assert store.read(other).has_weights
    assert store.read(other).parameters()["two"].tolist() == [2]


def test_a_copy_has_its_cases_as_other_tools_read_them(tmp_path):
    folder, weights = tmp_path / "packed", {"two": np.float32([2])}
    about = {"framework": "torch"}
    store.write(folder, doubler.SPEC, weights, doubler.recorded(), about, pack=True)
    store.copy(store.read(folder), tmp_path / "copy")
    assert (tmp_path / "copy" / store.CASES).is_file()
    assert store.read(tmp_path / "copy").parameters()["two"].tolist() == [2]


@pytest.mark.parametrize("name", [MANIFEST, store.CASES, WEIGHTS])
def test_two_forms_of_one_file_are_refused(tmp_path, name):
    folder = doubler.record(tmp_path / "golden")
    (folder / name).with_suffix(PACKED).write_bytes(b"")
    with pytest.raises(GoldenError, match="are both there; expected one of them"):
        store.read(folder).parameters()


def test_a_packed_file_that_is_a_link_out_of_the_golden_is_refused(tmp_path):
    folder = tmp_path / "golden"
    weights, about = {"two": np.float32([2])}, {"framework": "torch"}
    store.write(folder, doubler.SPEC, weights, doubler.recorded(), about, pack=True)
    for name in ("manifest.packed", "cases.packed", "weights.packed"):
        (folder / name).rename(tmp_path / name)
        (folder / name).symlink_to(tmp_path / name)
        with pytest.raises(GoldenError, match=f"{name} leads out of"):
            store.read(folder).parameters()
        (folder / name).unlink()
        (tmp_path / name).rename(folder / name)


@pytest.mark.parametrize("name", ["manifest.packed", "cases.packed"])
def test_any_flipped_bit_is_refused(tmp_path, name):
    folder = tmp_path / "golden"
    weights, about = {"two": np.float32([2])}, {"framework": "torch"}
    store.write(folder, doubler.SPEC, weights, doubler.recorded(), about, pack=True)
    path = folder / name
    clean, rng = path.read_bytes(), np.random.default_rng(0)
    for place in rng.integers(0, len(clean), 60):
        changed = bytearray(clean)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        with pytest.raises(GoldenError):
            store.read(folder)


def test_a_packed_manifest_is_the_same_text(tmp_path):
    folder = tmp_path / "doubler/torch"
    weights, about = {"two": np.float32([2])}, {"framework": "torch"}
    store.write(folder, doubler.SPEC, weights, doubler.recorded(), about, pack=True)
    plain = tmp_path / "copy"
    store.copy(store.read(folder), plain)
    text = (plain / MANIFEST).read_bytes()
    assert manifests.stored(folder / MANIFEST) == text == manifests.stored(plain / MANIFEST)
    assert list(store.goldens(tmp_path)) == [folder]


@pytest.mark.parametrize(
    "tensors",
    [{}, {"x": np.zeros(3, np.uint8)}, {"text": np.zeros(3)}, {"text": np.zeros((1, 3), np.uint8)}],
)
def test_a_packed_file_that_is_no_text_is_no_manifest(tmp_path, tensors):
    (tmp_path / "manifest.packed").write_bytes(packed(tensors))
    with pytest.raises(GoldenError, match=r"manifest\.packed is a packed file of other things"):
        store.read(tmp_path)


def test_a_packed_manifest_that_is_no_json_is_refused(tmp_path):
    write_text(tmp_path / MANIFEST, "[", pack=True)
    with pytest.raises(GoldenError, match=r"manifest\.packed is not JSON"):
        store.read(tmp_path)


def test_a_packed_manifest_that_is_cut_off_is_refused(tmp_path):
    write_text(tmp_path / MANIFEST, "{}", pack=True)
    path = tmp_path / "manifest.packed"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(GoldenError, match=r"manifest\.packed"):
        store.read(tmp_path)
