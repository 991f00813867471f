"""Other ways, tried in turn where the native exporter's own one ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.core.errors import ExportError, RunError, StageError, clipped
from harness.core.schema import ModelSpec, case_text
from harness.core.temporary import temporary_folder
from harness.exporters.ways import exporter
from harness.recording.measured import Measured
from harness.runtimes import load

MOST_CASES = 24
NEAR = 1e-3
"""The part of an output's scale that a way which is worth proving may be off by."""


def exported(
    why: StageError,
    ways: Sequence[str],
    make: Callable[[str], tuple[Any, Any]],
    spec: ModelSpec,
    results: Sequence[Measured],
) -> tuple[str, tuple[Any, Any]]:
    """Return the first of ``ways`` whose model is near the recorded cases, and that.

    ``make`` takes a way and returns the model and its example. A model that is returned is still
    to be proved. ExportError with the native reason ``why``, and what came first of each exporter
    that was tried, where none is near.
    """
    tried: dict[str, str] = {}
    for way in ways:
        name = exporter(way)
        if name in why.baking:
            tried[name] = "would keep one side of the branch without a word"
            continue
        try:
            made = make(way)
            wrong = departure(made[0], spec, results)
        except StageError as error:
            wrong = str(error)
        if not wrong:
            return way, made
        tried.setdefault(name, _brief(wrong, str(why)))
    raise ExportError("; ".join([str(why), *map(" ".join, tried.items())])) from why


def departure(
    model: Any, spec: ModelSpec, results: Sequence[Measured], most: int = MOST_CASES
) -> str:
    """Return where ``model`` is far from ``most`` recorded outputs; empty where it is near them."""
    judged = [result for result in results if not result.meaningless]
    chosen = judged[:: max(1, -(-len(judged) // most))]
    with temporary_folder() as folder:
        path = folder / "model.onnx"
        path.write_bytes(model.SerializeToString())
        session = load("ort-cpu").prepare(str(path))
        given = {value.name for value in model.graph.input}
        if unread := [tensor.name for tensor in spec.inputs if tensor.name not in given]:
            return f"gives a graph without the input {unread[0]!r}"
        for result in chosen:
            try:
                actual = dict(session.run(result.inputs))
            except RunError:
                return f"gives a graph that does not run at {case_text(result.case)}"
            for tensor in spec.outputs:
                expected, value = result.outputs[tensor.name], actual.get(tensor.name)
                padded = spec.left_out(tensor, result.inputs)
                what = f"gives {{}} for {tensor.name!r} at {case_text(result.case)}"
                if value is None or value.dtype != tensor.dtype:
                    return what.format("another type")
                if result.steps is None and value.shape != expected.shape:
                    shapes = f"{list(value.shape)} instead of {list(expected.shape)}"
                    return what.format(shapes)
                if result.steps is None and not _near(value, expected, padded):
                    return what.format("other values")
    return ""


def _near(given: Any, expected: Any, padded: Any) -> bool:
    wide = np.asarray(expected, dtype=np.float64)
    finite = np.abs(wide[np.isfinite(wide)])
    bound = NEAR * max(float(finite.max(initial=0.0)), 1e-30)
    near = np.isclose(np.asarray(given, dtype=np.float64), wide, 0.0, bound, equal_nan=True)
    if expected.dtype.kind in "iub":
        return True
    return bool(near.all() if padded is None else (near | padded).all())


def _brief(wrong: str, why: str) -> str:
    """Return why a way is none, without what ``why`` has said and without its advice."""
    reason = wrong.partition("; ")[0]
    if reason == why.partition("; ")[0]:
        return "ends there, too"
    return reason if reason.startswith("gives ") else f"ends in: {clipped(reason, 200)}"
