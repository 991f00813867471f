"""The manifest of a bundle is read strictly where something rests on it."""

import json

import onnx
import pytest

from harness.core.errors import UsageError
from harness.exporting import bundle
from tests.support import doubler

ABOUT = {"key": {"opset": 18}, "example": {"batch": 5, "sequence": 7}, "subject": "a model"}
FAILED = {"key": {}, "failure": {"stage": "check", "reason": "no", "crashed": True}}


@pytest.fixture
def change(tmp_path):
    """Write a bundle whose manifest is changed, and read it."""

    def read(about, **changes):
        bundle.write(tmp_path / "b", None if "failure" in about else b"model", about, None)
        path = tmp_path / "b" / bundle.MANIFEST
        manifest = {**json.loads(path.read_text()), **changes}
        path.write_text(json.dumps({k: v for k, v in manifest.items() if v is not KeyError}))
        return bundle.read(tmp_path / "b")

    return read


def test_what_is_written_is_read_as_it_was(change):
    assert change(ABOUT, more=[1]).manifest["subject"] == "a model"
    failure = change(FAILED).failure
    assert (str(failure), failure.stage, failure.crashed) == ("no", "check", True)
    assert (
        change({**FAILED, "failure": {"stage": "export", "reason": "x"}}).failure.crashed is False
    )


@pytest.mark.parametrize(
    ("about", "changes", "message"),
    [
        (ABOUT, {"schema": 2}, "expected a bundle manifest of schema 1"),
        (ABOUT, {"key": KeyError}, "it has no 'key'"),
        (ABOUT, {"key": []}, "expected 'object', got 'array' at key"),
        (ABOUT, {"sha256": KeyError}, "it has no 'sha256'"),
        (ABOUT, {"sha256": 3}, "expected 'str', got 'int' at sha256"),
        (ABOUT, {"example": KeyError}, "it has no 'example'"),
        (ABOUT, {"example": {"batch": True}}, "expected 'int', got 'bool' at example"),
        (ABOUT, {"example": {"batch": 0}}, "expected 'int' >= 1 at example"),
        (ABOUT, {"golden_sha256": {}}, "got 'object' at golden_sha256"),
        (FAILED, {"failure": "no"}, "expected 'object', got 'str' at failure"),
        (
            FAILED,
            {"failure": {"stage": "run", "reason": ""}},
            "'run', expected export, check at failure.stage",
        ),
        (FAILED, {"failure": {"stage": "check"}}, "it has no 'reason' at failure"),
    ],
)
def test_what_is_not_as_it_must_be_is_told_with_its_place(
    tmp_path, change, about, changes, message
):
    with pytest.raises(UsageError) as caught:
        change(about, **changes)
    text = str(caught.value)
    assert text.startswith(f"{tmp_path / 'b' / bundle.MANIFEST}: ")
    assert message in text


def test_a_manifest_that_is_no_json_is_no_bundle(tmp_path, change):
    change(ABOUT)
    (tmp_path / "b" / bundle.MANIFEST).write_text('{"schema": NaN}')
    with pytest.raises(UsageError, match="is not a bundle: no readable manifest"):
        bundle.read(tmp_path / "b")
    assert bundle.is_foreign(tmp_path / "b")


@pytest.mark.parametrize("name", ["model.onnx", "report.json"])
def test_a_folder_with_one_file_of_its_own_is_foreign(tmp_path, name):
    assert not bundle.is_foreign(tmp_path)
    (tmp_path / name).write_text("{}")
    assert bundle.is_foreign(tmp_path)


def test_a_rejected_model_says_what_to_do_with_it(tmp_path):
    (tmp_path / "rejected.onnx").write_bytes(b"")
    with pytest.raises(UsageError, match=r"harness diagnose .*rejected\.onnx --golden "):
        bundle.read(tmp_path)


@pytest.mark.parametrize("field", ["exporter", "variant"])
@pytest.mark.parametrize("name", ["../x", "/abs", "", "a\nb", "..", ".hidden"])
def test_a_name_that_would_leave_its_folder_is_refused(change, field, name):
    with pytest.raises(UsageError, match=f"{field}: .*; expected a name of at most"):
        change(ABOUT, **{field: name})


def embedded():
    """A model whose one constant lies in the file ``weights.bin``."""
    model = doubler.graph()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="weights.bin")
    return model.SerializeToString()


def test_a_model_whose_data_no_hash_covers_is_no_bundle(tmp_path):
    bundle.write(tmp_path / "b", embedded(), ABOUT, None)
    (tmp_path / "b" / "weights.bin").write_bytes(bytes(4))
    with pytest.raises(UsageError, match=r"keeps 'two' in another file, 'weights\.bin', which its"):
        bundle.read(tmp_path / "b")


@pytest.mark.parametrize("name", sorted(bundle.NAMES))
def test_a_part_that_is_a_link_out_of_the_bundle_is_refused(tmp_path, name):
    golden = doubler.record(tmp_path / "recorded")
    bundle.write(tmp_path / "b", b"model", ABOUT, golden, "# card\n", "{}")
    (tmp_path / "b" / name).rename(tmp_path / name)
    (tmp_path / "b" / name).symlink_to(tmp_path / name)
    with pytest.raises(UsageError, match=f"{name} leads out of .*; expected a file in it"):
        bundle.read(tmp_path / "b")
