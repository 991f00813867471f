"""The record phase: train a twin, check it against the oracle, write its golden."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Mapping
from importlib import import_module, metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from harness import golden
from harness.errors import GoldenError
from harness.formula import evaluate
from harness.frameworks import FRAMEWORKS
from harness.schema import Array, Arrays, Case, ModelSpec, Progress, lengths_text
from harness.tolerance import one_ulp
from reference_models import cases, catalog

FLOAT64_AGREEMENT = 1e-12
MEANINGFUL = 1e-3
DRAWS = 8
NEARBY = 2.0**-18
HELD_OUT_SEED = 1_000_003
HELD_OUT_BATCHES = 20
VERSIONS = {"keras": ("keras", "tensorflow-cpu", "tensorflow"), "torch": ("torch",)}


def record(
    spec: ModelSpec, framework: str, root: Path, seed: int, train: bool, progress: Progress
) -> Mapping[str, float]:
    """Write the golden of one twin; returns the score and the largest errors, for people.

    Trains the model if it owns its weights and ``train`` is set, else takes the weights from its
    owner's golden. GoldenError where the model did not learn, disagrees with the oracle, or is so
    sensitive to rounding that a comparison would mean nothing; then nothing is written.
    """
    adapter = import_module(FRAMEWORKS[framework])
    twin = catalog.part(spec, f"{framework}_twin")
    owner = root / spec.weights / framework
    if spec.weights == spec.name and train:
        parameters, training = _train(spec, framework, adapter, twin, seed, progress)
    else:
        kept = golden.read(owner)
        parameters, training, seed = (
            kept.parameters(),
            kept.manifest["training"],
            kept.manifest["seed"],
        )
    oracle = catalog.part(spec, "oracle")
    padded = spec.padded_steps.get(framework, "repeat")
    planned = cases.plan(spec)
    formulas = [cases.formulas(spec, case, _seed(spec, framework, case)) for case in planned]
    inputs = [
        {
            t.name: evaluate(formula[t.name], t.shape(case.batch, case.lengths), t.dtype)
            for t in spec.inputs
        }
        for case, formula in zip(planned, formulas, strict=True)
    ]
    model = adapter.build(twin, spec, parameters, "float64")
    expected, worst = [], 0.0
    for number, case in enumerate(planned):
        expected.append(oracle.run(spec.name, parameters, inputs[number], padded))
        relative = _disagreement(expected[-1], adapter.run(model, spec, inputs[number]))
        worst = max(worst, relative)
        if relative > FLOAT64_AGREEMENT:
            raise GoldenError(
                f"{spec.name}/{framework} at {lengths_text(case.lengths)}: the oracle and the"
                f" float64 twin differ by {relative:.2g} relative, at most"
                f" {FLOAT64_AGREEMENT:.0e} expected"
            )
        progress(f"{spec.name}/{framework}: float64, case {number + 1}/{len(planned)}")
    noise = [dict.fromkeys(outputs, 0.0) for outputs in expected]
    model = adapter.build(twin, spec, parameters)
    for draw in range(DRAWS):
        near = _nearby(parameters, draw)
        adapter.load(model, near)
        for number in range(len(planned)):
            exact = oracle.run(spec.name, near, inputs[number], padded)
            for name, value in adapter.run(model, spec, inputs[number]).items():
                error = float(np.abs(value.astype(np.float64) - exact[name]).max(initial=0.0))
                noise[number][name] = max(noise[number][name], error)
            progress(f"{spec.name}/{framework}: float32 run {draw + 1}/{DRAWS}, case {number + 1}")
    recorded = []
    for number, case in enumerate(planned):
        _meaningful(f"{spec.name}/{framework}", case, expected[number], noise[number])
        steps = cases.kept_steps(max(case.lengths.values()), _seed(spec, framework, case))
        outputs = {
            t.name: _kept(expected[number][t.name], t.step_axis, steps) for t in spec.outputs
        }
        recorded.append(
            golden.RecordedCase(
                case, formulas[number], inputs[number], outputs, steps, noise[number]
            )
        )
    golden.write(
        root / spec.name / framework,
        spec,
        parameters if spec.weights == spec.name else owner,
        recorded,
        {
            "model": spec.name,
            "framework": framework,
            "seed": seed,
            "training": training,
            "float64_relative_difference": worst,
            "environment": environment(framework),
            "command": f"python -m harness.record {spec.name} --framework {framework}",
        },
    )
    largest = max(max(errors.values()) for errors in noise)
    return {"score": training["score"], "float64": worst, "noise": largest}


def check(folder: Path) -> float:
    """Derive every output of a golden anew from its stored weights, in float64 NumPy alone.

    Returns the largest difference, relative to the largest value of its output.
    """
    stored = golden.read(folder)
    spec = stored.spec
    parameters = stored.parameters()
    oracle = catalog.part(spec, "oracle")
    padded = spec.padded_steps.get(stored.framework, "repeat")
    worst = 0.0
    for case in stored.cases:
        loaded = stored.load(case)
        derived = oracle.run(spec.name, parameters, loaded.inputs, padded)
        kept = {t.name: _kept(derived[t.name], t.step_axis, loaded.steps) for t in spec.outputs}
        worst = max(worst, _disagreement(kept, loaded.outputs))
    return worst


def environment(framework: str) -> dict[str, str]:
    """The versions and the platform that a golden was made with."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    found["machine"] = platform.machine()
    for name in ("numpy", *VERSIONS.get(framework, ())):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


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


def _nearby(parameters: Arrays, draw: int) -> Arrays:
    """The parameters, or (from draw 1 on) others so near that only the rounding differs."""
    if draw == 0:
        return parameters
    rng = np.random.default_rng(draw)
    return {
        name: (value * (1 + rng.uniform(-NEARBY, NEARBY, value.shape))).astype(value.dtype)
        for name, value in parameters.items()
    }


def _meaningful(name: str, case: Case, expected: Arrays, noise: Mapping[str, float]) -> None:
    """GoldenError where rounding alone moves an output so far that a comparison says nothing."""
    for output, value in expected.items():
        scale = float(np.abs(value).max(initial=0.0))
        if not noise[output] <= MEANINGFUL * max(scale, one_ulp(scale)):
            raise GoldenError(
                f"{name} at {lengths_text(case.lengths)}: rounding alone moves {output} by"
                f" {noise[output]:.2g} of {scale:.2g}; a comparison would mean nothing"
            )


def _disagreement(expected: Arrays, actual: Arrays) -> float:
    """The largest difference of any output, relative to that output's largest value."""
    return max(
        float(np.abs(actual[name] - value).max(initial=0.0))
        / max(float(np.abs(value).max(initial=0.0)), float(np.finfo(np.float64).tiny))
        for name, value in expected.items()
    )


def _kept(value: Array, axis: int | None, steps: Array | None) -> Array:
    return value if axis is None or steps is None else value.take(steps, axis=axis)


def _seed(spec: ModelSpec, framework: str, case: Case) -> int:
    text = f"{spec.name}/{framework}/{case.id}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4])
