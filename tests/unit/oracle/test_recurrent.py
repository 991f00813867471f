"""The oracle's LSTM, GRU and RNN against ONNX Runtime's, and its activations one by one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from harness.graphs.recurrent import parameters
from harness.oracle import recurrent
from harness.oracle.activations import FUNCTIONS, resolved

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
KERNELS = {"LSTM": recurrent.lstm, "GRU": recurrent.gru, "RNN": recurrent.rnn}
DEFAULTS = {"LSTM": ("Sigmoid", "Tanh", "Tanh"), "GRU": ("Sigmoid", "Tanh"), "RNN": ("Tanh",)}
DIRECTIONS = ("forward", "reverse", "bidirectional")
STEPS, ROWS, FEATURES, UNITS = 6, 4, 3, 5
LENS = (6, 2, 0, 5)


def arguments(op: str, direction: str, seed: int = 0, **present: bool) -> dict[str, Any]:
    """Random inputs by the names of the kernels' parameters; ``present`` says which are given."""
    draw = np.random.default_rng(seed)
    directions, gates = 1 + (direction == "bidirectional"), GATES[op]

    def normal(*shape: int) -> Any:
        return draw.normal(scale=0.8, size=shape).astype(np.float32)

    drawn = {
        "x": normal(STEPS, ROWS, FEATURES),
        "w": normal(directions, gates * UNITS, FEATURES),
        "r": normal(directions, gates * UNITS, UNITS),
        "b": normal(directions, 2 * gates * UNITS),
        "sequence_lens": np.array(LENS, np.int32),
        "initial_h": normal(directions, ROWS, UNITS),
    }
    if op == "LSTM":
        drawn["initial_c"] = normal(directions, ROWS, UNITS)
        drawn["p"] = normal(directions, 3 * UNITS)
    return {name: a for name, a in drawn.items() if name in "xwr" or present.get(name, True)}


def ours(op: str, inputs: dict[str, Any], **attributes: Any) -> list[Any]:
    wide = {n: a.astype(np.float64) if a.dtype == np.float32 else a for n, a in inputs.items()}
    return list(KERNELS[op](**wide, **attributes))


def theirs(op: str, inputs: dict[str, Any], **attributes: Any) -> list[Any]:
    """ONNX Runtime's outputs, in float32."""
    order = ["x", "w", "r", "b", "sequence_lens", "initial_h"]
    order += ["initial_c", "p"] if op == "LSTM" else []
    outputs = ["Y", "Y_h", "Y_c"][: 2 + (op == "LSTM")]
    names = [name if name in inputs else "" for name in order]
    node = helper.make_node(op, names, outputs, hidden_size=UNITS, **attributes)
    declared = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(a.dtype), a.shape)
        for n, a in inputs.items()
    ]
    results = [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in outputs]
    graph = helper.make_graph([node], "g", declared, results)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return list(session.run(None, inputs))


def agree(op: str, inputs: dict[str, Any], **attributes: Any) -> None:
    mine, other = ours(op, inputs, **attributes), theirs(op, inputs, **attributes)
    assert len(mine) == len(other)
    for a, b in zip(mine, other, strict=True):
        assert a.dtype == np.float64
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("lens", [True, False], ids=["lens", "full"])
@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", GATES)
def test_every_direction_with_and_without_lengths(op, direction, lens, seed):
    inputs = arguments(op, direction, seed, sequence_lens=lens)
    agree(op, inputs, direction=direction)


@pytest.mark.parametrize("absent", ["b", "initial_h", "initial_c", "p"])
@pytest.mark.parametrize("op", GATES)
def test_optional_inputs_may_be_missing(op, absent):
    agree(op, arguments(op, "bidirectional", **{absent: False}), direction="bidirectional")


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", GATES)
def test_clip_bounds_what_the_gates_take(op, direction):
    inputs = arguments(op, direction)
    agree(op, inputs, direction=direction, clip=0.3)
    clipped = ours(op, inputs, direction=direction, clip=0.3)
    free = ours(op, inputs, direction=direction)
    assert np.abs(clipped[0] - free[0]).max() > 0.05


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_input_forget_couples_the_gates(direction):
    agree("LSTM", arguments("LSTM", direction), direction=direction, input_forget=1)


