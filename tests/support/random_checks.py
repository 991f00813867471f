"""A net and its export on the same calls: the values, and what must hold without any other."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from harness.core.registry import resolve
from harness.core.schema import (
    BATCH,
    Array,
    Arrays,
    Case,
    GoldenCase,
    ModelSpec,
    Raggedness,
    Session,
)
from harness.core.tolerance import one_ulp
from harness.placing.verdict import CPU_PROVIDER
from harness.relations import RELATIONS as REGISTERED
from harness.relations.context import Context
from harness.runtimes.ort import OrtRuntime
from tests.support.random_nets import Run

K = 8.0
COPIES = 4
MOVE = 2.0**-18
LONGER = 3
VOCABULARY = 11
UNIT = 0.5
"""The Sigmoid of ONNX Runtime, and the Tanh of its RNN, are as far off at small values as here."""
RUNTIME = OrtRuntime(CPU_PROVIDER).configured(intra_op_threads=1)
RELATIONS = ("batch-rows", "pieces", "reversal", "fresh-session", "run-twice")
"""Those that need no word of padding; what it changes is looked at by ``Realised.lengthen``."""


@dataclass(frozen=True)
class Realised:
    """A description made real in one framework.

    ``single`` and ``double`` are the framework's own outputs in float32 and float64, in the
    specification's order. ``lengthen`` pads inputs by so many steps and says where an output
    without the padding holds [rows, steps]; it is None where padding has a meaning.
    """

    spec: ModelSpec
    export: Callable[[], onnx.ModelProto]
    draw: Callable[[np.random.Generator, Run], Arrays]
    single: Callable[[Arrays], list[Array]]
    double: Callable[[Arrays], list[Array]]
    lengthen: Callable[[Arrays, int], tuple[Arrays, Array]] | None


def check(net: Realised, runs: list[Run], seed: int) -> None:
    """Assert that the export computes what the net does, and that every relation holds of it.

    An output's tolerance is K times the framework's largest float32 error in all calls, or one
    ulp of the largest value, or of UNIT. To draw rounding more than once, the framework is given
    every row COPIES times, all but the first moved by up to MOVE of their values.
    """
    with tempfile.TemporaryDirectory(prefix="random_net_") as folder:
        model = Path(folder) / "model.onnx"
        onnx.save(net.export(), model)
        _check(net, runs, np.random.default_rng(seed), model)


def _check(net: Realised, runs: list[Run], rng: np.random.Generator, model: Path) -> None:
    session = RUNTIME.prepare(str(model))

    def run(inputs: Arrays) -> list[Array]:
        found = session.run(inputs)
        assert [name for name, _ in found] == [t.name for t in net.spec.outputs]
        return [value.copy() for _, value in found]

    given = [net.draw(rng, r) for r in runs]
    wide = [_copied(net.spec, inputs, rng) for inputs in given]
    double = [net.double(inputs) for inputs in wide]
    single = [net.single(inputs) for inputs in wide]
    tolerances = {}
    for index, tensor in enumerate(net.spec.outputs):
        near, exact = ([values[index] for values in call] for call in (single, double))
        assert all(np.isfinite(e).all() for e in exact), f"{tensor.name}: a net that overflows"
        floor = max(float(np.abs(a - b).max()) for a, b in zip(near, exact, strict=True))
        scale = max(float(np.abs(e).max()) for e in exact)
        tolerances[tensor.name] = K * max(floor, one_ulp(max(scale, UNIT)))
    for r, inputs, values in zip(runs, given, double, strict=True):
        wanted = [
            v.take(range(0, r.rows * COPIES, COPIES), axis=t.axes.index(BATCH))
            for t, v in zip(net.spec.outputs, values, strict=True)
        ]
        got = run(inputs)
        _compare(net.spec, got, wanted, tolerances, f"at {r}")
        if net.lengthen is not None:
            padded, valid = net.lengthen(inputs, LONGER)
            _check_padding(net.spec, run(padded), got, valid, tolerances, r)
    cases = {}
    for r, inputs in zip(runs, given, strict=True):
        case = Case({"sequence": r.steps}, r.rows, Raggedness(r.padding))
        cases[case.id] = GoldenCase(case, inputs, {}, None, {})
    _check_relations(net.spec, list(cases.values()), tolerances, model, session)


def _check_relations(
    spec: ModelSpec,
    cases: list[GoldenCase],
    tolerances: dict[str, float],
    model: Path,
    session: Session,
) -> None:
    """What ``harness.relations`` says of runs; a batch as long as its longest row has no rows."""
    longest = any("longest" in t.axes for t in spec.outputs)
    context = Context(
        spec, model, RUNTIME, session, cases, frozenset(), lambda *given: "", model.parent
    )
    for name in RELATIONS[1:] if longest else RELATIONS:
        check = resolve(REGISTERED[name])(context)
        for case in cases if callable(check) else ():
            for pair in check(case):
                how = f"by {name} {pair.how}, at {case.case}"
                two = [[way[t.name] for t in spec.outputs] for way in (pair.actual, pair.expected)]
                _compare(spec, *two, tolerances, how)
                if pair.exact:
                    assert [v.tobytes() for v in two[0]] == [v.tobytes() for v in two[1]], how


def embeddings(rng: np.random.Generator, features: int) -> Array:
    """A table [COPIES * VOCABULARY, features]: rows, and what stands for them when copied."""
    table = rng.normal(0, 1, (VOCABULARY, features))
    copies = [table, *(table * _near_one(rng, table.shape) for _ in range(COPIES - 1))]
    return np.concatenate(copies).astype(np.float32)


def drawn_weight(rng: np.random.Generator, shape: tuple[int, ...], fan_in: int, kind: str) -> Array:
    """Weights that keep values near 1 from layer to layer and let states fade.

    ``kind`` is kernel, recurrent, gain or bias.
    """
    scale = {"kernel": 2 / fan_in**0.5, "recurrent": 0.5 / fan_in**0.5}.get(kind, 0.3)
    return rng.normal(float(kind == "gain"), scale, shape).astype(np.float32)


def _copied(spec: ModelSpec, inputs: Arrays, rng: np.random.Generator) -> Arrays:
    """Every row COPIES times, side by side: as it is and moved; what is 0 stays 0."""
    wide = {}
    for tensor in spec.inputs:
        axis = tensor.axes.index(BATCH)
        value = inputs[tensor.name].repeat(COPIES, axis)
        copy = np.arange(value.shape[axis]).reshape([-1 if a == BATCH else 1 for a in tensor.axes])
        copy %= COPIES
        if tensor.name == "ids":
            value = np.where(value == 0, 0, value + VOCABULARY * copy).astype(value.dtype)
        elif value.dtype == np.float32:
            moved = value * _near_one(rng, value.shape)
            value = np.where(copy == 0, value, moved.astype(np.float32))
        wide[tensor.name] = value
    return wide


def _near_one(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return 1 + rng.uniform(-MOVE, MOVE, shape)


def _compare(
    spec: ModelSpec, got: list[Array], wanted: list[Array], tolerances: dict[str, float], what: str
) -> None:
    for tensor, value, other in zip(spec.outputs, got, wanted, strict=True):
        where = f"{tensor.name} {what}"
        assert value.shape == other.shape, f"{where}: {value.shape}, expected {other.shape}"
        assert value.dtype == tensor.dtype, f"{where}: {value.dtype}, expected {tensor.dtype}"
        error = float(np.abs(value - other).max(initial=0.0))
        allowed = tolerances[tensor.name]
        assert error <= allowed, f"{where}: {error:.2e} away, {allowed:.2e} allowed"


def _check_padding(
    spec: ModelSpec,
    padded: list[Array],
    before: list[Array],
    valid: Array,
    tolerances: dict[str, float],
    r: Run,
) -> None:
    pairs = []
    for tensor, longer, value in zip(spec.outputs, padded, before, strict=True):
        if set(tensor.axes) & {"sequence", "longest"}:
            steps = value.shape[1]
            longer, value = (v[:, :steps] * valid[:, :steps, None] for v in (longer, value))
        pairs.append((longer, value))
    _compare(spec, *map(list, zip(*pairs, strict=True)), tolerances, f"padded, at {r}")
