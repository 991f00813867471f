"""A folder that reproduces a departure alone: a cut-down model, inputs, a short script, a text."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx

from harness.core.files import replacing
from harness.core.loader import Loader
from harness.core.schema import Array, Arrays

MODEL, INPUTS, BEFORE, EXPECTED = "model.onnx", "inputs.npz", "before.npz", "expected.npz"
SCRIPT, ISSUE, JSON, TEXT = "reproduce.py", "ISSUE.md", "diagnosis.json", "diagnosis.md"

TEMPLATE = '''"""Exits with 1 while model.onnx departs from expected.npz. Needs: {needs}."""

import sys
from pathlib import Path

import numpy as np
{imports}

here = Path(__file__).parent
tolerance = {tolerance}
{load}
for file in {files}:
    inputs = dict(np.load(here / file))
    values, names = {run}
departs = False
for name, expected in np.load(here / "expected.npz").items():
    actual = np.asarray(dict(zip(names, values))[name]){steps}
    if actual.shape != expected.shape:
        error = float("inf")
    else:
        error = np.abs(actual.astype(np.float64) - expected).max(initial=0.0)
    print(f"{{name}}: shape {{actual.shape}}, expected {{expected.shape}}; "
          f"error {{error:.3g}}, tolerance {{tolerance[name]:.3g}}")
    departs |= not error <= tolerance[name]
print("departs" if departs else "conforms")
sys.exit(departs)
'''
"""Python itself ends with exit code 1 where the model does not load or run."""


@dataclass(frozen=True)
class Example:
    """A model that departs: inputs, expected outputs and the tolerance of each.

    ``what`` says which part of which model it is. ``before`` are the inputs of an earlier run on
    the same session, where it needs one; ``steps`` the axis and the steps of an output that are
    expected, where not all are known.
    """

    model: onnx.ModelProto | None
    inputs: Arrays
    expected: Arrays
    tolerance: Mapping[str, float]
    what: str
    before: Arrays | None = None
    steps: Mapping[str, tuple[int, Array]] = field(default_factory=dict)


def script(loader: Loader, example: Example) -> str:
    """Return the text of ``reproduce.py``, which runs the example with ``loader``."""
    steps = ""
    if example.steps:
        kept = {name: (axis, at.tolist()) for name, (axis, at) in example.steps.items()}
        steps = f"\n    for axis, at in [{kept}.get(name)] if name in {list(kept)} else []:"
        steps += "\n        actual = actual.take(at, axis=axis)"
    files = (INPUTS,) if example.before is None else (BEFORE, INPUTS)
    tolerance = {name: float(value) for name, value in example.tolerance.items()}
    return TEMPLATE.format(
        needs=f"numpy, {loader.needs}",
        imports=loader.imports,
        tolerance=tolerance,
        load=loader.load,
        files=files,
        run=loader.run,
        steps=steps,
    )


def write(folder: Path, loader: Loader, example: Example | None, texts: Mapping[str, str]) -> None:
    """Replace ``folder`` as a whole: the example, if any, and texts by file name."""
    with replacing(folder) as new:
        if example is not None and example.model is not None:
            onnx.save_model(example.model, new / MODEL)
            _save(new / INPUTS, example.inputs)
            _save(new / EXPECTED, example.expected)
            if example.before is not None:
                _save(new / BEFORE, example.before)
            (new / SCRIPT).write_text(script(loader, example), "utf-8")
        for name, text in texts.items():
            (new / name).write_text(text, "utf-8")


def errors(example: Example, actual: Arrays) -> dict[str, float]:
    """Return the largest error of every expected output, as the script computes it."""
    largest = {}
    for name, expected in example.expected.items():
        value = np.asarray(actual[name])
        if name in example.steps:
            axis, steps = example.steps[name]
            value = value.take(steps, axis=axis) if value.ndim > axis else value
        if value.shape != expected.shape:
            largest[name] = float("inf")
        else:
            error = np.abs(value.astype(np.float64) - expected).max(initial=0.0)
            largest[name] = float(error)
    return largest


def _save(path: Path, arrays: Arrays) -> None:
    """Save arrays by any names, which ``numpy.savez`` does not take, for ``numpy.load``."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(value), allow_pickle=False)
            archive.writestr(f"{name}.npy", buffer.getvalue())