@pytest.mark.parametrize("clip", [None, 0.5])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_linear_before_reset(direction, clip):
    attributes = {} if clip is None else {"clip": clip}
    inputs = arguments("GRU", direction)
    agree("GRU", inputs, direction=direction, linear_before_reset=1, **attributes)
    before = ours("GRU", inputs, direction=direction, linear_before_reset=1)
    after = ours("GRU", inputs, direction=direction)
    assert np.abs(before[0] - after[0]).max() > 0.01


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("op", GATES)
def test_every_activation_in_the_last_place(op, name):
    count = len(parameters(name))
    scales = {"activation_alpha": [0.6], "activation_beta": [0.4]}
    present = dict(itertools.islice(scales.items(), count))
    agree(op, arguments(op, "forward"), activations=[*DEFAULTS[op][:-1], name], **present)


@pytest.mark.parametrize("name", ["LeakyRelu", "ThresholdedRelu", "Elu", "HardSigmoid"])
def test_alpha_and_beta_default_to_those_of_the_operator_of_that_name(name):
    attributes = onnx.defs.get_schema(name).attributes
    standard = [attributes[a].default_value.f for a in ("alpha", "beta") if a in attributes]
    np.testing.assert_allclose(parameters(name), standard)


@pytest.mark.parametrize("name", ["Affine", "ScaledTanh"])
def test_where_the_standard_has_no_default_one_must_be_given(name):
    with pytest.raises(ValueError, match=f"{name} needs a value for each of alpha and beta"):
        ours("RNN", arguments("RNN", "forward"), activations=[name], activation_alpha=[1.0])


@pytest.mark.parametrize("op", GATES)
def test_alpha_and_beta_are_consumed_by_the_functions_that_have_them(op):
    names = {
        "LSTM": ["HardSigmoid", "LeakyRelu", "ScaledTanh"],
        "GRU": ["HardSigmoid", "ScaledTanh"],
        "RNN": ["ScaledTanh"],
    }[op]
    alphas = {"LSTM": [0.3, 0.2, 0.7], "GRU": [0.3, 0.7], "RNN": [0.7]}[op]
    betas = {"LSTM": [0.4, 0.9], "GRU": [0.4, 0.9], "RNN": [0.9]}[op]
    agree(
        op,
        arguments(op, "bidirectional"),
        direction="bidirectional",
        activations=names * 2,
        activation_alpha=alphas + [a + 0.1 for a in alphas],
        activation_beta=betas + [b - 0.1 for b in betas],
    )


@pytest.mark.parametrize("lens", [True, False], ids=["lens", "full"])
@pytest.mark.parametrize(("op", "direction"), list(itertools.product(GATES, DIRECTIONS)))
def test_layout_1_is_layout_0_with_the_rows_first(op, direction, lens):
    inputs = arguments(op, direction, sequence_lens=lens)
    turned = {
        name: a.swapaxes(0, 1) if name in ("x", "initial_h", "initial_c") else a
        for name, a in inputs.items()
    }
    y, *states = ours(op, inputs, direction=direction)
    y_rows, *states_rows = ours(op, turned, direction=direction, layout=1)
    np.testing.assert_array_equal(y_rows, y.transpose(2, 0, 1, 3))
    for state, state_rows in zip(states, states_rows, strict=True):
        np.testing.assert_array_equal(state_rows, state.swapaxes(0, 1))


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("op", GATES)
def test_a_row_is_what_it_would_be_alone_whatever_its_padding_holds(op, direction):
    inputs = arguments(op, direction)
    inputs["x"][2:, 1] = np.nan
    y, *states = ours(op, inputs, direction=direction)
    only = {n: a for n, a in inputs.items() if n != "sequence_lens"}
    for name in ("x", "initial_h", "initial_c"):
        if name in only:
            only[name] = only[name][:, 1:2]
    only["x"] = only["x"][:2]
    y_alone, *states_alone = ours(op, only, direction=direction)
    np.testing.assert_allclose(y[:2, :, 1:2], y_alone, rtol=1e-14)
    assert not y[2:, :, 1].any()
    for state, alone in zip(states, states_alone, strict=True):
        np.testing.assert_allclose(state[:, 1:2], alone, rtol=1e-14)


@pytest.mark.parametrize("op", GATES)
def test_a_row_without_steps_ends_in_zeros(op):
    _, *states = ours(op, arguments(op, "bidirectional"), direction="bidirectional")
    for state in states:
        assert not state[:, 2].any()
        assert state[:, 3].any()


@pytest.mark.parametrize("op", GATES)
def test_no_steps_at_all(op):
    inputs = arguments(op, "forward", sequence_lens=False)
    inputs["x"] = inputs["x"][:0]
    y, *states = ours(op, inputs)
    assert y.shape == (0, 1, ROWS, UNITS)
    assert all(s.shape == (1, ROWS, UNITS) and not s.any() for s in states)


