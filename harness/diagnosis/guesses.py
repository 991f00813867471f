"""Known mistakes that fit a failing cell, each with the evidence for it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from copy import deepcopy

import numpy as np
import onnx
from onnx import numpy_helper

from harness.core.results import CaseResult, Status
from harness.core.schema import BATCH, Arrays, Case, Raggedness, Stage
from harness.diagnosis import mistakes, narrowing, settings_tried
from harness.diagnosis.diagnosis import Diagnosis, Guess
from harness.diagnosis.mistakes import Mistake
from harness.diagnosis.probing import Probe
from harness.diagnosis.shortest import size
from harness.diagnosis.values import Exact
from harness.graphs.recurrent import is_recurrent
from harness.graphs.view import Net
from harness.graphs.walk import input_at, trimmed
from harness.validation.job import Ready

CONFIRMING, SHORT = 3, 64
"""How many failing cases a mistake must explain, none longer than ``SHORT`` but the shortest."""

PATTERNS = {
    r"gates come in the order": "gate order",
    r"bias is missing|^B is absent": "missing bias",
    r"bias counts twice|bias and the recurrent bias": "bias",
    r"rounded to": "reduced precision",
    r"^attribute activation": "activation",
    r"^attribute direction|directions have changed": "direction",
    r"^attribute linear_before_reset": "reset gate",
    r"initial_[hc] is|initial_[hc] '.*' differs": "initial state",
    r"sequence_lens is": "mask ignored",
    r"transposed$": "transposed weights",
    r"the good graph has Transpose|^attribute (perm|axis|axes) ": "axes confused",
    r"rows come one": "rows shifted",
}
"""Sentences about a difference from a good graph, and the short name of such a mistake."""
LARGE = 100
"""A departure so many times its tolerance shows in every case that has it."""


def of(
    diagnosis: Diagnosis,
    job: Ready,
    probe: Probe,
    net: Net,
    good: Net | None,
    results: Sequence[CaseResult],
) -> list[Guess]:
    """Return the mistakes that fit, confirmed ones first; of one pattern only the first."""
    candidates = [*_by_cases(diagnosis, job, results)]
    if diagnosis.fault == "session" and diagnosis.after and diagnosis.shortest:
        words = "the session keeps something of one run for the next"
        rests = f"{diagnosis.shortest.case.id} passes alone and fails after {diagnosis.after.id}"
        candidates.append(Guess("leaked state", words, rests, True))
    if diagnosis.shortest is not None and diagnosis.fault == "graph":
        candidates += _transplanted(diagnosis, probe, net, good)
        candidates += _mended(diagnosis, probe, net)
        candidates += _stored(net)
    if diagnosis.shortest is not None and diagnosis.fault == "runtime":
        candidates += settings_tried.guesses(diagnosis, probe)
        candidates += _imitated(diagnosis, probe, net)
        if diagnosis.blame is not None and diagnosis.blame.actual and diagnosis.blame.certain:
            candidates += narrowing.guesses(diagnosis.blame, net)
    unique: dict[str, Guess] = {}
    for guess in sorted(candidates, key=lambda guess: not guess.confirmed):
        unique.setdefault(guess.pattern, guess)
    return list(unique.values())


def _by_cases(diagnosis: Diagnosis, job: Ready, results: Sequence[CaseResult]) -> Iterator[Guess]:
    """Yield mistakes by what the failing cases have in common and the passing ones lack."""
    first = [r for r in results if not r.case.repeat]
    bad = [r.case for r in first if r.status is not Status.PASS]
    fine = [r.case for r in first if r.status is Status.PASS]
    if not bad or not fine:
        return
    ragged = [c for c in bad if c.raggedness is not Raggedness.NONE]
    full = [c for c in fine if c.raggedness is Raggedness.NONE]
    padded = diagnosis.shortest and diagnosis.shortest.case.raggedness is not Raggedness.NONE
    large = any(o.ratio > LARGE for r in first for o in r.outputs)
    if len(ragged) == len(bad) and full and padded and large and diagnosis.fault != "session":
        rests = f"all {len(bad)} failing cases have padding; {len(full)} without any pass"
        if all(c.raggedness is Raggedness.EMPTY for c in bad):
            words = "rows without any step are computed in another way"
            yield Guess("empty rows", words, rests, False)
        else:
            words = "padding is not left out: a mask or the rows' lengths are ignored or wrong"
            yield Guess("mask ignored", words, rests, False)
    for axis, number in job.example.items():
        sizes = [(c.batch if axis == BATCH else c.lengths.get(axis, 0)) for c in bad]
        others = [(c.batch if axis == BATCH else c.lengths.get(axis, 0)) for c in fine]
        what = "baked batch" if axis == BATCH else "baked length"
        if number not in sizes and set(others) == {number}:
            words = f"{axis}={number}, the size of the example it was exported with, is baked in"
            rests = f"it passes at {axis}={number} alone, in {len(others)} cases; {len(bad)} fail"
            yield Guess(what, words, rests, True)
    stages = {r.stage for r in first if r.status is not Status.PASS}
    if stages == {Stage.RUN} and any(c.batch == 1 for c in fine) and min(c.batch for c in bad) > 1:
        words = "the graph holds a batch of 1"
        yield Guess("baked batch", words, f"all {len(bad)} failing cases have more rows", False)


def _transplanted(
    diagnosis: Diagnosis, probe: Probe, net: Net, good: Net | None
) -> Iterator[Guess]:
    """Try the node at fault with the good graph's attributes and constants in place of its own."""
    blame = diagnosis.blame
    if blame is None or good is None or not blame.counterpart or not blame.differences:
        return
    named = [
        (name, difference)
        for words, name in PATTERNS.items()
        for difference in blame.differences
        if re.search(words, difference)
    ]
    number = next(i for i in range(len(good.nodes)) if good.label(i) == blame.counterpart)
    repaired = _grafted(net, blame.node, good, number)
    count = _meets(repaired, diagnosis, probe)
    for pattern, difference in named[:1]:
        rests = f"the good graph's {blame.counterpart} is otherwise"
        if count:
            rests += f"; with its attributes and constants the golden is met at {count} cases"
        yield Guess(pattern, f"{blame.label}: {difference}", rests, bool(count))


