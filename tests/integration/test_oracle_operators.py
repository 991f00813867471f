"""The oracle judged by the cases that onnx generates for each operator of the standard."""

import warnings
from collections import defaultdict

import numpy as np
import onnx
import pytest
from onnx.backend.test.case.node import collect_testcases

from harness.errors import LoadError, RunError
from harness.runtimes.oracle import ORACLE

RECURRENT = {"LSTM", "GRU", "RNN"}
RANDOM = "draws random numbers"
ROUNDED = "its expected values are written to four decimals"
SHAPE = "an optional sequence, which the case declares as a tensor"
LEFT_OUT = {
    "test_bernoulli": RANDOM,
    "test_roialign_aligned": ROUNDED,
    "test_averagepool_2d_ceil_last_window_starts_on_pad": ROUNDED,
    "test_if_opt": SHAPE,
}
REFUSED = {
    "the oracle evaluates 13 and later": LoadError,
    "is evaluated in float32 by onnx": LoadError,
    "BitCast requires input and output types to have the same bit-width": RunError,
    "Pillow must be installed": RunError,
    " in float32": RunError,
}


def array(value):
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def agrees(actual, expected):
    """Equal, or within float32 rounding (of the expected type where that is narrower)."""
    if expected is None or isinstance(expected, (list, tuple)):
        items = [] if expected is None else expected
        return len(items) == len(actual or []) and all(map(agrees, actual or [], items))
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        return False
    if expected.dtype.kind in "OSU":
        return bool((actual.astype(str) == expected.astype(str)).all())
    if expected.dtype.kind in "biu":
        return actual.dtype == expected.dtype and bool((actual == expected).all())
    single = expected.dtype in (np.float32, np.float64)
    rtol = 1e-5 if single else 1e-2
    wide = expected.astype(np.float64)
    return np.allclose(actual.astype(np.float64), wide, rtol=rtol, atol=1e-6, equal_nan=True)


def verdict(case, path):
    """``agrees``, ``differs``, or why the oracle refuses the case."""
    onnx.save(case.model, path)
    try:
        session = ORACLE.prepare(str(path))
        for inputs, outputs in case.data_sets:
            names = [value.name for value in case.model.graph.input]
            given = session.run(dict(zip(names, map(array, inputs), strict=False)))
            if not all(agrees(v, array(o)) for (_, v), o in zip(given, outputs, strict=True)):
                return "differs"
    except (LoadError, RunError) as error:
        why = [w for w, kind in REFUSED.items() if w in str(error) and isinstance(error, kind)]
        return why[0] if why else f"unexplained: {error}"
    return "agrees"


@pytest.mark.xdist_group("oracle_operators")
def test_the_operator_cases_of_onnx(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    found = defaultdict(list)
    for case in cases:
        named = any(case.name.startswith(name) for name in LEFT_OUT)
        found["left out" if named else verdict(case, tmp_path / "m.onnx")].append(case)
    explained = {"agrees", "left out", *REFUSED}
    bad = {why: [c.name for c in cs] for why, cs in found.items() if why not in explained}
    assert not bad
    recurrent = {
        case.name for case in cases if RECURRENT & {node.op_type for node in case.model.graph.node}
    }
    agreeing = {case.name for case in found["agrees"]}
    assert recurrent
    assert recurrent <= agreeing
    assert len(agreeing - recurrent) >= 1200
