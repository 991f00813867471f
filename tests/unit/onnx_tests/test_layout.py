"""harness.onnx_tests.layout: the files of ONNX's test folders."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper as nh

from harness.core.errors import UsageError
from harness.onnx_tests import layout
from harness.subjects.resolve import FOLDERS, Kind, resolve

VALUES = {
    "a": np.float32([[1.5, -0.0]]),
    "b": np.array([True, False]),
    "c": np.array(2**62 + 1),
    "d": np.array(["x", "", "ü"], object),
    "e": np.zeros((0, 3), np.float64),
}


def test_what_is_written_is_read_and_is_what_onnx_reads(tmp_path):
    named = list(VALUES.items())
    layout.write(tmp_path, 3, {"input": named, "output": named[:1], "remainder": []})
    folder = tmp_path / "test_data_set_3"
    assert sorted(p.name for p in folder.iterdir()) == [
        *(f"input_{k}.pb" for k in range(5)),
        "output_0.pb",
    ]
    read = layout.read(folder, "input")
    assert [name for name, _ in read] == list(VALUES)
    for name, value in read:
        assert value.dtype == VALUES[name].dtype
        assert value.shape == VALUES[name].shape
        assert value.tolist() == VALUES[name].tolist()
    proto = onnx.load_tensor(str(folder / "output_0.pb"))
    assert proto.name == "a"
    assert nh.to_array(proto).tobytes() == VALUES["a"].tobytes()


def test_data_sets_come_by_number_and_other_entries_are_passed_over(tmp_path):
    assert resolve(str(tmp_path), FOLDERS).kind is not Kind.ONNX_TESTS
    for name in ("test_data_set_10", "test_data_set_2", "test_data_set_x", "other"):
        (tmp_path / name).mkdir()
    assert [p.name for p in layout.data_sets(tmp_path)] == [
        "test_data_set_2",
        "test_data_set_10",
    ]
    assert resolve(str(tmp_path), FOLDERS).kind is Kind.ONNX_TESTS


def test_tensors_come_by_number(tmp_path):
    layout.write(tmp_path, 0, {"input": [(str(k), np.array(k)) for k in range(12)]})
    names = [name for name, _ in layout.read(tmp_path / "test_data_set_0", "input")]
    assert names == [str(k) for k in range(12)]


def test_a_gap_is_told(tmp_path):
    layout.write(tmp_path, 0, {"output": [("a", np.array(1)), ("b", np.array(2))]})
    (tmp_path / "test_data_set_0/output_0.pb").unlink()
    with pytest.raises(UsageError, match=r"has output_1\.pb; expected output_0\.pb and on"):
        layout.read(tmp_path / "test_data_set_0", "output")


def elsewhere():
    tensor = nh.from_array(np.float32([1, 2]), "a")
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "/etc/hostname"
    return tensor.SerializeToString()


BROKEN = {
    "text": b"not a tensor at all",
    "empty": b"",
    "short": nh.from_array(np.float32([1, 2, 3]), "a").SerializeToString()[:-3],
    "elsewhere": elsewhere(),
    "sequence": nh.from_list([np.float32([1])], "a").SerializeToString(),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_no_tensor_is_told_in_one_line(tmp_path, name):
    (tmp_path / "input_0.pb").write_bytes(BROKEN[name])
    with pytest.raises(UsageError, match=r"input_0\.pb holds no readable tensor") as caught:
        layout.read(tmp_path, "input")
    assert "\n" not in str(caught.value)
