"""Known mistakes that fit what was found; each says what it rests on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from copy import deepcopy

import numpy as np
import onnx
from onnx import numpy_helper

from harness.core.schema import BATCH, Arrays, Case, CaseResult, Raggedness, Stage, Status
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
"""What a difference from a good graph says, and the short name of such a mistake."""
LARGE = 100
"""A departure so many times its tolerance is none that some cases only happen not to show."""


def of(
    known: Diagnosis,
    job: Ready,
    probe: Probe,
    net: Net,
    good: Net | None,
    results: Sequence[CaseResult],
) -> list[Guess]:
    """The confirmed ones first; of one pattern only the first."""
    found = [*_by_cases(known, job, results)]
    if known.fault == "session" and known.after and known.shortest:
        words = "the session keeps something of one run for the next"
        told = f"{known.shortest.case.id} passes alone and fails after {known.after.id}"
        found.append(Guess("leaked state", words, told, True))
    if known.shortest is not None and known.fault == "graph":
        found += _transplanted(known, probe, net, good)
        found += _mended(known, probe, net)
        found += _stored(net)
    if known.shortest is not None and known.fault == "runtime":
        found += settings_tried.guesses(known, probe)
        found += _imitated(known, probe, net)
        if known.blame is not None and known.blame.given and known.blame.certain:
            found += narrowing.guesses(known.blame, net)
    unique: dict[str, Guess] = {}
    for guess in sorted(found, key=lambda guess: not guess.confirmed):
        unique.setdefault(guess.pattern, guess)
    return list(unique.values())


def _by_cases(known: Diagnosis, job: Ready, results: Sequence[CaseResult]) -> Iterator[Guess]:
    """What the failing cases have in common and the passing ones have not."""
    first = [r for r in results if not r.case.repeat]
    bad = [r.case for r in first if r.status is not Status.PASS]
    fine = [r.case for r in first if r.status is Status.PASS]
    if not bad or not fine:
        return
    ragged = [c for c in bad if c.raggedness is not Raggedness.NONE]
    full = [c for c in fine if c.raggedness is Raggedness.NONE]
    padded = known.shortest and known.shortest.case.raggedness is not Raggedness.NONE
    large = any(o.ratio > LARGE for r in first for o in r.outputs)
    if len(ragged) == len(bad) and full and padded and large and known.fault != "session":
        empty = all(c.raggedness is Raggedness.EMPTY for c in bad)
        words = "padding is not left out: a mask or the rows' lengths are ignored or wrong"
        if empty:
            words = "rows without any step are computed in another way"
        told = f"all {len(bad)} failing cases have padding; {len(full)} without any pass"
        yield Guess("empty rows" if empty else "mask ignored", words, told, False)
    for axis, number in job.example.items():
        sizes = [(c.batch if axis == BATCH else c.lengths.get(axis, 0)) for c in bad]
        others = [(c.batch if axis == BATCH else c.lengths.get(axis, 0)) for c in fine]
        what = "baked batch" if axis == BATCH else "baked length"
        if number not in sizes and set(others) == {number}:
            words = f"{axis}={number}, the size of the example it was exported with, is baked in"
            told = f"it passes at {axis}={number} alone, in {len(others)} cases; {len(bad)} fail"
            yield Guess(what, words, told, True)
    stages = {r.stage for r in first if r.status is not Status.PASS}
    if stages == {Stage.RUN} and any(c.batch == 1 for c in fine) and min(c.batch for c in bad) > 1:
        words = "the graph holds a batch of 1"
        yield Guess("baked batch", words, f"all {len(bad)} failing cases have more rows", False)


def _transplanted(known: Diagnosis, probe: Probe, net: Net, good: Net | None) -> Iterator[Guess]:
    """The node at fault with the good graph's attributes and constants in the place of its own."""
    blame = known.blame
    if blame is None or good is None or not blame.counterpart or not blame.differences:
        return
    named = [
        (name, told)
        for words, name in PATTERNS.items()
        for told in blame.differences
        if re.search(words, told)
    ]
    number = next(i for i in range(len(good.nodes)) if good.label(i) == blame.counterpart)
    repaired = _grafted(net, blame.node, good, number)
    whole = _meets(repaired, known, probe)
    for pattern, told in named[:1]:
        rests = f"the good graph's {blame.counterpart} is otherwise"
        if whole:
            rests += f"; with its attributes and constants the golden is met at {whole} cases"
        yield Guess(pattern, f"{blame.label}: {told}", rests, bool(whole))


