"""Folders in the layout of ONNX's backend tests: a model and its expected outputs.

``model.onnx`` beside ``test_data_set_N/input_K.pb`` and ``output_K.pb``, each a TensorProto; K
counts the graph's inputs and outputs. ONNX Runtime's test runner, tract and onnx-mlir read them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import onnx
from onnx import TensorProto, numpy_helper

from harness.core.errors import UsageError, one_line
from harness.core.reading import TENSOR_BYTES, read_inside
from harness.core.schema import Array
from harness.subjects.resolve import DATA_SET

MODEL = "model.onnx"
Named = Sequence[tuple[str, Array]]


def data_sets(folder: Path) -> list[Path]:
    """Return the folders of the data sets in ``folder`` by their numbers."""
    folders = [path for path in folder.glob(f"{DATA_SET}*") if _number(path) is not None]
    return sorted(folders, key=lambda path: _number(path) or 0)


def write(folder: Path, number: int, tensors: dict[str, Named]) -> None:
    """Add a data set; ``tensors`` are the named arrays of each kind: input, output, …"""
    target = folder / f"{DATA_SET}{number}"
    target.mkdir()
    for kind, named in tensors.items():
        for place, (name, value) in enumerate(named):
            proto = numpy_helper.from_array(value, name)
            (target / f"{kind}_{place}.pb").write_bytes(proto.SerializeToString())


def read(data_set: Path, kind: str) -> list[tuple[str, Array]]:
    """Return the tensors of a kind in order, by their names, which may be empty.

    Strings are Python's, in an array of objects. UsageError, in one line, where one is missing
    between others or is no tensor.
    """
    numbers = sorted(
        number
        for path in data_set.glob(f"{kind}_*.pb")
        if (number := _number(path, f"{kind}_", ".pb")) is not None
    )
    if numbers != list(range(len(numbers))):
        files = ", ".join(f"{kind}_{n}.pb" for n in numbers)
        raise UsageError(f"{data_set} has {files}; expected {kind}_0.pb and on without a gap")
    return [_tensor(data_set / f"{kind}_{number}.pb") for number in numbers]


def _tensor(path: Path) -> tuple[str, Array]:
    proto = onnx.TensorProto()
    data = read_inside(path, path.parents[1], TENSOR_BYTES)
    try:
        proto.ParseFromString(data)
        if proto.data_location == TensorProto.EXTERNAL:
            raise ValueError("its data is in another file")
        value = numpy_helper.to_array(proto)
    except Exception as error:  # NumPy and onnx raise what they like for a tensor that lies
        raise UsageError(f"{path} holds no readable tensor: {one_line(error)}") from None
    return proto.name, value


def _number(path: Path, prefix: str = DATA_SET, suffix: str = "") -> int | None:
    match = re.fullmatch(f"{re.escape(prefix)}(\\d+){re.escape(suffix)}", path.name)
    return int(match[1]) if match else None
