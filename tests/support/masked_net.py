"""A small masked graph with its mathematics in NumPy: two layers side by side over packed steps."""

import numpy as np
from onnx import TensorProto, helper

from harness.core.schema import TensorSpec
from tests.support.mutants import spec, subject
from tests.support.recurrent_nets import FEATURES, UNITS, lstm, normal, weights

TABLE = normal(7, 6, FEATURES)
IDS = np.array(
    [[1, 2, 3, 4, 5], [2, 1, 0, 0, 0], [0, 0, 4, 0, 1], [5, 1, 0, 1, 0], [0, 0, 0, 0, 0]], np.int32
)
"""Rows that are whole, padded at the right, at the left and in the middle, and empty."""


def masked(zeroed=True, padded="ids"):
    """ids (batch, length) to y (batch, length, 2 x units) and the first layer's final h and c.

    A padded step of y is zero, or repeats the last valid one; an empty row's c is zero.
    """
    make = helper.make_node
    nodes = [
        make("Gather", ["table", "ids"], ["rows"]),
        make("Equal", ["ids", "none"], ["same"]),
        make("Not", ["same"], ["mask"]),
        make("Cast", ["mask"], ["whole"], to=TensorProto.INT64),
        make("CumSum", ["whole", "1"], ["ahead"], reverse=1),
        make("Mul", ["whole", "ahead"], ["rank"]),
        make("Shape", ["ids"], ["length"], start=1, end=2),
        make("TopK", ["rank", "length"], ["ranked", "order"], axis=1),
        make("Unsqueeze", ["order", "[2]"], ["order_3"]),
        make("GatherND", ["rows", "order_3"], ["packed"], batch_dims=1),
        make("Transpose", ["packed"], ["x"], perm=[1, 0, 2]),
        make("CumSum", ["whole", "1"], ["count"]),
        make("Gather", ["count", "[-1]"], ["total"], axis=1),
        make("Max", ["total", "1"], ["some"]),
        make("Squeeze", ["some", "[1]"], ["flat"]),
        make("Cast", ["flat"], ["lens"], to=TensorProto.INT32),
        make("LSTM", ["x", "Wa", "Ra", "Ba", "lens"], ["Ya", "", "Ca"], hidden_size=UNITS),
        make("LSTM", ["x", "Wb", "Rb", "Bb"], ["Yb"], hidden_size=UNITS),
        make("Mul", ["count", "whole"], ["zeroed"]),
        make("Unsqueeze", ["zeroed" if zeroed else "count", "[2]"], ["index"]),
        make("Greater", ["total", "0"], ["any"]),
        make("Squeeze", ["Ca", "[0]"], ["final_c"]),
        make("Where", ["any", "final_c", "zero"], ["c"]),
    ]
    for name in "ab":
        nodes += [
            make("Squeeze", [f"Y{name}", "[1]"], [f"steps_{name}"]),
            make("Pad", [f"steps_{name}", "front"], [f"front_{name}"]),
            make("Transpose", [f"front_{name}"], [f"all_{name}"], perm=[1, 0, 2]),
            make("GatherND", [f"all_{name}", "index"], [f"read_{name}"], batch_dims=1),
        ]
    nodes += [
        make("Concat", ["read_a", "read_b"], ["y"], axis=2),
        make("GatherND", ["all_a", "total"], ["h"], batch_dims=1),
    ]
    given = {
        "table": TABLE,
        "none": np.array(0, np.int32),
        "0": np.array(0),
        "1": np.array(1),
        **{f"[{n}]": np.array([n]) for n in (-1, 0, 1, 2)},
        "front": np.array([1, 0, 0, 0, 0, 0]),
        "zero": np.array(0, np.float32),
    }
    for name, seed in (("a", 30), ("b", 40)):
        given |= dict(zip((f"{n}{name}" for n in "WRB"), weights(seed), strict=True))
    state = ("batch", UNITS)
    described = spec(
        [TensorSpec("ids", "int32", ("batch", "length"), 1, 6)],
        [
            TensorSpec("y", "float32", ("batch", "length", 2 * UNITS)),
            *(TensorSpec(name, "float32", state) for name in "hc"),
        ],
        padded=padded,
    )
    return subject(nodes, given, described)


def branch(ids, parameters, enter, read, lens=None, zeroed=True):
    """One layer over the steps packed by the mask ``enter``, read back by the mask ``read``.

    Returns its y, its h and the cell states (batch, steps + 1, units) of the packed steps; after
    ``lens`` steps of a row its outputs are zero.
    """
    order = np.argsort(~enter, axis=1, kind="stable")
    packed = TABLE[np.take_along_axis(ids, order, axis=1)].transpose(1, 0, 2)
    hs, cs = (s.transpose(1, 0, 2) for s in lstm(packed, parameters))
    hs[:, 0] = 0
    rows = np.arange(len(ids))
    if lens is not None:
        hs = np.where(np.arange(hs.shape[1])[None, :, None] <= lens[:, None, None], hs, 0)
    count = read.cumsum(axis=1)
    y = hs[rows[:, None], count * read if zeroed else count]
    return y, hs[rows, count[:, -1]], cs


def lengths(mask):
    return np.maximum(mask.sum(axis=1), 1)


def expected(ids, a=None, b=None, lens=None, read=None, zeroed=True, guarded=True, state=None):
    """What ``masked`` computes in float64.

    ``a`` and ``b`` are the masks by which steps enter each layer, ``read`` those by which y is
    read from each, ``state`` that for h, ``lens`` the lengths: all those of ``ids`` by default.
    """
    mask = ids != 0
    a, b, state = (mask if m is None else m for m in (a, b, state))
    read = (mask, mask) if read is None else read
    lens = lengths(mask) if lens is None else lens
    first, _, cs = branch(ids, weights(30), a, read[0], lens, zeroed)
    second = branch(ids, weights(40), b, read[1], None, zeroed)[0]
    h = branch(ids, weights(30), a, state, lens)[1]
    c = cs[np.arange(len(ids)), lens]
    kept = (state if guarded is True else np.ones_like(mask)).any(axis=1)
    return {"y": np.concatenate([first, second], -1), "h": h, "c": np.where(kept[:, None], c, 0)}


def under(ids, mask, zeroed=True):
    """What ``masked`` computes with another mask everywhere."""
    return expected(ids, mask, mask, lengths(mask), (mask, mask), zeroed, state=mask)
