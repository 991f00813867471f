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
    single = adapter.build(twin, spec, parameters)
    double = adapter.build(twin, spec, parameters, "float64")
    recorded, worst = [], 0.0
    planned = cases.plan(spec)
    for number, case in enumerate(planned):
        case_seed = _seed(spec, framework, case)
        formulas = cases.formulas(spec, case, case_seed)
        inputs = {
            t.name: evaluate(formulas[t.name], t.shape(case.batch, case.lengths), t.dtype)
            for t in spec.inputs
        }
        expected = oracle.run(spec.name, parameters, inputs, padded)
        relative = _disagreement(expected, adapter.run(double, spec, inputs))
        worst = max(worst, relative)
        if relative > FLOAT64_AGREEMENT:
            raise GoldenError(
                f"{spec.name}/{framework} at {lengths_text(case.lengths)}: the oracle and the"
                f" float64 twin differ by {relative:.2g} relative, at most"
                f" {FLOAT64_AGREEMENT:.0e} expected"
            )
        noise = _noise(spec, framework, case, expected, adapter.run(single, spec, inputs))
        steps = cases.kept_steps(max(case.lengths.values()), case_seed)
        outputs = {t.name: _kept(expected[t.name], t.step_axis, steps) for t in spec.outputs}
        recorded.append(golden.RecordedCase(case, formulas, inputs, outputs, steps, noise))
        progress(f"{spec.name}/{framework}: case {number + 1}/{len(planned)}")
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
    noise_ratio = max(max(r.noise.values()) for r in recorded)
    return {"score": training["score"], "float64": worst, "noise": noise_ratio}


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


def _noise(
    spec: ModelSpec, framework: str, case: Case, expected: Arrays, single: Arrays
) -> dict[str, float]:
    """The float32 twin's largest absolute error of each output; refused where it says nothing."""
    noise = {}
    for name, value in expected.items():
        noise[name] = float(np.abs(single[name].astype(np.float64) - value).max(initial=0.0))
        scale = float(np.abs(value).max(initial=0.0))
        if not noise[name] <= MEANINGFUL * max(scale, one_ulp(scale)):
            raise GoldenError(
                f"{spec.name}/{framework} at {lengths_text(case.lengths)}: rounding alone moves"
                f" {name} by {noise[name]:.2g} of {scale:.2g}; a comparison would mean nothing"
            )
    return noise


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
