"""Small graphs with one thing wrong, or nothing, for the lint to look at."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

EXAMPLE = {"batch": 5, "sequence": 7}
UNITS, FEATURES = 2, 3
AXES = ["batch", "sequence", FEATURES]
F, D, I64 = TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.INT64


def value(name, dims, kind=F):
    return helper.make_tensor_value_info(name, kind, dims)


def ones(*dims, kind=np.float32):
    return np.ones(dims, kind)


def ints(*values):
    return np.array(values, np.int64)


def node(op, inputs, outputs, **attributes):
    return helper.make_node(op, inputs.split(), outputs.split(), name=f"the_{op}", **attributes)


def model(nodes, outputs, inputs=None, opset=18, infos=(), **constants):
    graph = helper.make_graph(
        nodes,
        "g",
        [value("x", AXES)] if inputs is None else inputs,
        outputs,
        [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()],
        value_info=list(infos),
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.acme", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def lstm(inputs="xt w r", opset=18, outputs=None, extra=(), constants=None, **attributes):
    """x through an LSTM: its output is (sequence, 1, batch, units)."""
    fixed = {"w": ones(1, 4 * UNITS, FEATURES), "r": ones(1, 4 * UNITS, UNITS)}
    parts = [None if name == "-" else name for name in inputs.split()]
    cell = helper.make_node("LSTM", [p or "" for p in parts], ["y"], name="the_LSTM", **attributes)
    cell.attribute.append(helper.make_attribute("hidden_size", UNITS))
    return model(
        [node("Transpose", "x", "xt", perm=[1, 0, 2]), *extra, cell],
        outputs or [value("y", ["sequence", 1, "batch", UNITS])],
        opset=opset,
        **fixed,
        **(constants or {}),
    )


def reshape(target, dims, example_dims=None):
    nodes = [node("Reshape", "x shape", "y")]
    return model(nodes, [value("y", dims)], example_dims, shape=ints(*target))


def shaped(op, extra=(), dims=("a", "b", "c"), inputs="x k", **constants):
    """One node that takes x and a constant k, and gives a shape that is not declared in full."""
    return model([*extra, node(op, inputs, "y")], [value("y", list(dims))], **constants)


def state(*dims):
    return lstm("xt w r - - h c", constants={"h": ones(*dims), "c": ones(*dims)})


def computed_shape():
    """x flattened and folded back with a shape made from x: nothing is baked."""
    nodes = [
        node("Shape", "x", "batch_size", start=0, end=1),
        node("Shape", "x", "steps", start=1, end=2),
        node("Reshape", "x flat", "rows"),
        node("MatMul", "rows weight", "scores"),
        node("Concat", "batch_size steps classes", "shape", axis=0),
        node("Reshape", "scores shape", "y"),
    ]
    return model(
        nodes,
        [value("y", ["batch", "sequence", 4])],
        flat=ints(-1, FEATURES),
        weight=ones(FEATURES, 4),
        classes=ints(4),
    )


def loop(body_nodes, constants=(), carried=True):
    """A Loop over the steps of xt that carries h of (batch, units), if at all, and stacks o."""
    state_in = [value("h", ["batch", UNITS])] if carried else []
    state_out = [value("h2", ["batch", UNITS])] if carried else []
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), *body_nodes],
        "body",
        [value("i", [], I64), value("go", [], TensorProto.BOOL), *state_in],
        [value("on", [], TensorProto.BOOL), *state_out, value("o", None)],
    )
    start = "h0" if carried else ""
    outputs = ["h_last", "y"] if carried else ["y"]
    inputs = ["steps", "", start] if carried else ["steps", ""]
    nodes = [
        node("Transpose", "x", "xt", perm=[1, 0, 2]),
        node("Shape", "xt", "lengths", start=0, end=1),
        node("Squeeze", "lengths", "steps"),
        node("Shape", "x", "rows", start=0, end=1),
        node("Concat", "rows units", "shape", axis=0),
        node("Expand", "zero shape", "h0"),
        helper.make_node("Loop", inputs, outputs, name="the_Loop", body=body),
    ]
    fixed = {"units": ints(UNITS), "zero": np.float32(0), "w": ones(FEATURES, UNITS)}
    return model(nodes, [value("y", ["s", "b", UNITS])], r=ones(UNITS, UNITS), **fixed)


def scanned_sum():
    """A Scan over the features of x whose state is the sum so far."""
    row = ["batch", "sequence"]
    body = helper.make_graph(
        [node("Add", "h xi", "h2"), node("Identity", "h2", "o")],
        "body",
        [value("h", row), value("xi", row)],
        [value("h2", row), value("o", row)],
    )
    scan = helper.make_node(
        "Scan", ["h0", "x"], ["last", "y"], "the_Scan", body=body, num_scan_inputs=1
    )
    scan.attribute.append(helper.make_attribute("scan_input_axes", [2]))
    nodes = [node("ReduceSum", "x axis", "h0", keepdims=0), scan]
    return model(nodes, [value("y", [FEATURES, *row])], axis=ints(2))


def sequence_output():
    """x in a sequence of one tensor, which has no shape."""
    proto = one("SequenceConstruct")
    kind = helper.make_tensor_type_proto(F, AXES)
    proto.graph.output[0].CopyFrom(
        helper.make_value_info("y", helper.make_sequence_type_proto(kind))
    )
    return proto


def cell(*activations):
    """A body: h2 = product of the activations of x_t w + h r, each taken of the same sum."""
    gates = [node(op, "sum", f"gate{k}") for k, op in enumerate(activations)]
    product = [node("Mul", f"acc{k} gate{k + 1}", f"acc{k + 1}") for k in range(len(gates) - 1)]
    return [
        node("Gather", "xt i", "xi"),
        node("MatMul", "xi w", "in"),
        node("MatMul", "h r", "back"),
        node("Add", "in back", "sum"),
        *gates,
        node("Identity", "gate0", "acc0"),
        *product,
        node("Identity", f"acc{len(gates) - 1}", "h2"),
        node("Identity", "h2", "o"),
    ]


def unrolled(steps, restart=0):
    """h(t) = tanh(h(t-1) r), written out; every ``restart`` steps from h(0) again."""
    nodes = [node("ReduceMean", "x axis", "h0", keepdims=0)]
    for t in range(steps):
        before = "h0" if restart and t % restart == 0 else f"h{t}"
        nodes += [node("MatMul", f"{before} r", f"m{t}"), node("Tanh", f"m{t}", f"h{t + 1}")]
    joined = " ".join(f"h{t + 1}" for t in range(steps))
    nodes.append(node("Concat", joined, "y", axis=1))
    out = [value("y", ["batch", steps * FEATURES])]
    return model(nodes, out, axis=ints(1), r=ones(FEATURES, FEATURES))


def elementwise(op="Add", **constants):
    return shaped(op, dims=AXES, **constants)


def dropout(mode):
    nodes = [node("Dropout", "x ratio mode", "y")]
    inputs, constants = [value("x", AXES)], {"ratio": np.float32(0.5)}
    if mode is None:
        inputs.append(value("mode", [], TensorProto.BOOL))
    else:
        constants["mode"] = np.array(mode)
    return model(nodes, [value("y", AXES)], inputs, **constants)


def normalized(**attributes):
    constants = {name: ones(FEATURES) for name in ("scale", "bias", "mean", "var")}
    outputs = "y m v" if attributes else "y"
    nodes = [
        node("Reshape", "x flat", "rows"),
        node("BatchNormalization", "rows scale bias mean var", outputs, **attributes),
    ]
    return model(nodes, [value("y", ["rows", FEATURES])], flat=ints(-1, FEATURES), **constants)


def doubled():
    nodes = [
        node("Cast", "x", "wide", to=D),
        node("Mul", "wide two", "twice"),
        node("Cast", "twice", "y", to=F),
    ]
    return model(nodes, [value("y", AXES)], two=np.float64(2))


def all_double():
    inputs, outputs = [value("x", AXES, D)], [value("y", AXES, D)]
    return model([node("Mul", "x two", "y")], outputs, inputs, two=np.float64(2))


def table(*values):
    nodes = [node("Gather", "table ids", "y")]
    ids = [value("ids", ["batch", "sequence"], I64)]
    outputs = [value("y", ["batch", "sequence"], I64)]
    return model(nodes, outputs, ids, table=np.array(values, np.int64))


def half(inputs=F):
    nodes = [node("Cast", "half", "full", to=inputs), node("Mul", "x full", "y")]
    axes = [value("x", AXES, inputs)], [value("y", AXES, inputs)]
    return model(nodes, axes[1], axes[0], half=ones(FEATURES, kind=np.float16))


def half_output():
    nodes = [node("Cast", "x", "low", to=TensorProto.FLOAT16), node("Mul", "low half", "y")]
    outputs = [value("y", AXES, TensorProto.FLOAT16)]
    return model(nodes, outputs, half=ones(FEATURES, kind=np.float16))


def clean():
    return model([node("Mul", "x two", "y")], [value("y", AXES)], two=np.float32(2))


def renamed(*axes):
    return model([node("Neg", "x", "y")], [value("y", list(axes))], [value("x", list(axes))])


def more_inputs():
    inputs = [value("x", AXES), value("mask", ["batch", "sequence"])]
    return model([node("Neg", "x", "y")], [value("y", AXES)], inputs)


def custom():
    nodes = [helper.make_node("Swish", ["x"], ["y"], name="the_Swish", domain="com.acme")]
    return model(nodes, [value("y", AXES)])


def local_function():
    proto = custom()
    body = [helper.make_node("Neg", ["a"], ["b"])]
    opsets = [helper.make_opsetid("", 18)]
    proto.functions.append(helper.make_function("com.acme", "Swish", ["a"], ["b"], body, opsets))
    return proto


def one(op, inputs="x", opset=18, dims=AXES, **attributes):
    return model([node(op, inputs, "y", **attributes)], [value("y", list(dims))], opset=opset)


def loss():
    nodes = [
        node("Reshape", "x flat", "rows"),
        node("NegativeLogLikelihoodLoss", "rows labels", "y"),
    ]
    inputs = [value("x", AXES), value("labels", ["rows"], I64)]
    return model(nodes, [value("y", [])], inputs, flat=ints(-1, FEATURES))


def wrong_info():
    infos = [value("twice", ["batch", "sequence", 4])]
    nodes = [node("Add", "x x", "twice"), node("Neg", "twice", "y")]
    return model(nodes, [value("y", AXES)], infos=infos)


def lens(computed):
    if not computed:
        return lstm("xt w r - lens", constants={"lens": np.array([1], np.int32)})
    extra = [
        node("Shape", "x", "steps", start=1, end=2),
        node("Shape", "x", "rows", start=0, end=1),
        node("Expand", "steps rows", "long"),
        node("Cast", "long", "lens", to=TensorProto.INT32),
    ]
    return lstm("xt w r - lens", extra=extra)


def trips(count):
    """The map loop with a constant for its number of steps."""
    proto = loop([node("Gather", "xt i", "xi"), node("MatMul", "xi w", "o")], carried=False)
    proto.graph.node[-1].input[0] = "count"
    proto.graph.initializer.append(numpy_helper.from_array(np.int64(count), "count"))
    return proto