def mended(known: Diagnosis, probe: Probe, net: Net) -> tuple[Mistake, int] | None:
    """A known mistake that is undone, and at how many failing cases the golden is met then."""
    for mistake in mistakes.every(net.model, _recurrent(known, net)):
        if count := _meets(mistake.model, known, probe):
            return mistake, count
    return None


def _mended(known: Diagnosis, probe: Probe, net: Net) -> Iterator[Guess]:
    if found := mended(known, probe, net):
        mistake, count = found
        rests = f"with that undone the golden is met at {count} failing cases"
        yield Guess(mistake.pattern, mistake.words, rests, True)


def _imitated(known: Diagnosis, probe: Probe, net: Net) -> Iterator[Guess]:
    """A known mistake made on purpose, after which the graph gives what the runtime gives."""
    for mistake in mistakes.every(net.model):
        count = 0
        for case in _confirming(known):
            actual, held = _actual(case, probe), _evaluated(mistake.model, case, probe)
            if actual is None or held is None or probe.departing(case, actual, held):
                count = 0
                break
            count += 1
        if count:
            rests = f"a graph with that mistake gives, in float64, the same at {count} cases"
            yield Guess(mistake.pattern, f"the runtime computes so: {mistake.words}", rests, True)
            return


def _stored(net: Net) -> Iterator[Guess]:
    """Weights that hold nothing finer than a narrow type does."""
    held = [v for v in net.constants.values() if v.dtype == np.float32 and v.size > 16]
    for name, rounded in narrowing.NARROW.items():
        if held and all(np.array_equal(rounded(value), value) for value in held):
            told = f"all {len(held)} tensors of weights hold {name} values alone"
            yield Guess("reduced precision", f"the weights were rounded to {name}", told, True)
            return


def _recurrent(known: Diagnosis, net: Net) -> list[str]:
    """The node at fault by its first output, where it is a recurrent one."""
    blame = known.blame
    if blame is None or not blame.certain or not is_recurrent(net.nodes[blame.node]):
        return []
    return [net.nodes[blame.node].output[0]]


def _confirming(known: Diagnosis) -> list[Case]:
    assert known.shortest is not None
    more = [c for c in known.failing if c.longest <= SHORT]
    more.sort(key=size, reverse=True)
    chosen = {c.id: c for c in [known.shortest.case, *more[: CONFIRMING - 1]]}
    return list(chosen.values())


def _meets(model: onnx.ModelProto, known: Diagnosis, probe: Probe) -> int:
    """At how many failing cases a graph meets the golden; 0 where it does not at one."""
    cases = _confirming(known)
    for case in cases:
        held = _evaluated(model, case, probe)
        if held is None or probe.departing(case, held):
            return 0
    return len(cases)


def _evaluated(model: onnx.ModelProto, case: Case, probe: Probe) -> Arrays | None:
    """The outputs of a graph in float64; None where it does not run."""
    try:
        net = Net(model)
        held, failed = Exact(net).all(probe.golden(case).inputs)
    except Exception:
        return None
    return None if failed else {name: held[name] for name in net.outputs}


def _actual(case: Case, probe: Probe) -> Arrays | None:
    try:
        return dict(probe.session.run(probe.golden(case).inputs))
    except Exception:
        return None


def _grafted(net: Net, number: int, good: Net, other: int) -> onnx.ModelProto:
    """A copy in which a node has the operator, attributes and constants of its counterpart."""
    model = deepcopy(net.model)
    node, source = model.graph.node[number], good.nodes[other]
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
