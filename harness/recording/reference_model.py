"""The record phase: train a twin, check it against the oracle, write its golden."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from harness.core.bands import Bands
from harness.core.bands import measured as measured_bands
from harness.core.environment import made_with
from harness.core.errors import GoldenError
from harness.core.schema import Array, Arrays, Case, ModelSpec, Progress, lengths_text
from harness.frameworks import twin_adapter
from harness.goldens import store
from harness.goldens.formulas import Formula
from harness.goldens.manifest import sha256
from harness.goldens.noise_floor import DRAWS, drowns, nearby
from harness.recording.magnitudes import Errors, earlier, of_rare, rare
from reference_models import cases, catalog

FLOAT64_AGREEMENT = 1e-12
HELD_OUT_SEED = 1_000_003
HELD_OUT_BATCHES = 20


@dataclass(frozen=True)
class TrainedTwin:
    """A trained twin and what recording it needs."""

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
        outputs: Arrays = catalog.run_oracle(self.spec, self.framework, parameters, inputs)
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
    """Write the golden of one twin; return its score and its largest errors, to be printed.

    The model is trained if it owns its weights and ``train`` is set; else its weights are those of
    its owner's golden. The noise that the previous golden has for the same outputs counts too; with
    ``only_new``, its cases stay as they are, to the bit, where its weights and their inputs do, and
    only others are run, or those whose errors by magnitude it lacks. GoldenError, with nothing
    written, where the model did not learn, disagrees with the oracle, or is so sensitive to
    rounding that a comparison would mean nothing.
    """
    adapter = twin_adapter(framework)
    twin = catalog.part(spec, f"{framework}_twin")
    owner = root / spec.weights / framework
    if spec.weights == spec.name and train:
        parameters, training = _train(spec, framework, adapter, twin, seed, progress)
    else:
        source = store.read(owner)
        parameters, training = source.parameters(), source.manifest["training"]
        seed = source.manifest["seed"]
    subject = TrainedTwin(spec, framework, parameters, adapter, twin, progress)
    drawn = [_draw(subject, case) for case in cases.plan(spec)]
    folder = root / spec.name / framework
    kept, stored = _kept(subject, folder, drawn) if only_new else ({}, {})
    runs = int(stored.get("float32_runs", DRAWS))
    needed = rare([*kept.values()])
    again = [d for d in drawn if d.case.id in kept and needed - kept[d.case.id].bands.keys()]
    if again:
        found = _noise(subject, again, range(runs, runs + DRAWS))
        runs += DRAWS
        for entry, errors in zip(again, found, strict=True):
            case = kept[entry.case.id]
            errors.add(Errors(dict(case.noise)))
            kept[entry.case.id] = errors.of(case)
    run = [entry for entry in drawn if entry.case.id not in kept]
    expected, worst = _expected(subject, run)
    recorded = [_recorded(subject, *pair) for pair in zip(run, expected, strict=True)]
    before, first = ([], 0) if only_new else earlier(folder, recorded)
    noise = _noise(subject, run, range(first, first + runs))
    for errors, others in zip(noise, before, strict=False):
        errors.add(others)
    recorded = [errors.of(case) for case, errors in zip(recorded, noise, strict=True)]
    for case, outputs in zip(recorded, expected, strict=True):
        _refuse_meaningless(subject, case, outputs)
    by_id = kept | {case.case.id: case for case in recorded}
    every = of_rare([by_id[entry.case.id] for entry in drawn])
    worst = max(worst, stored.get("float64_relative_difference", 0.0))
    about = {
        "model": spec.name,
        "framework": framework,
        "seed": seed,
        "training": training,
        "float64_relative_difference": worst,
        "float32_runs": first + runs,
        "environment": made_with(framework),
        "command": f"python -m harness.record {spec.name} --framework {framework}",
    }
    weights = parameters if spec.weights == spec.name else owner
    store.write(folder, spec, weights, every, about, pack=True)
    largest = max(max(case.noise.values()) for case in every)
    return {"score": training["score"], "float64": worst, "noise": largest}


def measured(subject: TrainedTwin, drawn: Sequence[Drawn]) -> list[store.RecordedCase]:
    """Return any cases with the oracle's outputs and their noise, as ``record`` stores them."""
    expected, _ = _expected(subject, drawn)
    noise = _noise(subject, drawn, range(DRAWS))
    recorded = []
    for case, outputs, errors in zip(drawn, expected, noise, strict=True):
        recorded.append(errors.of(_recorded(subject, case, outputs)))
        _refuse_meaningless(subject, recorded[-1], outputs)
    return of_rare(recorded)


def check(folder: Path) -> float:
    """Compute every output of a golden again from its stored weights, in float64 NumPy alone.

    Return the largest difference, relative to the largest value of its output.
    """
    stored = store.read(folder)
    catalog.check_spec(stored.spec, folder)
    spec, parameters = stored.spec, stored.parameters()
    worst = 0.0
    for case in stored.cases:
        loaded = stored.load(case)
        outputs = catalog.run_oracle(spec, stored.framework, parameters, loaded.inputs)
        at_steps = {t.name: t.at_steps(outputs[t.name], loaded.steps) for t in spec.outputs}
        worst = max(worst, _disagreement(at_steps, loaded.outputs))
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
    """A case with its inputs and their formulas."""

    case: Case
    seed: int
    formulas: Mapping[str, Formula]
    inputs: Arrays


