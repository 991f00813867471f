"""Goldens and bundles to ONNX's test folders and back, and what others see there."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import convert
from harness.commands.run import ended
from harness.core.errors import GoldenError, NothingSelectedError, UsageError
from harness.exporting import bundle
from harness.goldens import every_step, store
from harness.goldens import manifest as manifests
from harness.onnx_tests import convert as converting
from harness.onnx_tests import layout
from harness.oracle.runtime import ORACLE
from harness.subjects.resolve import CONVERTIBLE, resolve
from harness.validate import main as validate
from tests.support import tiny_golden
from tests.support.small_graphs import save
from tests.support.tiny_golden import CASES, PARTLY, files

ROOT = Path(__file__).parents[2]
TWIN = "dialog_act_tagger/torch"


def source_of(path, model=None):
    return converting.source(resolve(str(path), CONVERTIBLE), model)


@pytest.fixture
def tiny(tmp_path):
    return tiny_golden.make(tmp_path / "tiny")


def converted(tiny, folder, **options):
    model, source = tiny
    counts = converting.to_tests(source_of(source, model), folder, **options)
    assert counts[1] == 0
    return folder


def feeds_and_outputs(folder, number):
    """As ONNX's own runner takes them: by position, whatever else is there."""
    model = onnx.load(folder / "model.onnx")
    data_set = folder / f"test_data_set_{number}"
    tensors = []
    for kind, values in (("input", model.graph.input), ("output", model.graph.output)):
        count = len(list(data_set.glob(f"{kind}_*.pb")))
        protos = [onnx.load_tensor(str(data_set / f"{kind}_{k}.pb")) for k in range(count)]
        assert [proto.name for proto in protos] == [value.name for value in values]
        tensors.append({p.name: onnx.numpy_helper.to_array(p) for p in protos})
    return tensors


def test_a_golden_of_ours_comes_back_to_the_bit(tmp_path):
    source = source_of(ROOT / "golden" / TWIN)
    counts = converting.to_tests(source, tmp_path / "tests")
    assert counts == (len(source.golden.cases), 0)
    converting.from_tests(tmp_path / "tests", tmp_path / "back")
    back, here = store.read(tmp_path / "back"), source.golden
    assert (tmp_path / "back/manifest.json").read_bytes() == manifests.stored(
        here.folder / "manifest.json"
    )
    for one, other in ((back.tensors, here.tensors), (back.parameters(), here.parameters())):
        assert {n: v.tobytes() for n, v in one.items()} == {
            n: v.tobytes() for n, v in other.items()
        }


def test_a_part_of_a_golden_of_ours_comes_back_as_that_part(tmp_path):
    source = source_of(ROOT / "golden" / TWIN)
    written, left_out = converting.to_tests(source, tmp_path / "tests", ["1..60"])
    assert (0 < written < len(source.golden.cases), left_out) == (True, 0)
    converting.from_tests(tmp_path / "tests", tmp_path / "part")
    part = store.read(tmp_path / "part")
    assert len(part.cases) == written
    assert max(max(case.lengths.values()) for case in part.cases) <= 60
    for case in part.cases:
        ours, theirs = source.golden.load(case), part.load(case)
        assert all((ours.inputs[n] == theirs.inputs[n]).all() for n in ours.inputs)
        assert all((ours.outputs[n] == theirs.outputs[n]).all() for n in ours.outputs)


def test_a_golden_with_sums_of_every_step_comes_back_to_the_bit(tmp_path):
    model, golden = tiny_golden.make(tmp_path / "made")
    session = ORACLE.prepare(str(model))

    def complete(case):
        return replace(case, outputs=dict(session.run(case.inputs)), steps=None)

    every_step.write(store.read(golden), complete, tmp_path / "golden")
    source = replace(source_of(golden), golden=store.read(tmp_path / "golden"), model=model)
    converting.to_tests(source, tmp_path / "tests")
    converting.from_tests(tmp_path / "tests", tmp_path / "back")
    assert any("projection" in name for name in store.read(tmp_path / "back").tensors)
    assert files(tmp_path / "back") == files(tmp_path / "golden")


def test_a_bundle_comes_back_to_the_bit(tmp_path):
    source = tiny_golden.make_bundle(tmp_path)
    converting.to_tests(source_of(source), tmp_path / "tests")
    assert converting.from_tests(tmp_path / "tests", tmp_path / "back") == len(CASES)
    assert files(tmp_path / "back") == files(source)


def test_others_see_complete_float32_outputs_in_the_models_order(tmp_path, tiny):
    folder = converted(tiny, tmp_path / "tests")
    exact = ORACLE.prepare(str(tiny[0]))
    runtime = onnxruntime.InferenceSession(str(folder / "model.onnx"))
    for number, (length, batch) in enumerate(CASES):
        feeds, outputs = feeds_and_outputs(folder, number)
        assert outputs["y"].shape == (length, 1, batch, 4)
        assert list(outputs) == ["y", "h"]
        for name, value in exact.run(feeds):
            assert outputs[name].dtype == np.float32
            assert (outputs[name] == value.astype(np.float32)).all()
        for value, expected in zip(runtime.run(None, feeds), outputs.values(), strict=True):
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)


