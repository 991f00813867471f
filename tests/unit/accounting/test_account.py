"""Every weight is found where an honest export puts it, and a defect is told by its name."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from harness.accounting.account import account
from harness.graphs.narrow import bfloat16, float16, tf32

RNG = np.random.default_rng(3)


def drawn(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def graph(constants, nodes=(), functions=()):
    """A model that reads every constant; ``nodes`` those that are not merely passed on."""
    read = {name for node in nodes for name in node.input}
    others = [
        helper.make_node("Mul", ["x", name], [f"{name}_out"], f"{name}_node")
        for name in constants
        if name not in read
    ]
    made = [numpy_helper.from_array(np.ascontiguousarray(v), n) for n, v in constants.items()]
    inputs = [helper.make_tensor_value_info("x", 1, None)]
    outputs = [helper.make_tensor_value_info(n.output[0], 1, None) for n in [*nodes, *others]]
    return helper.make_model(
        helper.make_graph([*nodes, *others], "g", inputs, outputs, made), functions=functions
    )


def status(parameters, model, probe=None):
    made = account(parameters, model, probe)
    return {parameter.name: parameter.status for parameter in made.parameters}


def stacked(op, weights, ways=1, order=None):
    """A recurrent node with weights as PyTorch has them, each direction's by ``_reverse``."""
    order = {"LSTM": [0, 3, 1, 2], "GRU": [1, 0, 2], "RNN": [0]}[op] if order is None else order

    def moved(value):
        parts = np.split(value, len(order))
        return np.concatenate([parts[n] for n in order])

    suffixes = ["", "_reverse"][:ways]
    w, r = (np.stack([moved(weights[f"l.weight_{k}_l0{s}"]) for s in suffixes]) for k in KINDS)
    b = np.stack(
        [np.concatenate([moved(weights[f"l.bias_{k}_l0{s}"]) for k in KINDS]) for s in suffixes]
    )
    return {"W": w, "R": r, "B": b}


KINDS = ("ih", "hh")
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def torch_weights(op, ways=1, units=5, features=3):
    rows, weights = GATES[op] * units, {}
    for suffix in ["", "_reverse"][:ways]:
        for kind, columns in zip(KINDS, (features, units), strict=True):
            weights[f"l.weight_{kind}_l0{suffix}"] = drawn(rows, columns)
            weights[f"l.bias_{kind}_l0{suffix}"] = drawn(rows)
    return weights


def recurrent(op, constants, ways=1):
    direction = {} if ways == 1 else {"direction": "bidirectional"}
    node = helper.make_node(
        op, ["x", "W", "R", "B"], ["y"], "layer", hidden_size=constants["R"].shape[2], **direction
    )
    return graph(constants, [node])


@pytest.mark.parametrize(
    "change",
    [
        lambda w: w,
        lambda w: w.T,
        lambda w: w.reshape(3, 2, 10),
        lambda w: w.T[None],
        lambda w: np.concatenate([drawn(4, 10), w, drawn(2, 10)]),
        lambda w: np.concatenate([w.T, drawn(10, 3)], axis=1),
        lambda w: np.stack([drawn(6, 10), w]),
        lambda w: np.pad(w, ((1, 2), (0, 3))),
    ],
    ids=["as it is", "turned", "reshaped", "more axes", "joined", "beside", "stacked", "padded"],
)
def test_a_weight_is_found_whole_and_in_larger_constants(change):
    weight = drawn(6, 10)
    assert status({"w": weight}, graph({"c": change(weight)})) == {"w": "copied"}
    altered = weight.copy()
    altered[4, 7] = np.nextafter(altered[4, 7], np.float32(9))
    made = account({"w": weight}, graph({"c": change(altered)}))
    assert "w is altered at 1 of 60 elements" in made.failure
    assert "first at [4, 7]" in made.failure
    assert made.failure.endswith("(1 ulp)")


def test_a_weight_is_found_in_parts_and_with_other_axes():
    kernel, fused, integers = drawn(4, 3, 5), drawn(12, 4), np.arange(9).reshape(3, 3)
    q, k, v = np.split(fused, 3)
    constants = {"c": kernel.transpose(2, 1, 0), "q": q.T, "k": k.T, "v": v.T, "i": integers}
    parameters = {"kernel": kernel, "in_proj": fused, "i": integers.astype(np.int32)}
    assert {*status(parameters, graph(constants)).values()} == {"copied"}


