"""The record phase: train a twin, check it against the oracle, write its golden."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from harness.core.environment import made_with
from harness.core.errors import GoldenError
from harness.core.schema import Arrays, Case, ModelSpec, Progress, lengths_text
from harness.core.tolerance import one_ulp
from harness.frameworks import twin_adapter
from harness.goldens import store
from harness.goldens.formulas import Formula, evaluate
from harness.goldens.manifest import sha256
from harness.goldens.noise_floor import DRAWS, MEANINGFUL, nearby
from reference_models import cases, catalog

FLOAT64_AGREEMENT = 1e-12
HELD_OUT_SEED = 1_000_003
HELD_OUT_BATCHES = 20


@dataclass(frozen=True)
class TrainedTwin:
    """A trained twin and everything that recording it needs."""

    spec: ModelSpec
    framework: str
    parameters: Arrays
    adapter: ModuleType
    twin: ModuleType
    progress: Progress

    @property
    def name(self) -> str:
        return f"{self.spec.name}/{self.framework}"

    def oracle(self, parameters: Arrays, inputs: Arrays) -> Arrays:
        padded = self.spec.padded_steps.get(self.framework, "repeat")
        outputs: Arrays = catalog.part(self.spec, "oracle").run(
            self.spec.name, parameters, inputs, padded
        )
        return outputs


def record(
    spec: ModelSpec,
    framework: str,
    root: Path,
    seed: int,
    train: bool,
    progress: Progress,
    only_new: bool = False,
) -> Mapping[str, float]:
    """Write the golden of one twin; returns the score and the largest errors, for people.

    Trains the model if it owns its weights and ``train`` is set, else takes the weights from its
    owner's golden. Noise that the golden there holds for the same outputs counts too; with
    ``only_new``, the float32 model is not run again for those. GoldenError where the model did not
    learn, disagrees with the oracle, or is so sensitive to rounding that a comparison would mean
    nothing; then nothing is written.
    """
    adapter = twin_adapter(framework)
    twin = catalog.part(spec, f"{framework}_twin")
    owner = root / spec.weights / framework
    if spec.weights == spec.name and train:
        parameters, training = _train(spec, framework, adapter, twin, seed, progress)
    else:
        kept = store.read(owner)
        parameters, training = kept.parameters(), kept.manifest["training"]
        seed = kept.manifest["seed"]
    subject = TrainedTwin(spec, framework, parameters, adapter, twin, progress)
    drawn = [_draw(subject, case) for case in cases.plan(spec)]
    expected, worst = _expected(subject, drawn)
    recorded = [_recorded(subject, *pair) for pair in zip(drawn, expected, strict=True)]
    earlier, runs = _earlier(root / spec.name / framework, recorded)
    again = [n for n, known in enumerate(earlier) if not (only_new and known)]
    noise = _noise(subject, [drawn[n] for n in again], [expected[n] for n in again], runs)
    for number, errors in zip(again, noise, strict=True):
        known = earlier[number]
        earlier[number] = {name: max(e, known.get(name, 0.0)) for name, e in errors.items()}
    recorded = [replace(one, noise=n) for one, n in zip(recorded, earlier, strict=True)]
    for one, outputs in zip(recorded, expected, strict=True):
        _refuse_meaningless(subject, one, outputs)
    about = {
        "model": spec.name,
        "framework": framework,
        "seed": seed,
        "training": training,
        "float64_relative_difference": worst,
        "float32_runs": DRAWS * (not only_new or not runs) + runs,
        "environment": made_with(framework),
        "command": f"python -m harness.record {spec.name} --framework {framework}",
    }
    weights = parameters if spec.weights == spec.name else owner
    store.write(root / spec.name / framework, spec, weights, recorded, about)
    largest = max(max(errors.values()) for errors in earlier)
    return {"score": training["score"], "float64": worst, "noise": largest}


def measured(subject: TrainedTwin, drawn: Sequence[Drawn]) -> list[store.RecordedCase]:
    """Any cases with the oracle's outputs and their noise, as ``record`` would store them."""
    expected, _ = _expected(subject, drawn)
    noise = _noise(subject, drawn, expected)
    recorded = []
    for one, outputs, errors in zip(drawn, expected, noise, strict=True):
        recorded.append(replace(_recorded(subject, one, outputs), noise=errors))
        _refuse_meaningless(subject, recorded[-1], outputs)
    return recorded


