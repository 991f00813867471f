"""The stock exporters, tried in turn where the native one's own way ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from harness.core.errors import ExportError, StageError
from harness.core.schema import ModelSpec
from harness.core.temporary import temporary_folder
from harness.exporters import FALLBACKS
from harness.recording.measured import Measured
from harness.runtimes import load

MOST_CASES = 24
NEAR = 1e-3
"""The part of an output's scale that a way which is worth proving may be off by."""


def exported(
    why: StageError,
    framework: str,
    make: Callable[[str], tuple[Any, Any]],
    spec: ModelSpec,
    results: Sequence[Measured],
) -> tuple[str, tuple[Any, Any]]:
    """Return the first stock exporter whose model computes the recorded cases, and what it made.

    ``make`` takes an exporter's name and returns the model and its example. A model that is
    returned is still to be proved. ExportError with the native reason ``why``, and what was tried,
    where none is near.
    """
    tried = []
    for name in FALLBACKS.get(framework, ()):
        try:
            made = make(name)
            wrong = departure(made[0], spec, results)
        except StageError as error:
            wrong = str(error)
        if not wrong:
            return name, made
        tried.append(f"{name}: {_brief(wrong)}")
    raise ExportError("; ".join([str(why), *tried])) from why


def departure(model: Any, spec: ModelSpec, results: Sequence[Measured]) -> str:
    """Return where ``model`` is far from the recorded outputs; empty where it is near them all."""
    judged = [result for result in results if not result.meaningless]
    chosen = judged[:: max(1, -(-len(judged) // MOST_CASES))]
    with temporary_folder() as folder:
        path = folder / "model.onnx"
        path.write_bytes(model.SerializeToString())
        session = load("ort-cpu").prepare(str(path))
        for result in chosen:
            actual = dict(session.run(result.inputs))
            for tensor in spec.outputs:
                expected, given = result.outputs[tensor.name], actual.get(tensor.name)
                padded = spec.left_out(tensor, result.inputs)
                at = f"{tensor.name} at {result.case.id}"
                if given is None or given.dtype != tensor.dtype:
                    return f"{at} is another type"
                if result.steps is None and given.shape != expected.shape:
                    return f"{at} is {list(given.shape)}, expected {list(expected.shape)}"
                if result.steps is None and not _near(given, expected, padded):
                    return f"{at} is not what the model gives"
    return ""


def _near(given: Any, expected: Any, padded: Any) -> bool:
    wide = np.asarray(expected, dtype=np.float64)
    finite = np.abs(wide[np.isfinite(wide)])
    bound = NEAR * max(float(finite.max(initial=0.0)), 1e-30)
    near = np.isclose(np.asarray(given, dtype=np.float64), wide, 0.0, bound, equal_nan=True)
    if expected.dtype.kind in "iub":
        return True
    return bool(near.all() if padded is None else (near | padded).all())


def _brief(text: str, most: int = 160) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"