def test_inputs_and_outputs_are_numbered_as_the_model_has_them(tmp_path, tiny):
    model = onnx.load(tiny[0])
    values = list(model.graph.output)[::-1]
    del model.graph.output[:]
    model.graph.output.extend(values)
    onnx.save(model, tiny[0])
    folder = converted(tiny, tmp_path / "tests")
    assert list(feeds_and_outputs(folder, 0)[1]) == ["h", "y"]
    converting.from_tests(folder, tmp_path / "back")
    assert files(tmp_path / "back") == files(tiny[1])


def test_what_cannot_be_completed_is_left_out_and_the_rest_is_a_golden_of_its_own(tmp_path, tiny):
    alone = source_of(tiny[1])
    assert converting.to_tests(alone, tmp_path / "tests") == (len(CASES) - 1, 1)
    assert not (tmp_path / "tests/model.onnx").exists()
    converting.from_tests(tmp_path / "tests", tmp_path / "back")
    kept = store.read(tmp_path / "back")
    assert [c.id for c in kept.cases] == [c.id for c in alone.golden.cases[:-1]]
    for case in kept.cases:
        stored, original = kept.load(case), alone.golden.load(case)
        assert all((stored.outputs[n] == original.outputs[n]).all() for n in ("y", "h"))
    with pytest.raises(NothingSelectedError, match="holds only some steps of every selected case"):
        converting.to_tests(alone, tmp_path / "none", [str(PARTLY)])
    assert not (tmp_path / "none").exists()


def test_lengths_select(tmp_path, tiny):
    source = source_of(tiny[1], tiny[0])
    assert converting.to_tests(source, tmp_path / "tests", ["7"]) == (2, 0)
    with pytest.raises(UsageError, match="there are: 1, 7, 40"):
        converting.to_tests(source, tmp_path / "other", ["8"])


