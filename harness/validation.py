"""The validate phase: subjects and selectors to works, works to a report."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path

from harness import bundle, expectations, exporting, golden, graph, plan, workers
from harness.engine import Event, Work
from harness.errors import CheckError, NothingSelectedError, UnavailableError, UsageError
from harness.exporters import DEFAULT_OPSET, EXPORTERS
from harness.frameworks import FRAMEWORKS
from harness.golden import Golden
from harness.outcome import BAD
from harness.relations import RELATIONS
from harness.runtimes import RUNTIMES, load
from harness.schema import (
    Arrays,
    Case,
    CaseResult,
    Cell,
    CellResult,
    GoldenCase,
    ModelSpec,
    PaddedSteps,
    Progress,
    Report,
    Runtime,
    Stage,
    framework_of,
)
from harness.settings import Settings
from harness.variants import VARIANTS
from harness.workers import Isolation
from reference_models import catalog

EXPECTATIONS = Path(catalog.__file__).with_name("expectations.toml")
# fmt: off
LIBRARIES = (
    "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "openvino", "tract", "torch",
    "tensorflow", "tensorflow-cpu", "keras",
)
# fmt: on


@dataclass(frozen=True)
class Selection:
    """What ``validate`` was asked to judge; empty selectors mean their defaults."""

    subjects: Sequence[str] = ()
    frameworks: Sequence[str] = ()
    exporters: Sequence[str] = ()
    variants: Sequence[str] = ()
    runtimes: Sequence[str] = ()
    require: Sequence[str] = ()
    lengths: Sequence[str] = ()
    batch: Sequence[str] = ()
    keyword: str | None = None
    shard: str | None = None
    golden: Path | None = None
    artifacts: Path = Path("build/artifacts")
    opset: int = DEFAULT_OPSET
    every_step: bool = False
    relations: Sequence[str] = ()
    settings: Settings = field(default_factory=Settings)


@dataclass
class Prepared:
    """The works of a selection and the runtimes they run on."""

    works: list[Work]
    runtimes: Mapping[str, Runtime]
    rows: list[expectations.Expectation] = field(default_factory=list)
    partial: bool = False
    settings: Settings = field(default_factory=Settings)


def prepare(selection: Selection, progress: Progress) -> Prepared:
    """Resolve the selection, export what is missing, and lay out the works.

    UsageError for a name or number that selects nothing, NothingSelectedError where no cell is
    left, UnavailableError where a required runtime is not available here.
    """
    runtimes = _runtimes(selection)
    relations = plan.names("relation", selection.relations, RELATIONS)
    files = [s for s in selection.subjects if is_path(s)]
    named = [s for s in selection.subjects if s not in files]
    works = [_from_path(Path(text), selection, runtimes) for text in files]
    flat = [work for group in works for work in group]
    if named or not files:
        flat += _from_catalog(named or [plan.ALL], selection, runtimes, progress)
    if selection.every_step:
        whole = {work.golden.folder: _completing(work.golden) for work in flat}
        flat = [replace(work, complete=whole[work.golden.folder]) for work in flat]
    if relations:
        flag = f" --relation {','.join(relations)}"
        flat = [
            w
            if framework_of(runtimes[w.cell.runtime])
            else replace(w, relations=relations, replay=w.replay + flag)
            for w in flat
        ]
    partial = bool(selection.lengths or selection.batch)
    rows = expectations.load(EXPECTATIONS)
    return Prepared(flat, runtimes, rows, partial, selection.settings)


def judge(
    prepared: Prepared,
    command: str,
    done: Callable[[CellResult], None],
    step: Callable[[Work], None],
    fail_fast: bool = False,
    isolation: Isolation | None = None,
) -> Report:
    """Run every work; ``done`` gets each result in turn, ``step`` is called for each case and each
    relation.
    """

    def tell(work: Work, event: Event) -> None:
        judged = isinstance(event, CaseResult) and not event.relation
        if judged or (isinstance(event, str) and not isinstance(event, Stage)):
            step(work)

    works, results = prepared.works, []
    how = isolation or Isolation()
    running = workers.run(works, prepared.runtimes, prepared.settings, how, tell)
    with closing(running) as judged:
        for work, raw in zip(works, judged, strict=False):
            rows = prepared.rows if work.expected else []
            result = expectations.judge(raw, rows, prepared.partial)
            results.append(result)
            done(result)
            if fail_fast and result.status in BAD:
                break
    return Report(command, environment(), tuple(results), len(results) < len(works))


def without_a_case(prepared: Prepared, report: Report) -> list[str]:
    """The relations that were asked for and compared nothing in any cell."""
    asked = dict.fromkeys(name for work in prepared.works for name in work.relations)
    tried = {case.relation for result in report.results for case in result.cases}
    return [name for name in asked if name not in tried]


def environment() -> dict[str, str | int]:
    """The machine and the versions of the libraries installed on it."""
    found: dict[str, str | int] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": os.cpu_count() or 0,
    }
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True)
class EveryStep:
    """Derives every step of a case anew by the oracle of a model, from its weights."""

    spec: ModelSpec
    parameters: Arrays
    padded: PaddedSteps

    def __call__(self, case: GoldenCase) -> GoldenCase:
        oracle = catalog.part(self.spec, "oracle")
        outputs = oracle.run(self.spec.name, self.parameters, case.inputs, self.padded)
        return replace(case, outputs=outputs, steps=None)


def _completing(source: Golden) -> EveryStep:
    """What derives every step of the golden's cases."""
    if source.spec.name not in catalog.MODELS:
        raise UsageError(f"--every-step: {source.spec.name} has no oracle here to derive steps by")
    padded = source.spec.padded_steps.get(source.framework, "repeat")
    return EveryStep(source.spec, source.parameters(), padded)