def test_a_constant_counts_wherever_it_is_read_and_only_there():
    one, two, three = drawn(4), drawn(5), drawn(6)
    value = numpy_helper.from_array(one)
    constant = helper.make_node("Constant", [], ["c"], value=value)
    passing = helper.make_node("Add", ["x", "c"], ["y"])
    inner = [numpy_helper.from_array(two, "t")]
    body = helper.make_graph(
        [helper.make_node("Add", ["x", "t"], ["b"])],
        "body",
        [],
        [helper.make_tensor_value_info("b", 1, None)],
        inner,
    )
    branch = helper.make_node("If", ["x"], ["z"], "choice", then_branch=body, else_branch=body)
    function = helper.make_function(
        "own",
        "f",
        ["a"],
        ["o"],
        [
            helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(three)),
            helper.make_node("Add", ["a", "s"], ["o"]),
        ],
        [helper.make_opsetid("", 18)],
    )
    model = graph({}, [constant, passing, branch], [function])
    parameters = {"one": one, "two": two, "three": three}
    assert {*status(parameters, model).values()} == {"copied"}
    unread = graph({"other": drawn(4)})
    unread.graph.initializer.append(numpy_helper.from_array(one, "unread"))
    assert status({"one": one}, unread) == {"one": "unproven"}


@pytest.mark.parametrize("ways", [1, 2])
@pytest.mark.parametrize("op", GATES)
def test_recurrent_weights_are_found_with_the_gates_of_pytorch(op, ways):
    weights = torch_weights(op, ways)
    constants = stacked(op, weights, ways)
    made = account(weights, recurrent(op, constants, ways))
    assert {p.status for p in made.parameters} == {"copied"}
    assert made.evidence()["elements_proved"] == sum(w.size for w in weights.values())
    line = made.parameters[0].line
    assert line.startswith(f"l.weight_ih_l0 → {op}.W (layer)")
    if op != "RNN":
        assert line.endswith({"LSTM": "gates i o f c", "GRU": "gates z r h"}[op])
    for name, value in constants.items():
        changed = value.copy()
        changed.flat[-1] = np.nextafter(changed.flat[-1], np.float32(9))
        failure = account(weights, recurrent(op, {**constants, name: changed}, ways)).failure
        assert " is altered at 1 of " in failure
        assert ("_reverse" in failure) == (ways == 2)


@pytest.mark.parametrize("resets_after", [True, False])
def test_recurrent_weights_are_found_with_the_gates_of_keras(resets_after):
    units, features = 4, 3
    kernel, recurrent_kernel = drawn(features, 3 * units), drawn(units, 3 * units)
    bias = drawn(2, 3 * units) if resets_after else drawn(3 * units)
    both = bias.reshape(1, -1) if resets_after else np.pad(bias, (0, 3 * units))[None]
    constants = {"W": kernel.T[None], "R": recurrent_kernel.T[None], "B": both}
    parameters = {"g/kernel": kernel, "g/recurrent_kernel": recurrent_kernel, "g/bias": bias}
    assert {*status(parameters, recurrent("GRU", constants)).values()} == {"copied"}


def test_gates_directions_and_halves_in_another_place_are_told():
    weights = torch_weights("LSTM", 2)
    right = stacked("LSTM", weights, 2)
    swapped = stacked("LSTM", weights, 2, order=[3, 0, 1, 2])
    for name, text in {"W": "l.weight_ih_l0", "B": "l.bias_"}.items():
        failure = account(weights, recurrent("LSTM", {**right, name: swapped[name]}, 2)).failure
        assert text in failure
        assert "in no order of gates" in failure or "in another place" in failure
        turned = {**right, name: right[name][::-1]}
        assert "direction" in account(weights, recurrent("LSTM", turned, 2)).failure
    square = torch_weights("GRU", units=3)
    constants = stacked("GRU", square)
    exchanged = {**constants, "W": constants["R"], "R": constants["W"]}
    assert "in the place of another weight" in account(square, recurrent("GRU", exchanged)).failure
    units = constants["B"].shape[1] // 2
    halves = np.roll(constants["B"], units, axis=1)
    failure = account(square, recurrent("GRU", {**constants, "B": halves})).failure
    assert "in the place of another weight" in failure


def test_gates_in_an_order_of_all_weights_of_a_node_are_those_of_the_users_own_cell():
    weights = torch_weights("LSTM")
    own = stacked("LSTM", weights, order=[3, 0, 1, 2])
    assert {*status(weights, recurrent("LSTM", own)).values()} == {"copied"}