@pytest.mark.parametrize("kind", ["input", "output", "remainder"])
@pytest.mark.parametrize("number", [1, 3])
def test_a_value_that_was_altered_is_noticed(tmp_path, tiny, kind, number):
    folder = converted(tiny, tmp_path / "tests")
    path = folder / f"test_data_set_{number}/{kind}_0.pb"
    tensor = onnx.load_tensor(str(path))
    value = onnx.numpy_helper.to_array(tensor).copy()
    value.flat[0] += 2.0**-40 if kind == "remainder" else 2.0**-20
    path.write_bytes(onnx.numpy_helper.from_array(value, tensor.name).SerializeToString())
    with pytest.raises(GoldenError, match="was altered"):
        converting.from_tests(folder, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert ended(validate, [str(folder), "-q", "--report-dir", str(tmp_path / "r")]) == 2


def test_a_data_set_or_a_tensor_that_is_missing_is_noticed(tmp_path, tiny):
    folder = converted(tiny, tmp_path / "tests")
    (folder / "test_data_set_1/output_1.pb").unlink()
    with pytest.raises(GoldenError, match="has other tensors than its manifest"):
        converting.from_tests(folder, tmp_path / "back")
    for path in (folder / "test_data_set_3").iterdir():
        path.unlink()
    (folder / "test_data_set_3").rmdir()
    with pytest.raises(GoldenError, match="has 3 data sets; its manifest has 4 cases"):
        converting.from_tests(folder, tmp_path / "back")


def test_what_completes_a_golden_does_not_change_the_steps_that_it_holds(tmp_path, tiny):
    model, source = tiny
    proto = onnx.load(model)
    tensor = next(t for t in proto.graph.initializer if t.name == "R")
    value = onnx.numpy_helper.to_array(tensor).copy()
    value.flat[5] = np.nextafter(value.flat[5], np.float32(9))
    tensor.CopyFrom(onnx.numpy_helper.from_array(value, "R"))
    onnx.save(proto, model)
    derived = dict(ORACLE.prepare(str(model)).run(golden_inputs(source)))
    assert (derived["y"][[0, 3, 17, 39]] != golden_outputs(source)["y"]).any()
    folder = converted(tiny, tmp_path / "tests")
    converting.from_tests(folder, tmp_path / "back")
    assert files(tmp_path / "back") == files(source)


def golden_inputs(source):
    stored = store.read(source)
    return stored.load(stored.cases[-1]).inputs


def golden_outputs(source):
    stored = store.read(source)
    return stored.load(stored.cases[-1]).outputs


def test_a_model_of_another_golden_is_refused(tmp_path, tiny):
    model, source = tiny
    proto = onnx.load(model)
    tensor = next(t for t in proto.graph.initializer if t.name == "R")
    moved = onnx.numpy_helper.to_array(tensor) * np.float32(1.001)
    tensor.CopyFrom(onnx.numpy_helper.from_array(moved, "R"))
    onnx.save(proto, model)
    with pytest.raises(UsageError, match=r"output y at sequence=40: .* another model's golden"):
        converting.to_tests(source_of(source, model), tmp_path / "tests")
    shape = ["sequence", "batch", 3]
    node = onnx.helper.make_node("Neg", ["x"], ["z"])
    float32 = onnx.TensorProto.FLOAT
    other = Path(
        save(tmp_path / "other.onnx", [node], [("x", float32, shape)], [("z", float32, shape)])
    )
    with pytest.raises(UsageError, match="outputs are z; the golden has y, h"):
        converting.to_tests(source_of(source, other), tmp_path / "tests")
    assert not (tmp_path / "tests").exists()


def test_an_altered_model_is_not_put_back_into_a_bundle(tmp_path):
    source = tiny_golden.make_bundle(tmp_path)
    folder = tmp_path / "tests"
    converting.to_tests(source_of(source), folder)
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes() + b"\0")
    with pytest.raises(UsageError, match="was altered"):
        converting.from_tests(folder, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert ended(validate, [str(folder), "-q", "--report-dir", str(tmp_path / "r")]) == 2


def test_external_data_goes_into_the_model(tmp_path, tiny):
    model, source = tiny
    onnx.save(onnx.load(model), model, save_as_external_data=True, size_threshold=0, location="w")
    folder = converted((model, source), tmp_path / "tests")
    stored = onnx.load(folder / "model.onnx", load_external_data=False)
    assert all(tensor.raw_data or tensor.float_data for tensor in stored.graph.initializer)
    onnxruntime.InferenceSession(str(folder / "model.onnx")).run(
        None, feeds_and_outputs(folder, 0)[0]
    )


def test_the_command_goes_both_ways(tmp_path, tiny, capsys):
    model, source = tiny
    tests, back = str(tmp_path / "there"), str(tmp_path / "back")
    assert ended(convert.main, [str(source), "-o", tests]) == 0
    assert "3 cases; left out 1, whose outputs are stored in part" in capsys.readouterr().out
    again = str(tmp_path / "again")
    assert ended(convert.main, [str(source), "-o", again, "--model", str(model)]) == 0
    assert capsys.readouterr().out == f"wrote {again}: 4 cases\n"
    assert ended(convert.main, [again, "-o", back]) == 0
    assert capsys.readouterr().out == f"wrote {back}: 4 cases\n"
    assert files(Path(back)) == files(source)


def test_the_command_refuses_in_one_line(tmp_path, tiny, capsys):
    model, source = tiny
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("keep")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    layout.write(foreign, 0, {"input": [("x", np.float32([1]))]})
    tests = converted(tiny, tmp_path / "there")
    bundle = tiny_golden.make_bundle(tmp_path / "b")
    new = str(tmp_path / "new")
    for argv, message, code in (
        ([str(source), "-o", str(full)], "exists; give a new folder", 2),
        ([str(tmp_path / "none"), "-o", new], "no such file or folder", 2),
        ([str(full), "-o", new], "is not a bundle: no readable manifest.json", 2),
        ([str(foreign), "-o", new], "was made from no golden of ours", 2),
        ([str(tests), "-o", new, "--lengths", "7"], "is converted back whole", 2),
        ([str(bundle), "-o", new, "--model", str(model)], "has its own model", 2),
        ([str(source), "-o", new, "--lengths", str(PARTLY)], "holds only some steps", 4),
        ([str(source), "-o", new, "--model", str(full / "mine.txt")], "not a readable", 2),
    ):
        assert ended(convert.main, argv) == code
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1
        assert not Path(new).exists()
    assert files(full) == {"mine.txt": b"keep"}


def test_what_was_made_from_a_golden_is_judged_as_the_golden(tmp_path, tiny, capsys):
    folder = converted(tiny, tmp_path / "tests")
    argv = [str(folder), "--report-dir", str(tmp_path / "r")]
    assert ended(validate, argv) == 0
    assert "tiny/torch/file/fp32/ort-cpu" in capsys.readouterr().out
    assert ended(validate, [*argv, "--lengths", "7", "--runtime", "ort-cpu,oracle"]) == 0
    assert "2 cells" in capsys.readouterr().out


@given(
    st.lists(
        st.floats(-1e38, 1e38, width=64)
        | st.sampled_from([0.0, -0.0, 1e-45, -1e-300, np.inf, -np.inf, 1 + 2.0**-40])
    )
)
def test_the_remainder_gives_every_bit_back(values):
    value = np.array(values, np.float64)
    near = value.astype(np.float32)
    assert (near + converting._remainder(value, "float32")).tobytes() == value.tobytes()


def test_what_float32_cannot_hold_is_refused():
    with pytest.raises(UsageError, match="values up to 1e\\+300 cannot be told as float32"):
        converting._remainder(np.array([1.0, 1e300]), "float32")


def test_a_bundle_of_some_cases_is_bound_to_them(tmp_path):
    source = tiny_golden.make_bundle(tmp_path)
    lengths = [str(CASES[0][0])]
    converting.to_tests(source_of(source), tmp_path / "tests", lengths=lengths)
    fewer = converting.from_tests(tmp_path / "tests", tmp_path / "back")
    assert 0 < fewer < len(CASES)
    assert bundle.read(tmp_path / "back").failure is None
    assert len(store.read(tmp_path / "back/golden").cases) == fewer