def _runtimes(selection: Selection) -> dict[str, Runtime]:
    required = plan.names("runtime", selection.require, RUNTIMES)
    chosen = plan.names("runtime", selection.runtimes, RUNTIMES)
    if not selection.runtimes:
        cuda = load("ort-cuda").check() is None
        chosen = ["ort-cpu", "ort-cuda"] if cuda else ["ort-cpu"]
    chosen = list(dict.fromkeys([*chosen, *required]))
    runtimes: dict[str, Runtime] = {name: load(name) for name in chosen}
    runtimes = {name: selection.settings.on(name, runtime) for name, runtime in runtimes.items()}
    for name in required:
        if reason := runtimes[name].check():
            raise UnavailableError(f"runtime {name} is required and not available: {reason}")
    return runtimes


def is_path(subject: str) -> bool:
    """Whether a subject is a bundle folder or a file rather than a reference model's name."""
    found = bool(subject) and Path(subject).is_dir()
    return found or subject.endswith(".onnx") or os.sep in subject


def _from_path(path: Path, selection: Selection, runtimes: Mapping[str, Runtime]) -> list[Work]:
    """A bundle, or a bare ONNX file with ``--golden``."""
    if selection.frameworks or selection.exporters or selection.variants or selection.shard:
        raise UsageError(
            f"{path}: --framework, --exporter, --variant and --shard select among reference models"
        )
    if path.is_dir():
        stored = bundle.read(path)
        source = golden.read(selection.golden or path / bundle.GOLDEN)
        about = stored.manifest
        model, failure = stored.model, stored.failure
        example = about.get("example", {})
    else:
        if not path.is_file():
            raise UsageError(f"{path}: no such file; expected a bundle folder or a .onnx file")
        if selection.golden is None:
            raise UsageError(f"{path}: a .onnx file needs --golden DIR, the folder of its golden")
        source = golden.read(selection.golden)
        about, model, failure, example = {}, path, None, {}
        try:
            graph.read(str(path))
        except CheckError as error:
            raise UsageError(str(error)) from None
    cases = _choose([source], selection)[0]
    works = []
    for name, runtime in runtimes.items():
        cell = Cell(
            source.spec.name,
            source.framework,
            str(about.get("exporter", "file")),
            str(about.get("variant", "fp32")),
            name,
        )
        framework = framework_of(runtime)
        if framework and (framework, *plan.TWIN) != (cell.framework, cell.exporter, cell.variant):
            continue
        flags = f" --golden {selection.golden}" if selection.golden else ""
        replay = f"python -m harness.validate {path}{flags} --runtime {name}"
        replay += selection.settings.flags
        model_or_none = None if failure else model
        if selection.keyword is not None and not plan.Expression(selection.keyword).matches(
            cell.id
        ):
            continue
        without = f"{source.folder} has no weights to build the twin with"
        absent = without if framework and not source.has_weights else None
        work = Work(cell, source, cases, model_or_none, failure, absent, example, replay, False)
        works.append(work)
    if not works:
        asked = f"--runtime {','.join(runtimes)}"
        asked += "" if selection.keyword is None else f" -k {selection.keyword!r}"
        raise NothingSelectedError(f"{asked} selects no cell of {path}")
    return works


