"""The cases that onnx generates for each operator of the standard, and a runtime's verdict.

``onnx.backend.test.case.node`` makes them in memory: a graph of one node or few, inputs, and the
outputs that NumPy gives.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from harness.core.errors import StageError
from harness.graphs.recurrent import is_recurrent
from harness.runtimes.guard import GuardedRuntime

AGREED, WRONG, REFUSED = "agreed", "wrong", "refused"
CRASHED, NOT_COMPARED = "crashed", "not compared"
VERDICTS = (AGREED, WRONG, REFUSED, CRASHED, NOT_COMPARED)
RANDOM = "draws random numbers"
ROUNDED = "its expected values are written to four decimals"
UNTYPED = "an optional sequence, which the case declares as a tensor"
LEFT_OUT = {
    r"test_bernoulli.*": RANDOM,
    r"test_training_dropout(_default)?(_mask)?": RANDOM,
    r"test_roialign_aligned.*": ROUNDED,
    r"test_averagepool_2d_ceil_last_window_starts_on_pad": ROUNDED,
    r"test_if_opt": UNTYPED,
}
TIES = {"test_dynamicquantizelinear", "test_dynamicquantizelinear_expanded"}
"""Cases with a quotient of n + 0.5, which is no such tie in full precision."""


@dataclass(frozen=True)
class OperatorCase:
    """A model's bytes with its data sets: inputs and outputs in the graph's order."""

    name: str
    model: bytes
    data_sets: Sequence[tuple[Sequence[Any], Sequence[Any]]]
    recurrent: bool


@dataclass(frozen=True)
class OperatorVerdict:
    """How a runtime fares in a case, one of ``VERDICTS``, and why."""

    kind: str
    reason: str = ""


def collect() -> list[OperatorCase]:
    """Return every case, by name; takes some seconds."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        testcases = collect_testcases(None)
    return [
        OperatorCase(
            case.name,
            case.model.SerializeToString(),
            case.data_sets,
            any(map(is_recurrent, case.model.graph.node)),
        )
        for case in sorted(testcases, key=lambda case: str(case.name))
    ]


def left_out(name: str) -> str | None:
    """Return why no runtime can be judged by the case of this name; None where it can."""
    return next((why for pattern, why in LEFT_OUT.items() if re.fullmatch(pattern, name)), None)


def judge(case: OperatorCase, runtime: GuardedRuntime, path: Path) -> OperatorVerdict:
    """Run a case, whose model is written to ``path``."""
    if why := left_out(case.name):
        return OperatorVerdict(NOT_COMPARED, why)
    model = onnx.ModelProto.FromString(case.model)
    names = [value.name for value in model.graph.input]
    path.write_bytes(case.model)
    wide = runtime.row.full_precision
    if wide and case.name in TIES:
        return OperatorVerdict(NOT_COMPARED, "float32 alone makes a tie of one of its values")
    try:
        session = runtime.prepare(str(path))
        for inputs, outputs in case.data_sets:
            actual = session.values(dict(zip(names, map(array, inputs), strict=False)))
            if not _are_pairs(actual):
                return OperatorVerdict(
                    WRONG, f"{_kind(actual)}, expected a list of (name, array) pairs"
                )
            if reason := difference(actual, [array(value) for value in outputs], wide):
                return OperatorVerdict(WRONG, reason)
    except StageError as error:
        return OperatorVerdict(REFUSED, f"{error.stage}: {error}")
    return OperatorVerdict(AGREED)


def _are_pairs(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in value
    )


def array(value: Any) -> Any:
    return onnx.numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def difference(outputs: Sequence[tuple[str, Any]], expected: Sequence[Any], wide: bool) -> str:
    """Return why outputs do not agree with the expected ones; empty where they do."""
    if len(outputs) != len(expected):
        return f"{len(outputs)} outputs, expected {len(expected)}"
    for (name, actual), value in zip(outputs, expected, strict=True):
        if not agrees(actual, value, wide):
            return f"output {name}: {_mismatch(actual, value)}"
    return ""


def agrees(actual: Any, expected: Any, wide: bool = False) -> bool:
    """Return whether values are equal, or within the rounding of float32 or a narrower type.

    A sum rounds at the scale of its terms: but for ``wide`` values, an error of 1e-6 of the largest
    one is rounding too.
    """
    if expected is None or isinstance(expected, (list, tuple)):
        items, expected = [] if actual is None else list(actual), expected or ()
        return len(items) == len(expected) and all(
            agrees(a, e, wide) for a, e in zip(items, expected, strict=True)
        )
    actual, expected = np.asarray(actual), np.asarray(expected)
    if actual.shape != expected.shape:
        return False
    if expected.dtype.kind in "OSU":
        return bool((actual.astype(str) == expected.astype(str)).all())
    if expected.dtype.kind in "biu":
        return actual.dtype == expected.dtype and bool((actual == expected).all())
    if not wide and actual.dtype != expected.dtype:
        return False
    single = expected.dtype in (np.float32, np.float64)
    rtol = 1e-5 if single else 1e-2
    target = expected.astype(np.float64)
    largest = 1.0 if wide else float(np.abs(target[np.isfinite(target)]).max(initial=1.0))
    atol = 1e-6 * largest
    return np.allclose(actual.astype(np.float64), target, rtol=rtol, atol=atol, equal_nan=True)


def _mismatch(actual: Any, expected: Any) -> str:
    if not isinstance(expected, np.ndarray):
        return f"{_kind(actual)}, expected {_kind(expected)}"
    actual = np.asarray(actual)
    if actual.shape != expected.shape or expected.dtype.kind in "OSU":
        return f"{_kind(actual)}, expected {_kind(expected)}"
    if actual.dtype.kind != expected.dtype.kind:
        return f"{actual.dtype}, expected {expected.dtype}"
    a, e = actual.astype(np.float64), expected.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(e)
    apart = np.abs(a[finite] - e[finite]).max(initial=0.0)
    stray = int((~finite & ~((a == e) | (np.isnan(a) & np.isnan(e)))).sum())
    scale = np.abs(e[finite]).max(initial=0.0)
    return f"off by {apart:.2g} of {scale:.2g}" + (f", {stray} not finite" if stray else "")


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)}"
    return f"{len(value)} items" if isinstance(value, (list, tuple)) else type(value).__name__