@pytest.mark.parametrize("op", GATES)
def test_a_bias_that_stands_in_the_place_of_another_is_told(op):
    weights = torch_weights(op)
    constants = stacked(op, weights)
    half = constants["B"].shape[1] // 2
    constants["B"][:, half:] = constants["B"][:, :half]
    made = account(weights, recurrent(op, constants))
    assert {p.status for p in made.parameters if p.name == "l.bias_ih_l0"} == {"doubled"}
    equal = {**weights, "l.bias_hh_l0": weights["l.bias_ih_l0"]}
    assert not account(equal, recurrent(op, stacked(op, equal))).failure


def test_rows_and_blocks_in_another_place_are_told():
    table = drawn(40, 6)
    rows = table.copy()
    rows[[3, 30]] = rows[[30, 3]]
    made = account({"table": table}, graph({"c": rows}))
    assert made.parameters[0].status == "misplaced"
    assert "first at [3, 0]" in made.failure
    blocks = np.concatenate([table[20:], table[:20]])
    gather = helper.make_node("Gather", ["c", "x"], ["y"], "table")
    failure = account({"table": table}, graph({"c": blocks}, [gather])).failure
    assert "table has its blocks in another order in Gather.input 0 (table)" in failure
    larger = np.concatenate([drawn(5, 6), rows])
    assert "table has 12 of 240" in account({"table": table}, graph({"c": larger})).failure


def test_every_element_moved_a_little_is_told():
    weight, bias = drawn(8, 9), drawn(9)
    half = weight.astype(np.float16).astype(np.float32)
    made = account({"w": weight, "b": bias}, graph({"c": half.T, "d": bias}))
    assert [p.status for p in made.parameters] == ["altered", "copied"]
    scaled = (weight.astype(np.float64) * (1 + 1e-6)).astype(np.float32)
    assert "w is altered" in account({"w": weight}, graph({"c": scaled})).failure


@pytest.mark.parametrize("rounded", [float16, bfloat16, tf32])
def test_a_parameter_of_small_numbers_that_was_rounded_is_told(rounded):
    bias = drawn(9) * np.float32(1e-5)
    other = {"c": rounded(bias), "d": drawn(9)}
    assert "b is altered at 9 of 9 elements" in account({"b": bias}, graph(other)).failure
    gamma = 1 + np.float32(0.0015) * np.sign(bias)
    assert account({"g": gamma}, graph({"c": np.ones(9, np.float32)})).failure == ""


def test_a_second_copy_is_held_to_the_first():
    table = drawn(30, 4)
    second = table.T.copy()
    assert account({"t": table}, graph({"a": table, "b": second})).failure == ""
    second[1, 7] = np.nextafter(second[1, 7], np.float32(9))
    assert "first at [7, 1]" in account({"t": table}, graph({"a": table, "b": second})).failure
    part = table[5:25].copy()
    assert account({"t": table}, graph({"a": table, "b": part})).without_source == ()
    part[3, 2] = np.nextafter(part[3, 2], np.float32(9))
    assert "t is altered" in account({"t": table}, graph({"a": table, "b": part})).failure


def test_one_ulp_in_a_second_copy_of_few_elements_is_told():
    scale = drawn(5)
    near = scale.copy()
    near[4] = np.nextafter(near[4], np.float32(9))
    assert "at [4]" in account({"s": scale}, graph({"a": scale, "b": near})).failure


@pytest.mark.parametrize("size", [2, 12])
def test_a_constant_that_is_one_number_but_for_an_ulp_is_told(size):
    ones, ramp = np.ones(size, np.float32), np.linspace(0.9, 1, 30, dtype=np.float32)
    parameters = {"gamma": ones, "w": drawn(4, 4)}
    held = {"w": parameters["w"], "first": ones, "ramp": ramp}
    assert account(parameters, graph({**held, "second": ones})).failure == ""
    near = ones.copy()
    near[-1] = np.nextafter(near[-1], np.float32(9))
    made = account(parameters, graph({**held, "second": near}))
    assert "is altered" in made.failure or "'second' is 1 everywhere but" in made.failure
    assert "1.00000012" in made.failure
    made = account({"w": held["w"]}, graph({"w": held["w"], "inner": near}))
    assert f"constant 'inner' is 1 everywhere but at 1 of {size} elements" in made.failure


def test_what_may_be_anywhere_is_no_defect():
    zeros, ones, single = np.zeros(6, np.float32), np.ones(6, np.float32), drawn(1)
    table, tied = drawn(50, 6), drawn(7, 6)
    parameters = {"zeros": zeros, "ones": ones, "single": single, "table": table, "tied": tied}
    model = graph({"part": table[:9], "tied": tied, "again": tied.T, "own": drawn(3, 3)})
    made = account(parameters, model)
    assert made.failure == ""
    assert [p.status for p in made.parameters[2:]] == ["unproven", "unproven", "copied"]
    assert "in part: 0 to 8 of 50 along axis 0" in made.parameters[3].how
    assert [c.name for c in made.without_source] == ["own"]