def check(folder: Path) -> float:
    """Derive every output of a golden anew from its stored weights, in float64 NumPy alone.

    Returns the largest difference, relative to the largest value of its output.
    """
    stored = store.read(folder)
    spec = stored.spec
    parameters = stored.parameters()
    oracle = catalog.part(spec, "oracle")
    padded = spec.padded_steps.get(stored.framework, "repeat")
    worst = 0.0
    for case in stored.cases:
        loaded = stored.load(case)
        derived = oracle.run(spec.name, parameters, loaded.inputs, padded)
        kept = {t.name: t.at_steps(derived[t.name], loaded.steps) for t in spec.outputs}
        worst = max(worst, _disagreement(kept, loaded.outputs))
    return worst


def _train(
    spec: ModelSpec,
    framework: str,
    adapter: ModuleType,
    twin: ModuleType,
    seed: int,
    progress: Progress,
) -> tuple[Arrays, dict[str, Any]]:
    task = catalog.part(spec, "data").TASK

    def report(step: int, loss: float) -> None:
        if step % 10 == 0 or step == task.steps:
            progress(f"{spec.name}/{framework}: step {step}/{task.steps}, loss {loss:.4g}")

    model = adapter.fit(twin, spec, task, seed, report)
    rng = np.random.default_rng(HELD_OUT_SEED)
    total = count = 0.0
    for _ in range(HELD_OUT_BATCHES):
        batch = task.batch(rng)
        score, number = task.score(adapter.run(model, spec, batch.inputs)[task.output], batch)
        total, count = total + score, count + number
    score = total / count
    if not task.learnt(score) >= task.threshold:
        raise GoldenError(
            f"{spec.name}/{framework} did not learn: {task.unit} {score:.4g} on held-out data is"
            f" {task.learnt(score):.0%} of the way from chance ({task.chance:.4g}) to the best"
            f" possible ({task.best:.4g}), at least {task.threshold:.0%} expected"
        )
    training = {
        "score": score,
        "unit": task.unit,
        "chance": task.chance,
        "best": task.best,
        "learnt": task.learnt(score),
        "threshold": task.threshold,
        "steps": task.steps,
    }
    return adapter.parameters(model), training


@dataclass(frozen=True)
class Drawn:
    """A case with its inputs and the formulas they come from."""

    case: Case
    seed: int
    formulas: Mapping[str, Formula]
    inputs: Arrays


def _draw(subject: TrainedTwin, case: Case) -> Drawn:
    text = f"{subject.name}/{case.id}"
    seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
    formulas = cases.formulas(subject.spec, case, seed)
    inputs = {
        t.name: evaluate(formulas[t.name], t.shape(case.batch, case.lengths), t.dtype)
        for t in subject.spec.inputs
    }
    return Drawn(case, seed, formulas, inputs)


def _expected(subject: TrainedTwin, drawn: Sequence[Drawn]) -> tuple[list[Arrays], float]:
    """The oracle's outputs of every case, and its largest difference from the float64 twin."""
    model = subject.adapter.build(subject.twin, subject.spec, subject.parameters, "float64")
    expected, worst = [], 0.0
    for number, one in enumerate(drawn):
        outputs = subject.oracle(subject.parameters, one.inputs)
        difference = _disagreement(outputs, subject.adapter.run(model, subject.spec, one.inputs))
        if difference > FLOAT64_AGREEMENT:
            raise GoldenError(
                f"{subject.name} at {lengths_text(one.case.lengths)}: the oracle and the float64"
                f" twin differ by {difference:.2g} relative, at most {FLOAT64_AGREEMENT:.0e}"
                " expected"
            )
        worst = max(worst, difference)
        expected.append(outputs)
        subject.progress(f"{subject.name}: float64, case {number + 1}/{len(drawn)}")
    return expected, worst


