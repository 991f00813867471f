"""harness.graphs.interface: naming axes, checking a graph, example inputs."""

from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto
from onnx import helper as oh

from harness.core.errors import CheckError
from harness.core.schema import ModelSpec, TensorSpec
from harness.graphs import interface
from harness.graphs.example import example_inputs, sizes_of, weight_sizes

FEATURES = 3
SPEC = ModelSpec(
    name="scaler",
    summary="y = 2x",
    inputs=(TensorSpec("x", "float32", ("batch", "sequence", FEATURES)),),
    outputs=(TensorSpec("y", "float32", ("batch", "sequence", FEATURES)),),
    weights="scaler",
)
SIZES = {"batch": 5, "sequence": 7}
AXES = ["batch", "sequence", FEATURES]


def scaler(
    x_axes: Any = AXES,
    y_axes: Any = AXES,
    y: str = "y",
    x_type: int = TensorProto.FLOAT,
    extra: bool = False,
    op: str = "Add",
) -> onnx.ModelProto:
    outputs = [oh.make_tensor_value_info(y, x_type, y_axes)]
    nodes = [oh.make_node(op, ["x", "x"], [y])]
    if extra:
        nodes.append(oh.make_node("Neg", ["x"], ["z"]))
        outputs.append(oh.make_tensor_value_info("z", x_type, AXES))
    graph = oh.make_graph(nodes, "g", [oh.make_tensor_value_info("x", x_type, x_axes)], outputs)
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 18)], ir_version=10)


def axes_of(value: onnx.ValueInfoProto) -> list[str | int]:
    return [d.dim_value or d.dim_param for d in value.type.tensor_type.shape.dim]


def test_unknown_and_symbolic_axes_get_the_names_of_the_specification() -> None:
    model = scaler(["unk__157", None, FEATURES], ["unk__158", "unk__159", FEATURES])
    named = interface.name_axes(model, SPEC)
    assert axes_of(named.graph.input[0]) == AXES
    assert axes_of(named.graph.output[0]) == AXES
    assert axes_of(model.graph.input[0])[0] == "unk__157", "the model given was altered"
    interface.check(named, SPEC, SIZES)


def test_naming_axes_hides_neither_a_fixed_size_nor_another_axis_name() -> None:
    named = interface.name_axes(scaler(["sequence", 7, None], ["unk__1", 0, "s"]), SPEC)
    assert axes_of(named.graph.input[0]) == ["sequence", 7, ""]
    assert axes_of(named.graph.output[0])[0] == "batch"
    assert named.graph.output[0].type.tensor_type.shape.dim[1].HasField("dim_value")
    assert axes_of(named.graph.output[0])[2] == "s"


def test_naming_axes_invents_no_shape() -> None:
    named = interface.name_axes(scaler(y_axes=None), SPEC)
    assert not named.graph.output[0].type.tensor_type.HasField("shape")


@pytest.mark.parametrize(
    ("declared", "filled"),
    [
        ([None, "batch", "dim_2"], [2, "batch", 4]),
        ([2, None, None], [2, "", 4]),
        ([5, "rows", 4], [5, "rows", 4]),
        (["n", 4], ["n", 4]),
    ],
)
def test_only_fixed_sizes_of_outputs_are_filled_in(declared: Any, filled: Any) -> None:
    axes = (2, "batch", 4)
    state, after = (TensorSpec(name, "float32", axes) for name in ("x", "y"))
    model = scaler(declared, declared)
    before = axes_of(model.graph.output[0])
    fixed = interface.fix_sizes(model, ModelSpec("m", "", (state,), (after,), "m")).graph
    assert [axes_of(fixed.input[0]), axes_of(fixed.output[0])] == [before, filled]
    assert axes_of(model.graph.output[0]) == before


def test_fixing_sizes_invents_no_shape() -> None:
    fixed = interface.fix_sizes(scaler(y_axes=None), SPEC)
    assert not fixed.graph.output[0].type.tensor_type.HasField("shape")


PAIR = ModelSpec(
    "pair",
    "",
    (
        TensorSpec("frames", "float32", ("batch", "time", 3)),
        TensorSpec("start", "float32", ("batch", 4)),
    ),
    (),
    "pair",
)


@pytest.mark.parametrize(
    ("shapes", "names"),
    [
        ({"a": ["n", 4], "b": ["n", "t", 3]}, ["start", "frames"]),
        ({"a": ["n", 4], "frames": ["n", "t", 3]}, ["start", "frames"]),
        ({"a": ["n", 4], "b": ["n", "t", 5]}, ["a", "b"]),
        ({"a": ["n", 4], "b": ["n", 4]}, ["a", "b"]),
        ({"a": ["n", 4], "b": ["n", "t", 3], "c": ["n"]}, ["a", "b", "c"]),
    ],
)
def test_foreign_inputs_are_named_where_only_one_can_be_meant(
    shapes: dict[str, list[Any]], names: list[str]
) -> None:
    inputs = [oh.make_tensor_value_info(name, TensorProto.FLOAT, s) for name, s in shapes.items()]
    nodes = [oh.make_node("Relu", [name], [f"{name}_out"]) for name in shapes]
    outputs = [oh.make_tensor_value_info(f"{n}_out", TensorProto.FLOAT, None) for n in shapes]
    model = oh.make_model(oh.make_graph(nodes, "g", inputs, outputs))
    named = interface.name_inputs(model, PAIR)
    assert [value.name for value in named.graph.input] == names
    assert [node.input[0] for node in named.graph.node] == names
    assert [value.name for value in model.graph.input] == list(shapes)


def test_a_conforming_graph_passes() -> None:
    interface.check(scaler(), SPEC, SIZES)