def test_a_weight_whose_blocks_the_model_itself_may_exchange_is_not_proved():
    weight, taps = drawn(8, 6), drawn(1, 1, 3)
    rolled = graph({"c": np.roll(weight, 3, axis=0), "t": taps[..., ::-1]})
    made = account({"w": weight, "taps": taps}, rolled)
    assert (made.failure, {p.status for p in made.parameters}) == ("", {"unproven"})
    assert "rows in another order" in made.parameters[0].how


def test_a_zero_bias_that_is_left_out_is_not_sought_in_another_layer():
    weights = torch_weights("GRU") | {"l.bias_hh_l0": np.zeros(15, np.float32)}
    constants = stacked("GRU", weights)
    other = {f"m.{name[2:]}": value for name, value in torch_weights("GRU").items()}
    other |= {name: np.zeros(15, np.float32) for name in other if "bias" in name}
    moved = stacked("GRU", {f"l.{name[2:]}": value for name, value in other.items()})
    second = {"W2": moved["W"], "R2": moved["R"]}
    nodes = [
        helper.make_node("GRU", ["x", "W", "R", "B"], ["y"], "one", hidden_size=5),
        helper.make_node("GRU", ["y", "W2", "R2"], ["z"], "two", hidden_size=5),
    ]
    model = graph({**constants, **second}, nodes)
    assert account({**weights, **other}, model).failure == ""


def test_what_was_folded_as_nobody_knows_is_not_proved_and_no_defect():
    a, b, c = drawn(6, 6), drawn(6), drawn(6)
    strange = np.tanh(a) * b + c
    made = account({"a": a, "b": b, "c": c}, graph({"s": strange}))
    assert {p.status for p in made.parameters} == {"unproven"}


def probe(function, parameters):
    """Says whether a function of the parameters gives the same, to the bit, with other values."""
    before = function(**parameters).tobytes()
    return lambda values: function(**{**parameters, **values}).tobytes() == before


def test_what_moves_no_output_is_unused_and_what_does_is_missing():
    parameters = {"w": drawn(5, 5), "dead": drawn(4, 4), "lost": drawn(5)}
    runs = probe(lambda w, dead, lost: w.sum(0) + lost, parameters)
    model = graph({"w": parameters["w"], "one": np.float32(1), "small": np.float32(1e-5)})
    assert status(parameters, model, runs) == {"w": "copied", "dead": "unused", "lost": "missing"}
    computed = graph({"w": parameters["w"], "k": np.float32(parameters["lost"].sum())})
    assert status(parameters, computed, runs)["lost"] == "unproven"
    counter = {"n.num_batches_tracked": np.array(3)}
    assert status(counter, graph({"k": np.array(3)})) == {"n.num_batches_tracked": "unused"}


def test_what_the_model_itself_makes_of_a_weight_is_no_defect():
    parameters = {"w": drawn(6, 6)}

    def masked(w):
        return np.tril(w)

    def rounded(w):
        return w.astype(np.float16).astype(np.float32)

    for function in (masked, rounded):
        model = graph({"c": function(**parameters)})
        assert account(parameters, model, probe(function, parameters)).failure == ""
        assert "w is altered" in account(parameters, model, probe(lambda w: w, parameters)).failure


NORM = ("weight", "bias", "running_mean", "running_var")


def batch_norm(size, names=NORM):
    values = (drawn(size), drawn(size), drawn(size), np.abs(drawn(size)) + 0.5)
    return {
        f"n.{name}": value.astype(np.float32) for name, value in zip(names, values, strict=True)
    }


def affine(norm, epsilon):
    gamma, beta, mean, variance = (value.astype(np.float64) for value in norm.values())
    scale = gamma / np.sqrt(variance + epsilon)
    return scale, beta - mean * scale