def _noise(
    subject: TrainedTwin, drawn: Sequence[Drawn], expected: Sequence[Arrays], first: int = 0
) -> list[dict[str, float]]:
    """The float32 twin's largest absolute error of every output of every case.

    One run's largest error is a matter of luck, so there are ``DRAWS``, numbered from ``first``: in
    all but number 0 the parameters are moved by up to ``NEARBY`` of their size, the oracle's too,
    which leaves the mathematics nearly what it was and draws the rounding anew.
    """
    noise = [dict.fromkeys(outputs, 0.0) for outputs in expected]
    model = subject.adapter.build(subject.twin, subject.spec, None)
    for draw in range(first, first + DRAWS):
        near = nearby(subject.parameters, draw)
        subject.adapter.load(model, near)
        for errors, one in zip(noise, drawn, strict=True):
            exact = subject.oracle(near, one.inputs)
            for name, value in subject.adapter.run(model, subject.spec, one.inputs).items():
                error = float(np.abs(value.astype(np.float64) - exact[name]).max(initial=0.0))
                errors[name] = max(errors[name], error)
        subject.progress(f"{subject.name}: float32, run {draw + 1 - first}/{DRAWS}")
    return noise


def _earlier(
    folder: Path, recorded: Sequence[store.RecordedCase]
) -> tuple[list[dict[str, float]], int]:
    """The noise that the golden in ``folder`` holds for each case, and of how many runs it is.

    Only a case whose outputs are the same to the bit counts: its float32 runs, perhaps on another
    machine, were of the same computation. A case that is not there has none.
    """
    try:
        stored = store.read(folder)
    except GoldenError:
        return [{} for _ in recorded], 0
    known = stored.noise()
    found: list[dict[str, float]] = []
    for one in recorded:
        keys = {name: (one.case.id, sha256(value)) for name, value in one.outputs.items()}
        complete = all(key in known for key in keys.values())
        found.append({name: known[key] for name, key in keys.items()} if complete else {})
    return found, int(stored.manifest["float32_runs"]) if any(found) else 0


def _recorded(subject: TrainedTwin, one: Drawn, expected: Arrays) -> store.RecordedCase:
    """What the store keeps of a case, its noise not yet known."""
    steps = cases.kept_steps(cases.steps_told(subject.spec, one.case), one.seed)
    outputs = {t.name: t.at_steps(expected[t.name], steps) for t in subject.spec.outputs}
    return store.RecordedCase(one.case, one.formulas, one.inputs, outputs, steps, {})


def _refuse_meaningless(
    subject: TrainedTwin, recorded: store.RecordedCase, expected: Arrays
) -> None:
    """GoldenError where rounding makes a comparison meaningless."""
    for output, value in expected.items():
        scale = float(np.abs(value).max(initial=0.0))
        noise = recorded.noise[output]
        if not noise <= MEANINGFUL * max(scale, one_ulp(scale)):
            raise GoldenError(
                f"{subject.name} at {lengths_text(recorded.case.lengths)}: rounding alone moves"
                f" {output} by {noise:.2g} of {scale:.2g}; a comparison would mean nothing"
            )


def _disagreement(expected: Arrays, actual: Arrays) -> float:
    """The largest difference of any output, relative to that output's largest value."""
    return max(
        float(np.abs(actual[name] - value).max(initial=0.0))
        / max(float(np.abs(value).max(initial=0.0)), float(np.finfo(np.float64).tiny))
        for name, value in expected.items()
    )
