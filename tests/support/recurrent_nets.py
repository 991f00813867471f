"""Small recurrent graphs with their mathematics in NumPy, for planting defects in them."""

import numpy as np
from onnx import helper

from harness.core.schema import TensorSpec
from tests.support.mutants import spec, subject

UNITS, FEATURES = 3, 3
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
STATES = ("h0_1", "c0_1", "h0_2", "c0_2")
NEXT = ("h_1", "c_1", "h_2", "c_2")


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def weights(seed, kind="LSTM", directions=1, features=FEATURES):
    """W, R and B of one node, in ONNX's layout."""
    rows = GATES[kind] * UNITS
    shapes = ((directions, rows, features), (directions, rows, UNITS), (directions, 2 * rows))
    return [normal(seed + i, *shape) for i, shape in enumerate(shapes)]


def lstm(x, parameters, h=None, c=None):
    """Hidden and cell states (steps + 1, batch, units) of x (steps, batch, features)."""
    w, r, b = (p[0].astype(np.float64) for p in parameters)
    zero = np.zeros((x.shape[1], UNITS))
    hs, cs = [zero if h is None else h], [zero if c is None else c]
    for step in x:
        sums = step @ w.T + hs[-1] @ r.T + b[: 4 * UNITS] + b[4 * UNITS :]
        i, o, f, g = np.split(sums, 4, axis=-1)
        cs.append(sigmoid(f) * cs[-1] + sigmoid(i) * np.tanh(g))
        hs.append(sigmoid(o) * np.tanh(cs[-1]))
    return np.array(hs), np.array(cs)


def layer(kind="LSTM", direction="forward", features=FEATURES, seed=0, **attributes):
    """x (batch, steps, features) to y (batch, steps, directions x units), of one node."""
    directions = 2 if direction == "bidirectional" else 1
    given = dict(zip("WRB", weights(seed, kind, directions, features), strict=True))
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node(
            kind,
            ["steps", "W", "R", "B"],
            ["all"],
            hidden_size=UNITS,
            direction=direction,
            **attributes,
        ),
        helper.make_node("Transpose", ["all"], ["rows"], perm=[2, 0, 1, 3]),
        helper.make_node("Reshape", ["rows", "shape"], ["y"]),
    ]
    described = spec(
        [TensorSpec("x", "float32", ("batch", "length", features))],
        [TensorSpec("y", "float32", ("batch", "length", directions * UNITS))],
    )
    return subject(nodes, {**given, "shape": np.array([0, 0, -1])}, described)


def last(kind="LSTM"):
    """x (batch, length, features) to the hidden state (batch, units) after the last step."""
    nodes = [
        helper.make_node("Transpose", ["x"], ["steps"], perm=[1, 0, 2]),
        helper.make_node(kind, ["steps", "W", "R", "B"], ["", "all"], hidden_size=UNITS),
        helper.make_node("Squeeze", ["all", "first"], ["y"]),
    ]
    described = spec(
        [TensorSpec("x", "float32", ("batch", "length", FEATURES))],
        [TensorSpec("y", "float32", ("batch", UNITS))],
    )
    given = dict(zip("WRB", weights(0, kind), strict=True))
    return subject(nodes, {**given, "first": np.array([0])}, described)


def stack():
    """Two LSTMs with their states as inputs and outputs, and y (batch, length, units)."""
    nodes = [helper.make_node("Transpose", ["x"], ["x1"], perm=[1, 0, 2])]
    given = {"first": np.array([0]), "one": np.array([1])}
    for number in (1, 2):
        given |= dict(zip((f"{n}{number}" for n in "WRB"), weights(10 * number), strict=True))
        named = {s: f"{s}_{number}" for s in ("h0", "c0", "h", "c")}
        nodes += [
            helper.make_node("Unsqueeze", [named["h0"], "first"], [f"H{number}"]),
            helper.make_node("Unsqueeze", [named["c0"], "first"], [f"C{number}"]),
            helper.make_node(
                "LSTM",
                [*(f"{n}{number}" for n in ("x", "W", "R", "B")), "", f"H{number}", f"C{number}"],
                [f"Y{number}", f"YH{number}", f"YC{number}"],
                hidden_size=UNITS,
            ),
            helper.make_node("Squeeze", [f"Y{number}", "one"], [f"x{number + 1}"]),
            helper.make_node("Squeeze", [f"YH{number}", "first"], [named["h"]]),
            helper.make_node("Squeeze", [f"YC{number}", "first"], [named["c"]]),
        ]
    nodes.append(helper.make_node("Transpose", ["x3"], ["y"], perm=[1, 0, 2]))
    states = {name: TensorSpec(name, "float32", ("batch", UNITS)) for name in STATES + NEXT}
    described = spec(
        [TensorSpec("x", "float32", ("batch", "length", FEATURES)), *map(states.get, STATES)],
        [TensorSpec("y", "float32", ("batch", "length", UNITS)), *map(states.get, NEXT)],
        states=dict(zip(STATES, NEXT, strict=True)),
    )
    return subject(nodes, given, described)


def stacked(x, given, parameters=None):
    """What ``stack`` computes from x and the states by name, in float64."""
    first, second = parameters or (weights(10), weights(20))
    h1, c1 = lstm(x.transpose(1, 0, 2), first, given["h0_1"], given["c0_1"])
    h2, c2 = lstm(h1[1:], second, given["h0_2"], given["c0_2"])
    final = {"h_1": h1[-1], "c_1": c1[-1], "h_2": h2[-1], "c_2": c2[-1]}
    return {"y": h2[1:].transpose(1, 0, 2), **final}