def test_the_order_of_outputs_is_free() -> None:
    two = ModelSpec(
        "two", "", SPEC.inputs, (TensorSpec("z", "float32", tuple(AXES)), *SPEC.outputs), ""
    )
    interface.check(scaler(extra=True), two, SIZES)


@pytest.mark.parametrize(
    ("model", "start"),
    [
        pytest.param(
            scaler(["batch", 7, FEATURES], ["batch", 7, FEATURES]),
            "input 'x' axis 1 is 7, expected 'sequence': the example length is baked in",
            id="baked length",
        ),
        pytest.param(
            scaler([5, "sequence", FEATURES], [5, "sequence", FEATURES]),
            "input 'x' axis 0 is 5, expected 'batch': the example batch is baked in",
            id="baked batch",
        ),
        pytest.param(
            scaler(["batch", 8, FEATURES], ["batch", 8, FEATURES]),
            "input 'x' axis 1 is 8, expected 'sequence'",
            id="another fixed size",
        ),
        pytest.param(
            scaler(y_axes=["batch", "unk__1", FEATURES]),
            "output 'y' axis 1 is 'unk__1', expected 'sequence'",
            id="unnamed axis",
        ),
        pytest.param(
            scaler(y_axes=["batch", "sequence", None]),
            "output 'y' axis 2 is '?', expected 3",
            id="loose axis",
        ),
        pytest.param(
            scaler(y="z"), "outputs are z; expected y (missing y; extra z)", id="renamed output"
        ),
        pytest.param(
            scaler(extra=True), "outputs are y, z; expected y (extra z)", id="extra output"
        ),
        pytest.param(
            scaler(x_type=TensorProto.DOUBLE), "input 'x' is float64, expected float32", id="dtype"
        ),
        pytest.param(
            scaler(y_axes=None),
            "output 'y' declares no shape, expected [batch, sequence, 3]",
            id="no shape",
        ),
        pytest.param(scaler(op="Ad"), "not valid ONNX: No Op registered for Ad", id="unknown op"),
        pytest.param(scaler(op="Gemm"), "not valid ONNX: [ShapeInferenceError]", id="shapes"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(model: onnx.ModelProto, start: str) -> None:
    with pytest.raises(CheckError) as caught:
        interface.check(model, SPEC, SIZES)
    message = str(caught.value)
    assert message.startswith(start) if start.startswith("not valid") else message == start
    assert "\n" not in message


def test_a_missing_output_and_a_wrong_rank_are_told() -> None:
    two = ModelSpec(
        "two", "", SPEC.inputs, (*SPEC.outputs, TensorSpec("z", "float32", ("batch",))), ""
    )
    with pytest.raises(CheckError, match=r"outputs are y; expected y, z \(missing z\)"):
        interface.check(scaler(), two, SIZES)
    with pytest.raises(CheckError, match=r"output 'z' is \[batch, sequence, 3\].*\[batch\]"):
        interface.check(scaler(extra=True), two, SIZES)


def test_a_model_too_large_to_check_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def too_large(*_: Any, **__: Any) -> None:
        raise ValueError("This protobuf of onnx model is too large (>2GiB).\nUse a path.")

    monkeypatch.setattr(onnx.checker, "check_model", too_large)
    with pytest.raises(CheckError, match=r"too large \(>2GiB\). Use a path"):
        interface.check(scaler(), SPEC, SIZES)


def test_a_file_that_is_no_model_is_told(tmp_path: Any) -> None:
    path = tmp_path / "junk.onnx"
    path.write_bytes(b"\xff\x00junk")
    with pytest.raises(CheckError, match=r"junk.onnx is not a readable ONNX model"):
        interface.read(str(path))
    with pytest.raises(CheckError, match=r"none.onnx: No such file or directory"):
        interface.read(str(tmp_path / "none.onnx"))
    onnx.save(scaler(), path)
    assert interface.read(str(path)).graph.node[0].op_type == "Add"


PADDED = ModelSpec(
    name="padded",
    summary="",
    inputs=(
        TensorSpec("tokens", "int32", ("batch", "sequence"), 0, 4),
        TensorSpec("steps", "int32", ()),
        TensorSpec("state", "float32", ("batch", 11), -2.0, -1.0),
    ),
    outputs=(TensorSpec("y", "float32", ("batch", "later", 7)),),
    weights="padded",
    padded="tokens",
    lengths={"steps": "later"},
)


@given(st.sets(st.integers(1, 60), max_size=30))
def test_example_sizes_coincide_with_nothing(avoid: set[int]) -> None:
    inputs = example_inputs(PADDED, avoid)
    sizes = sizes_of(PADDED, inputs)
    assert set(sizes) == {"batch", "sequence", "later"}
    assert len(set(sizes.values())) == 3
    assert not set(sizes.values()) & (avoid | {7, 11})
    assert min(sizes.values()) >= 5


def test_example_values_are_in_range_and_padded_on_the_right() -> None:
    inputs = example_inputs(PADDED)
    tokens = inputs["tokens"]
    valid = tokens != 0
    assert valid[0].all()
    assert valid[:, 0].all()
    assert not valid.all()
    assert (np.diff(valid.astype(int), axis=1) <= 0).all(), "padding is not all on the right"
    assert tokens.max() < 4
    assert {name: a.dtype.name for name, a in inputs.items()} == {
        "tokens": "int32",
        "steps": "int32",
        "state": "float32",
    }
    assert inputs["steps"].shape == ()
    assert -2 <= inputs["state"].min() <= inputs["state"].max() <= -1
    again = example_inputs(PADDED)
    assert all(np.array_equal(inputs[name], again[name]) for name in inputs)


def test_weight_sizes_are_those_of_every_axis() -> None:
    assert weight_sizes({"a": np.zeros((2, 9)), "b": np.zeros(13)}) == {2, 9, 13}