def mended(diagnosis: Diagnosis, probe: Probe, net: Net) -> tuple[Mistake, int] | None:
    """Return a mistake that is undone, and at how many failing cases the golden is met then."""
    for mistake in mistakes.every(net.model, _recurrent(diagnosis, net)):
        if count := _meets(mistake.model, diagnosis, probe):
            return mistake, count
    return None


def _mended(diagnosis: Diagnosis, probe: Probe, net: Net) -> Iterator[Guess]:
    if undone := mended(diagnosis, probe, net):
        mistake, count = undone
        rests = f"with that undone the golden is met at {count} failing cases"
        yield Guess(mistake.pattern, mistake.words, rests, True)


def _imitated(diagnosis: Diagnosis, probe: Probe, net: Net) -> Iterator[Guess]:
    """Make known mistakes on purpose, until the graph gives what the runtime gives."""

    def imitates(model: onnx.ModelProto, case: Case) -> bool:
        actual, outputs = _actual(case, probe), _evaluated(model, case, probe)
        if actual is None or outputs is None:
            return False
        return not probe.departing(case, actual, outputs)

    cases = _confirming(diagnosis)
    for mistake in mistakes.every(net.model):
        if all(imitates(mistake.model, case) for case in cases):
            rests = f"a graph with that mistake gives, in float64, the same at {len(cases)} cases"
            yield Guess(mistake.pattern, f"the runtime computes so: {mistake.words}", rests, True)
            return


def _stored(net: Net) -> Iterator[Guess]:
    """Check whether the weights hold nothing finer than a narrow type does."""
    weights = [v for v in net.constants.values() if v.dtype == np.float32 and v.size > 16]
    for name, rounded in narrowing.NARROW.items():
        if weights and all(np.array_equal(rounded(value), value) for value in weights):
            rests = f"all {len(weights)} tensors of weights hold {name} values alone"
            yield Guess("reduced precision", f"the weights were rounded to {name}", rests, True)
            return


def _recurrent(diagnosis: Diagnosis, net: Net) -> list[str]:
    """Return the node at fault by its first output, where it is a recurrent one."""
    blame = diagnosis.blame
    if blame is None or not blame.certain or not is_recurrent(net.nodes[blame.node]):
        return []
    return [net.nodes[blame.node].output[0]]


def _confirming(diagnosis: Diagnosis) -> list[Case]:
    assert diagnosis.shortest is not None
    more = [c for c in diagnosis.failing if c.longest <= SHORT]
    more.sort(key=size, reverse=True)
    chosen = {c.id: c for c in [diagnosis.shortest.case, *more[: CONFIRMING - 1]]}
    return list(chosen.values())


def _meets(model: onnx.ModelProto, diagnosis: Diagnosis, probe: Probe) -> int:
    """Return at how many failing cases a graph meets the golden; 0 where it does not at one."""
    cases = _confirming(diagnosis)
    for case in cases:
        outputs = _evaluated(model, case, probe)
        if outputs is None or probe.departing(case, outputs):
            return 0
    return len(cases)


def _evaluated(model: onnx.ModelProto, case: Case, probe: Probe) -> Arrays | None:
    """Return the outputs of a graph in float64; None where it does not run."""
    try:
        net = Net(model)
        tensors, failed = Exact(net).all(probe.golden(case).inputs)
    except Exception:
        return None
    return None if failed else {name: tensors[name] for name in net.outputs}


def _actual(case: Case, probe: Probe) -> Arrays | None:
    try:
        return dict(probe.session.run(probe.golden(case).inputs))
    except Exception:
        return None


def _grafted(net: Net, number: int, good: Net, counterpart: int) -> onnx.ModelProto:
    """Return a copy in which a node has its counterpart's operator, attributes and constants."""
    model = deepcopy(net.model)
    node, source = model.graph.node[number], good.nodes[counterpart]
    node.op_type = source.op_type
    del node.attribute[:]
    node.attribute.extend(source.attribute)
    read: list[str] = []
    for slot in range(max(len(node.input), len(source.input))):
        ours, theirs = input_at(node, slot), input_at(source, slot)
        if theirs in good.constants:
            ours = f"grafted_{slot}"
            model.graph.initializer.append(numpy_helper.from_array(good.constants[theirs], ours))
        elif not theirs:
            ours = ""
        read.append(ours)
    node.input[:] = trimmed(read)
    return model
