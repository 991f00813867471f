"""The lint of data that lies outside the model file."""

from __future__ import annotations

import onnx
import pytest

from harness.linting import linter
from tests.support.lint_graphs import (
    AXES,
    EXAMPLE,
    FEATURES,
    model,
    node,
    ones,
    value,
)


def external(path, location="weights.bin"):
    """The clean model, its constant stored in another file."""
    proto = model([node("Mul", "x k", "y")], [value("y", AXES)], k=ones(FEATURES))
    onnx.save(proto, path, save_as_external_data=True, location="weights.bin", size_threshold=0)
    stored = onnx.load(path, load_external_data=False)
    for entry in stored.graph.initializer[0].external_data:
        if entry.key == "location":
            entry.value = location
    path.write_bytes(stored.SerializeToString())
    return path


def test_external_data_that_is_there_is_a_warning(tmp_path):
    (finding,) = linter.of_file(external(tmp_path / "m.onnx"), EXAMPLE)
    assert (finding.rule, finding.severity) == ("external-data", "warning")
    assert "1 tensor in the file 'weights.bin'" in finding.found


@pytest.mark.parametrize(
    ("location", "text"),
    [
        ("gone.bin", "'gone.bin' is missing"),
        ("/etc/passwd", "absolute path"),
        ("../weights.bin", "outside the model's folder"),
        ("", "without a location"),
        ("short.bin", "ends at byte 12 of 'short.bin', which has 4"),
    ],
)
def test_external_data_that_cannot_be_used_is_an_error(tmp_path, location, text):
    (tmp_path / "short.bin").write_bytes(b"1234")
    (finding,) = linter.of_file(external(tmp_path / "m.onnx", location), EXAMPLE)
    assert (finding.rule, finding.severity) == ("external-data", "error")
    assert text in finding.found


def test_an_offset_that_is_no_number_is_an_error(tmp_path):
    path = external(tmp_path / "m.onnx")
    stored = onnx.load(path, load_external_data=False)
    stored.graph.initializer[0].external_data.add(key="length", value="twelve")
    path.write_bytes(stored.SerializeToString())
    (finding,) = linter.of_file(path, EXAMPLE)
    assert (finding.rule, finding.severity) == ("external-data", "error")
    assert "no number" in finding.found
