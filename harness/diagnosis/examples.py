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


def smallest(known: Diagnosis, probe: Probe, net: Net, folder: Path) -> Example | None:
    """The nodes at fault alone, else the graph up to them, else all of it; None if none departs.

    Each is run in the cell's runtime before it is believed.
    """
    assert known.shortest is not None
    case = known.shortest.case
    candidates: list[Iterator[Example]] = []
    if known.blame is not None and known.fault in ("graph", "runtime"):
        candidates.append(_parts(known.blame, probe, net, case))
    candidates.append(whole(known, probe, net))
    judged = probe.judge(case)
    reason = judged.reason if judged.stage in (Stage.LOAD, Stage.RUN) else ""
    for group in candidates:
        for example in group:
            if departs(example, probe.job.runtime, folder, reason):
                return example
    return None


def departs(example: Example, runtime: Runtime, folder: Path, reason: str = "") -> bool:
    """Whether an example shows what the whole model does.

    That is a departure, or failing to run for a ``reason`` in much the same words.
    """
    assert example.model is not None
    path = folder / "example.onnx"
    try:
        onnx.save_model(example.model, path)
        session = runtime.prepare(str(path))
        if example.before is not None:
            session.run(example.before)
        actual = dict(session.run(example.inputs))
        found = errors(example, actual)
    except StageError as error:
        return alike(str(error), reason)
    except KeyError:
        return True
    return any(not error <= example.tolerance[name] for name, error in found.items())


def alike(told: str, reason: str) -> bool:
    """Whether two messages share most of their words, whatever their numbers."""
    one, two = (set(re.findall(r"[A-Za-z_]{4,}", text)) for text in (told, reason))
    return 2 * len(one & two) > min(len(one), len(two))


def unloadable(
    net: Net, failed: Failure | None, reason: str, runtime: Runtime, folder: Path
) -> Example | None:
    """A model that a runtime refuses to load: the node that it names alone, else all of it."""
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
    inputs = probe.golden(case).inputs
    try:
        held, _failed = Exact(net).all(inputs)
    except Exception:
        return
    listed = ", ".join(net.label(i) for i in blame.nodes)
    fails = not blame.due
    if blame.nodes and (fed := blame.fed or _fed(net, blame.nodes, held)):
        due = blame.due or _due(net, blame.nodes[-1], held)
        outputs = list(blame.due) or net.makes(blame.nodes[-1])
        told = f"{listed} alone, at {case.id}" + (": it does not run" if fails else "")
        yield from _cut(net, blame.nodes, outputs, {**held, **fed}, due, told)
    tensor = next(iter(blame.due), blame.tensor)
    if tensor:
        due = blame.due or _due(net, blame.node, held)
        told = f"the graph up to {net.label(blame.node)}, at {case.id}"
        yield from _cut(net, net.ancestors([tensor]), [tensor], {**held, **inputs}, due, told)


def _cut(
    net: Net, nodes: Sequence[int], outputs: Sequence[str], values: Arrays, due: Arrays, told: str
) -> Iterator[Example]:
    try:
        model = extract.part(net, nodes, outputs, values)
        inputs = extract.fed(model, values)
    except (KeyError, ValueError, TypeError):
        return
    expected = {n: np.asarray(due[n]) for n in outputs if n in due}
    allowed = {name: ROUNDING * scale(value) for name, value in expected.items()}
    yield Example(model, inputs, expected, allowed, told)


def whole(known: Diagnosis, probe: Probe, net: Net) -> Iterator[Example]:
    """The model as it is, at the shortest failing case."""
    assert known.shortest is not None
    case = known.shortest.case
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
    before = probe.golden(known.after).inputs if known.after else None
    told = f"the whole model, at {case.id}" + (f", after {known.after.id}" if known.after else "")
    yield Example(net.model, golden.inputs, golden.outputs, allowed, told, before, steps)


def _due(net: Net, number: int, held: Arrays) -> Arrays:
    return {name: held[name] for name in net.makes(number) if name in held}


def _fed(net: Net, nodes: Sequence[int], held: Arrays) -> Arrays:
    return {name: held[name] for name in net.needs(nodes) if name in held}