def _from_catalog(
    subjects: list[str],
    selection: Selection,
    runtimes: Mapping[str, Runtime],
    progress: Progress,
) -> list[Work]:
    names = [key.rpartition("/")[0] for key in EXPORTERS]
    exporters = plan.names("exporter", selection.exporters or ["native"], dict.fromkeys(names))
    chosen_models = plan.names("model", subjects, catalog.MODELS)
    keep = None if selection.keyword is None else plan.Expression(selection.keyword)
    cells = plan.cells(
        {name: catalog.load(name).frameworks for name in chosen_models},
        plan.names("framework", selection.frameworks or [plan.ALL], FRAMEWORKS),
        exporters,
        plan.names("variant", selection.variants or ["fp32"], VARIANTS),
        runtimes,
        EXPORTERS,
        keep,
        twins={name: framework for name, r in runtimes.items() if (framework := framework_of(r))},
    )
    if selection.shard:
        cells = plan.shard(cells, selection.shard)
    root = selection.golden or Path("golden")
    folders = {(cell.model, cell.framework): root / cell.model / cell.framework for cell in cells}
    sources = {pair: golden.read(folder) for pair, folder in folders.items()}
    chosen = dict(zip(sources, _choose(list(sources.values()), selection), strict=True))
    cells = [cell for cell in cells if chosen[cell.model, cell.framework]]
    jobs = {cell: _job(cell, folders[cell.model, cell.framework], selection) for cell in cells}
    unique = {job.name: job for job in jobs.values()}
    known = {str(source.folder): source for source in sources.values()}
    exported = exporting.ensure(unique.values(), progress, known)
    works = []
    for cell in cells:
        pair = cell.model, cell.framework
        works.append(_work(cell, sources[pair], chosen[pair], exported[jobs[cell].name], selection))
    return works


def _job(cell: Cell, source: Path, selection: Selection) -> exporting.Job:
    target = bundle.folder(selection.artifacts, cell)
    return exporting.Job(
        cell.model,
        cell.framework,
        cell.exporter,
        cell.variant,
        selection.opset,
        str(source),
        str(target),
    )


def _work(
    cell: Cell,
    source: Golden,
    cases: Sequence[Case],
    exported: bundle.Bundle | str,
    selection: Selection,
) -> Work:
    flags = f" --golden {selection.golden}" if selection.golden else ""
    if selection.opset != DEFAULT_OPSET:
        flags += f" --opset {selection.opset}"
    flags += selection.settings.flags
    replay = (
        f"python -m harness.validate {cell.model} --framework {cell.framework}"
        f" --exporter {cell.exporter} --variant {cell.variant} --runtime {cell.runtime}{flags}"
    )
    if isinstance(exported, str):
        return Work(cell, source, cases, unavailable=exported, replay=replay)
    if exported.failure is not None:
        return Work(cell, source, cases, failure=exported.failure, replay=replay)
    example = exported.manifest["example"]
    return Work(cell, source, cases, exported.model, example=example, replay=replay)


def _choose(sources: Sequence[Golden], selection: Selection) -> list[list[Case]]:
    """The selected cases of each golden; an error where there is none at all."""
    cases = [case for source in sources for case in source.cases]
    lengths_there = {max(case.lengths.values()) for case in cases}
    batches_there = {case.batch for case in cases}
    lengths = plan.numbers("--lengths", selection.lengths, lengths_there)
    batches = plan.numbers("--batch", selection.batch, batches_there)
    lengths.require(lengths_there)
    batches.require(batches_there)
    chosen = [plan.choose(source.cases, lengths, batches) for source in sources]
    if not any(chosen):
        raise NothingSelectedError("no golden case has both a selected length and batch")
    return chosen
