"""The smallest part of a model that departs when it runs alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import onnx

from harness.core.errors import StageError
from harness.core.schema import Array, Arrays, Case, Runtime, Stage
from harness.core.tolerance import scale_of, tolerance
from harness.diagnosis.blame import Blame
from harness.diagnosis.diagnosis import Diagnosis
from harness.diagnosis.probing import Probe
from harness.diagnosis.reproduction import Example, errors
from harness.diagnosis.values import ROUNDING, Exact, Failure, scale
from harness.graphs import extract
from harness.graphs.view import Net


def smallest(diagnosis: Diagnosis, probe: Probe, net: Net, folder: Path) -> Example | None:
    """Return the nodes at fault alone, else the graph up to them, else all of it.

    Each is run in the cell's runtime; None where none departs.
    """
    assert diagnosis.shortest is not None
    judged = probe.judge(diagnosis.shortest.case)
    reason = judged.reason if judged.stage in (Stage.LOAD, Stage.RUN) else ""
    for example in _candidates(diagnosis, probe, net, diagnosis.shortest.case):
        if departs(example, probe.job.runtime, folder, reason):
            return example
    return None


def _candidates(diagnosis: Diagnosis, probe: Probe, net: Net, case: Case) -> Iterator[Example]:
    if diagnosis.blame is not None and diagnosis.fault in ("graph", "runtime"):
        yield from _parts(diagnosis.blame, probe, net, case)
    yield whole(diagnosis, probe, net)


def departs(example: Example, runtime: Runtime, folder: Path, reason: str = "") -> bool:
    """Return whether an example departs, or fails to run as the whole model does.

    The latter is a message that shares most of its words with ``reason``.
    """
    assert example.model is not None
    path = folder / "example.onnx"
    try:
        onnx.save_model(example.model, path)
        session = runtime.prepare(str(path))
        if example.before is not None:
            session.run(example.before)
        largest = errors(example, dict(session.run(example.inputs)))
    except StageError as error:
        return alike(str(error), reason)
    except KeyError:
        return True
    return any(not error <= example.tolerance[name] for name, error in largest.items())


def alike(message: str, reason: str) -> bool:
    """Return whether two messages share most of their words, whatever their numbers."""
    words, other_words = (set(re.findall(r"[A-Za-z_]{4,}", text)) for text in (message, reason))
    return 2 * len(words & other_words) > min(len(words), len(other_words))


def unloadable(
    net: Net, failed: Failure | None, reason: str, runtime: Runtime, folder: Path
) -> Example | None:
    """Return a model that a runtime does not load: the failed node alone, else all of it."""
    whole = Example(net.model, {}, {}, {}, "the model as it is: it does not load")
    if failed is None:
        return whole
    try:
        cut = extract.part(net, [failed.node], net.makes(failed.node), {})
        onnx.save_model(cut, folder / "example.onnx")
        runtime.prepare(str(folder / "example.onnx"))
    except StageError as error:
        if alike(str(error), reason):
            return Example(cut, {}, {}, {}, f"{net.label(failed.node)} alone: it does not load")
    except Exception:
        return whole
    return whole


def _parts(blame: Blame, probe: Probe, net: Net, case: Case) -> Iterator[Example]:
    """Yield the nodes at fault alone, then the graph up to them."""
    inputs = probe.golden(case).inputs
    try:
        tensors, _ = Exact(net).all(inputs)
    except Exception:
        return
    expected = blame.expected or tensors
    if blame.nodes and (blame.inputs or any(name in tensors for name in net.needs(blame.nodes))):
        outputs = list(blame.expected) or net.makes(blame.nodes[-1])
        what = f"{', '.join(net.label(i) for i in blame.nodes)} alone, at {case.id}"
        what += "" if blame.expected else ": it does not run"
        yield from _cut(net, blame.nodes, outputs, {**tensors, **blame.inputs}, expected, what)
    if tensor := next(iter(blame.expected), blame.tensor):
        nodes = net.ancestors([tensor])
        what = f"the graph up to {net.label(blame.node)}, at {case.id}"
        yield from _cut(net, nodes, [tensor], {**tensors, **inputs}, expected, what)


def _cut(
    net: Net,
    nodes: Sequence[int],
    outputs: Sequence[str],
    values: Arrays,
    expected: Arrays,
    what: str,
) -> Iterator[Example]:
    try:
        model = extract.part(net, nodes, outputs, values)
        inputs = extract.fed(model, values)
    except (KeyError, ValueError, TypeError):
        return
    expected = {name: np.asarray(expected[name]) for name in outputs if name in expected}
    allowed = {name: ROUNDING * scale(value) for name, value in expected.items()}
    yield Example(model, inputs, expected, allowed, what)


def whole(diagnosis: Diagnosis, probe: Probe, net: Net) -> Example:
    """Return the model as it is, at the shortest failing case."""
    assert diagnosis.shortest is not None
    case = diagnosis.shortest.case
    golden, row = probe.golden(case), probe.job.runtime.row
    allowed: dict[str, float] = {}
    steps: dict[str, tuple[int, Array]] = {}
    for t in probe.job.golden.spec.outputs:
        value = golden.outputs[t.name]
        size = scale_of(golden.scale.get(t.name, 0.0), value)
        inexact = np.dtype(t.dtype).kind in "fc"
        allowed[t.name] = tolerance(row, golden.noise_floor[t.name], size) if inexact else 0.0
        if golden.steps is not None and t.step_axis is not None:
            steps[t.name] = t.step_axis, golden.steps
    before = probe.golden(diagnosis.after).inputs if diagnosis.after else None
    after = f", after {diagnosis.after.id}" if diagnosis.after else ""
    what = f"the whole model, at {case.id}{after}"
    return Example(net.model, golden.inputs, golden.outputs, allowed, what, before, steps)
