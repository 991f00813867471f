"""Goldens of the same weights with inputs drawn anew, and noise floors measured on those inputs.

Rounding moves some inputs a hundred times as far as others of the same length, so a floor measured
on recorded inputs says nothing of others. Under ``<root>/<draw's name>/<model>/<framework>/`` lies
what ``golden/`` holds, and ``python -m harness.validate --golden <root>/<draw's name>`` judges it.

``python -m ci.honest.fresh ROOT FRAMEWORK`` reads models and draws as JSON from standard input: a
process of its own for each framework, and nothing is measured twice.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.core.errors import GoldenError, one_line
from harness.core.registry import resolve
from harness.core.schema import Case, ModelSpec, Progress
from harness.frameworks import FRAMEWORKS
from harness.goldens import store
from harness.goldens.formulas import evaluate
from harness.recording import reference_model
from reference_models import cases, catalog

GOLDEN = Path("golden")


@dataclass(frozen=True)
class Draw:
    """Inputs of one seed at the lengths of a golden up to ``longest``, of ``batch`` if given."""

    seed: int
    longest: int
    batch: int | None = None

    @property
    def name(self) -> str:
        size = "" if self.batch is None else f"-batch{self.batch}"
        return f"seed{self.seed}-to{self.longest}{size}"

    def cases(self, spec: ModelSpec) -> list[Case]:
        short = (c for c in cases.plan(spec) if max(c.lengths.values()) <= self.longest)
        if self.batch is None:
            return list(short)
        changed = (Case(case.lengths, self.batch, case.raggedness) for case in short)
        return list({case.id: case for case in changed}.values())


def ensure(
    models: Sequence[str], draws: Iterable[Draw], root: Path, progress: Progress
) -> list[tuple[str, str]]:
    """Measure every draw of every twin that ``root`` does not hold yet.

    Returns the model and framework of each twin that could not be measured; why is on standard
    error.
    """
    wanted_draws = list(draws)
    missing = []
    for framework in FRAMEWORKS:
        names = [name for name in models if framework in catalog.load(name).frameworks]
        stale = [name for name in names if _stale(name, framework, wanted_draws, root)]
        if stale:
            progress(f"measuring the noise floors of fresh inputs: {framework}")
            subprocess.run(
                [sys.executable, "-m", "ci.honest.fresh", str(root), framework],
                input=json.dumps([stale, [asdict(draw) for draw in wanted_draws]]),
                text=True,
                check=True,
            )
        missing += [(n, framework) for n in stale if _stale(n, framework, wanted_draws, root)]
    return missing


def measure(model: str, framework: str, draws: Iterable[Draw], root: Path) -> None:
    """Write the goldens of one twin with the inputs of each draw, as recording measures them."""
    source = store.read(GOLDEN / model / framework)
    spec = source.spec
    subject = reference_model.TrainedTwin(
        spec,
        framework,
        source.parameters(),
        resolve(FRAMEWORKS[framework]),
        catalog.part(spec, f"{framework}_twin"),
        lambda text: None,
    )
    drawn = [(draw, drawn_case) for draw in draws for drawn_case in _drawn(spec, draw)]
    recorded = reference_model.measured(subject, [drawn_case for _, drawn_case in drawn])
    kept: dict[Draw, list[store.RecordedCase]] = {}
    for (draw, _), case in zip(drawn, recorded, strict=True):
        kept.setdefault(draw, []).append(case)
    about = {"model": model, "framework": framework, "of": source.manifest["sha256"]}
    for draw, of_draw in kept.items():
        folder = _folder(model, framework, draw, root)
        store.write(folder, spec, subject.parameters, of_draw, about)


def _drawn(spec: ModelSpec, draw: Draw) -> Iterator[reference_model.Drawn]:
    for number, case in enumerate(draw.cases(spec)):
        seed = draw.seed * 1000 + number
        formulas = cases.formulas(spec, case, seed)
        inputs = {
            t.name: evaluate(formulas[t.name], t.shape(case.batch, case.lengths), t.dtype)
            for t in spec.inputs
        }
        yield reference_model.Drawn(case, seed, formulas, inputs)


def _stale(model: str, framework: str, draws: Iterable[Draw], root: Path) -> bool:
    source = store.read(GOLDEN / model / framework).manifest["sha256"]
    folders = [_folder(model, framework, draw, root) for draw in draws]
    try:
        return any(store.read(folder).manifest["of"] != source for folder in folders)
    except GoldenError:
        return True


def _folder(model: str, framework: str, draw: Draw, root: Path) -> Path:
    return root / draw.name / model / framework


def main() -> None:
    root, framework = Path(sys.argv[1]), sys.argv[2]
    models, entries = json.load(sys.stdin)
    draws = [Draw(**entry) for entry in entries]
    for model in models:
        try:
            measure(model, framework, draws, root)
            outcome = "measured"
        except Exception as error:
            outcome = f"cannot be measured: {one_line(error)}"
        print(f"{model}/{framework} {outcome}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