@pytest.mark.parametrize("lens", [(7, 1, 1, 1), (-1, 1, 1, 1)])
def test_lengths_outside_the_sequence_are_refused(lens):
    inputs = arguments("GRU", "forward")
    inputs["sequence_lens"] = np.array(lens, np.int32)
    with pytest.raises(ValueError, match="not within 0 to 6 steps"):
        ours("GRU", inputs)


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
def test_lengths_that_are_not_int32_are_refused(dtype):
    inputs = arguments("GRU", "forward")
    inputs["sequence_lens"] = np.array(LENS, dtype)
    with pytest.raises(ValueError, match=f"sequence_lens is {np.dtype(dtype)}, expected int32"):
        ours("GRU", inputs)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"hidden_size": UNITS + 1}, "hidden_size is 6, the weights are for 5 units"),
        ({"layout": 2}, "layout is 2, expected 0 or 1"),
        ({"layout": -1}, "layout is -1, expected 0 or 1"),
        ({"clip": -0.5}, "clip is -0.5, expected 0 or more"),
    ],
)
@pytest.mark.parametrize("op", GATES)
def test_attributes_that_no_layer_can_have_are_refused(op, attributes, message):
    inputs = arguments(op, "forward")
    with pytest.raises(ValueError, match=f"^{message}$"):
        ours(op, inputs, **attributes)
    ours(op, inputs, hidden_size=UNITS, layout=0, clip=0.5)


def test_a_wrong_direction_activation_or_number_of_them_is_refused():
    inputs = arguments("LSTM", "forward")
    with pytest.raises(ValueError, match="choose from: forward, reverse, bidirectional"):
        ours("LSTM", inputs, direction="sideways")
    with pytest.raises(ValueError, match="W is for 1 direction"):
        ours("LSTM", inputs, direction="bidirectional")
    with pytest.raises(ValueError, match="unknown activation 'Gelu'; choose from: Relu, "):
        ours("LSTM", inputs, activations=["Sigmoid", "Tanh", "Gelu"])
    with pytest.raises(ValueError, match="2 activations for 1 direction"):
        ours("LSTM", inputs, activations=["Sigmoid", "Tanh"])


def test_activation_names_know_no_case():
    (((function,)),) = (resolved(["TANH"], None, None, ("Tanh",), 1),)
    assert function[0](np.array(0.5)) == np.tanh(0.5)


def test_the_arithmetic_is_float64():
    inputs = arguments("LSTM", "forward", p=False, sequence_lens=False)
    x, w, r, b, h, c = (
        inputs[n].astype(np.float64) for n in ("x", "w", "r", "b", "initial_h", "initial_c")
    )
    y, y_h, y_c = ours("LSTM", inputs)
    h, c, b = h[0], c[0], b[0, : 4 * UNITS] + b[0, 4 * UNITS :]
    for t in range(STEPS):
        i, o, f, g = np.split(x[t] @ w[0].T + h @ r[0].T + b, 4, axis=1)
        c = c / (1 + np.exp(-f)) + np.tanh(g) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        np.testing.assert_allclose(y[t, 0], h, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(y_h[0], h, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(y_c[0], c, rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("op", KERNELS)
@pytest.mark.parametrize("present", [True, False])
def test_what_is_computed_in_float32_stays_float32_and_is_rounded_at_every_step(op, present):
    names = ("b", "sequence_lens", "initial_h", "initial_c", "p")
    inputs = arguments(op, "bidirectional", **dict.fromkeys(names, present))
    single = KERNELS[op](**inputs, direction="bidirectional")
    assert [value.dtype for value in single] == [np.float32] * len(single)
    rounded = [np.float32(value) for value in ours(op, inputs, direction="bidirectional")]
    assert all(np.allclose(a, b, atol=1e-6) for a, b in zip(single, rounded, strict=True))
    assert any((a != b).any() for a, b in zip(single, rounded, strict=True))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_activation_keeps_the_dtype(name):
    attributes = {"alphas": [0.3], "betas": [0.6]}
    ((function,),) = resolved([name], **attributes, default=["Tanh"], directions=1)
    assert function(np.float32([-2, 0.1, 3])).dtype == np.float32


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("initial_h", np.s_[:, :1]),
        ("initial_c", np.s_[:, :, :1]),
        ("sequence_lens", np.s_[:1]),
        ("b", np.s_[:, :20]),
        ("p", np.s_[:, :3]),
        ("r", np.s_[:, :, :1]),
    ],
)
def test_what_numpy_would_broadcast_is_refused(name, part):
    inputs = arguments("LSTM", "forward")
    inputs[name] = inputs[name][part]
    with pytest.raises(ValueError, match=r"has shape .*, expected "):
        ours("LSTM", inputs)