@pytest.mark.parametrize("epsilon", [1e-5, 1e-3])
def test_a_batch_norm_is_found_in_the_layer_before_and_in_the_layer_after(epsilon):
    norm, weight, bias = batch_norm(8), drawn(8, 3, 5), drawn(8)
    scale, shift = affine(norm, epsilon)
    parameters = {"c.weight": weight, "c.bias": bias, **norm}
    folded = (weight * scale[:, None, None]).astype(np.float32)
    constants = {"w": folded, "b": (bias * scale + shift).astype(np.float32)}
    assert {*status(parameters, graph(constants)).values()} == {"derived"}
    folded[5, 1, 2] *= 1.001
    failure = account(parameters, graph({**constants, "w": folded})).failure
    assert "altered at 1 of 120 elements" in failure
    after = drawn(4, 8)
    constants = {
        "w": (after * scale).T.astype(np.float32),
        "b": (bias[:4] + after.astype(np.float64) @ shift).astype(np.float32),
    }
    parameters = {"c.weight": after, "c.bias": bias[:4], **norm}
    assert {*status(parameters, graph(constants)).values()} == {"derived"}


def test_a_batch_norm_of_ones_and_zeros_is_folded_though_its_values_are_elsewhere_too():
    names = [f"{layer}.{part}" for layer in ("n", "other") for part in NORM]
    flat = {name: np.full(8, float(name.endswith(("weight", "var"))), "f4") for name in names}
    del flat["other.running_mean"], flat["other.running_var"]
    weight = drawn(8, 3, 5)
    folded = (weight.astype(np.float64) / np.sqrt(1 + 1e-5)).astype(np.float32)
    constants = {"w": folded, "ones": flat["other.weight"], "zeros": flat["other.bias"]}
    assert status({"c.weight": weight, **flat}, graph(constants))["c.weight"] == "derived"
    folded[5, 1, 2] *= 1.001
    failure = account({"c.weight": weight, **flat}, graph(constants)).failure
    assert "altered at 1 of 120 elements" in failure


def test_an_epsilon_that_nobody_guesses_is_no_defect():
    norm, weight = batch_norm(8), drawn(8, 6)
    norm["n.running_var"][:7] *= 1e6
    scale, _ = affine(norm, 3.7e-2)
    model = graph({"w": (weight * scale[:, None]).astype(np.float32), "k": scale.astype("f4")})
    assert account({"c.weight": weight, **norm}, model).failure == ""


def test_sums_products_roots_and_norms_are_recomputed():
    a, b, square = drawn(12), drawn(12), drawn(4, 9)
    variance, direction = np.abs(drawn(7)), drawn(5, 6)
    magnitude = np.abs(drawn(5, 1))
    parameters = {
        "l.bias_ih": a,
        "l.bias_hh": b,
        "q.weight": square,
        "normalization/variance": variance,
        "v.parametrizations.weight.original0": magnitude,
        "v.parametrizations.weight.original1": direction,
        "left": drawn(3, 5),
        "right": drawn(5, 2),
    }
    norm = np.sqrt((direction.astype(np.float64) ** 2).sum(1, keepdims=True))
    constants = {
        "s": a + b,
        "q": square.T / np.float32(3),
        "v": np.maximum(np.sqrt(variance), np.float32(1e-7)),
        "n": (direction * (magnitude / norm)).astype(np.float32),
        "p": parameters["left"] @ parameters["right"],
    }
    made = account(parameters, graph(constants))
    assert {p.status for p in made.parameters} == {"derived"}
    assert made.parameters[2].how == "in 1/3 · q.weight → Mul.input 1 (q_node)"
    halves = {name: value.astype(np.float16) for name, value in parameters.items()}
    assert {*status(parameters, graph(halves)).values()} == {"derived"}


def test_a_quantised_graph_is_not_accounted_for():
    weight = drawn(5, 5)
    node = helper.make_node("DequantizeLinear", ["q", "s"], ["w"], "d")
    model = graph({"q": (weight * 40).astype(np.int8), "s": np.float32(1 / 40)}, [node])
    made = account({"w": weight}, model)
    assert (made.failure, made.parameters[0].status) == ("", "unproven")
    assert "quantised" in made.parameters[0].how


def test_data_in_another_file_and_tensors_that_lie_are_left_out():
    model = graph({"c": drawn(3)})
    for change in ({"data_location": onnx.TensorProto.EXTERNAL}, {"raw_data": b"123"}):
        lying = onnx.ModelProto()
        lying.CopyFrom(model)
        for field, value in change.items():
            setattr(lying.graph.initializer[0], field, value)
        assert account({"w": drawn(3)}, lying).failure == ""


def test_a_product_of_single_numbers_is_recomputed():
    parameters = {"a.weight": drawn(1, 1), "b.weight": drawn(1, 1)}
    product = parameters["a.weight"] @ parameters["b.weight"]
    assert {*status(parameters, graph({"w": product})).values()} <= {"derived", "unproven"}
    assert not account(parameters, graph({"w": product * np.float32(2)})).of("copied")