def _draw(subject: TrainedTwin, case: Case) -> Drawn:
    seed = cases.seed_of(f"{subject.name}/{case.id}")
    return Drawn(case, seed, *cases.drawn(subject.spec, case, seed))


def _expected(subject: TrainedTwin, drawn: Sequence[Drawn]) -> tuple[list[Arrays], float]:
    """Return the oracle's outputs of every case, and the largest difference of the float64 twin."""
    model = subject.adapter.build(subject.twin, subject.spec, subject.parameters, "float64")
    expected, worst = [], 0.0
    for number, entry in enumerate(drawn):
        outputs = subject.oracle(subject.parameters, entry.inputs)
        difference = _disagreement(outputs, subject.adapter.run(model, subject.spec, entry.inputs))
        if difference > FLOAT64_AGREEMENT:
            raise GoldenError(
                f"{subject.name} at {lengths_text(entry.case.lengths)}: the oracle and the float64"
                f" twin differ by {difference:.2g} relative, at most {FLOAT64_AGREEMENT:.0e}"
                " expected"
            )
        worst = max(worst, difference)
        expected.append(outputs)
        subject.progress(f"{subject.name}: float64, case {number + 1}/{len(drawn)}")
    return expected, worst


def _noise(subject: TrainedTwin, drawn: Sequence[Drawn], draws: range) -> list[Errors]:
    """Return the float32 twin's errors of every output of every case.

    There are several runs, by the numbers of ``draws``, since the largest error of a single one is
    chance. In all but number 0 the parameters, also the oracle's, are moved by up to ``NEARBY`` of
    their size, which changes the rounding errors but hardly the mathematics.
    """
    noise = [Errors({}) for _ in drawn]
    if not drawn:
        return []
    model = subject.adapter.build(subject.twin, subject.spec, None)
    for done, draw in enumerate(draws):
        near = nearby(subject.parameters, draw)
        subject.adapter.load(model, near)
        for errors, case in zip(noise, drawn, strict=True):
            exact = subject.oracle(near, case.inputs)
            for name, value in subject.adapter.run(model, subject.spec, case.inputs).items():
                error = np.abs(value.astype(np.float64) - exact[name])
                by_band: dict[str, Bands] = {name: measured_bands(exact[name], error)}
                errors.add(Errors({name: float(error.max(initial=0.0))}, by_band))
        subject.progress(f"{subject.name}: float32, run {done + 1}/{len(draws)}")
    return noise


def _kept(
    subject: TrainedTwin, folder: Path, drawn: Sequence[Drawn]
) -> tuple[dict[str, store.RecordedCase], Mapping[str, Any]]:
    """Return the cases that the golden in ``folder`` has, by id, and its manifest.

    There is nothing where it has other weights or another specification, and none of a case whose
    inputs have other formulas.
    """
    try:
        stored = store.read(folder)
    except GoldenError:
        return {}, {}
    hashes = {name: sha256(value) for name, value in subject.parameters.items()}
    if stored.spec != subject.spec or stored.manifest["weights"]["tensors"] != hashes:
        return {}, {}
    entries = {case.id: entry for case, entry in stored.entries()}
    kept = {}
    for new in drawn:
        entry = entries.get(new.case.id, {"inputs": {}, "outputs": {}})
        formulas = {name: about["formula"] for name, about in entry["inputs"].items()}
        if formulas == new.formulas:
            case = stored.load(new.case)
            noise = {name: float(about["noise"]) for name, about in entry["outputs"].items()}
            kept[new.case.id] = store.RecordedCase(
                *(new.case, new.formulas, case.inputs, case.outputs, case.steps, noise),
                bands=store.bands(entry),
            )
    return kept, stored.manifest


def _recorded(subject: TrainedTwin, drawn: Drawn, expected: Arrays) -> store.RecordedCase:
    """Return a case for the store, without its noise."""
    steps = cases.kept_steps(cases.output_steps(subject.spec, drawn.case), drawn.seed)
    outputs = {t.name: t.at_steps(expected[t.name], steps) for t in subject.spec.outputs}
    return store.RecordedCase(drawn.case, drawn.formulas, drawn.inputs, outputs, steps, {})


def _refuse_meaningless(
    subject: TrainedTwin, recorded: store.RecordedCase, expected: Arrays
) -> None:
    """Raise GoldenError where rounding makes a comparison meaningless."""
    for output, value in expected.items():
        scale = float(np.abs(value).max(initial=0.0))
        noise = recorded.noise[output]
        if drowns(noise, scale):
            raise GoldenError(
                f"{subject.name} at {lengths_text(recorded.case.lengths)}: rounding alone moves"
                f" {output} by {noise:.2g} of {scale:.2g}; a comparison would mean nothing"
            )


def _disagreement(expected: Arrays, actual: Arrays) -> float:
    """Return the largest difference of any output, relative to that output's largest value."""
    return max(_relative(actual[name], value) for name, value in expected.items())


def _relative(actual: Array, expected: Array) -> float:
    """Return the largest difference relative to the largest value; infinity for another shape.

    So it is where one is not finite, which no output of a reference model is.
    """
    if actual.shape != expected.shape or not np.isfinite([actual, expected]).all():
        return float("inf")
    scale = max(float(np.abs(expected).max(initial=0.0)), float(np.finfo(np.float64).tiny))
    return float(np.abs(actual - expected).max(initial=0.0)) / scale
