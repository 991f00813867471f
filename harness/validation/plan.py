"""What a selection comes to: a work for each cell, with its cases and its exported model."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from harness.core import selectors
from harness.core.errors import CheckError, NothingSelectedError, UsageError
from harness.core.schema import Case, Cell, Progress, Runtime, framework_of
from harness.exporters import DEFAULT_OPSET, EXPORTERS
from harness.exporters.variants import VARIANTS
from harness.exporting import bundle, cache
from harness.frameworks import FRAMEWORKS
from harness.goldens import store
from harness.goldens.store import Golden
from harness.graphs import interface
from harness.onnx_tests import as_golden, layout
from harness.validation.job import Work
from harness.validation.selection import Selection
from reference_models import catalog


def from_path(path: Path, selection: Selection, runtimes: Mapping[str, Runtime]) -> list[Work]:
    """A bundle, a folder of ONNX tests, or a bare ONNX file with ``--golden``."""
    if selection.frameworks or selection.exporters or selection.variants or selection.shard:
        raise UsageError(
            f"{path}: --framework, --exporter, --variant and --shard select among reference models"
        )
    tests = _tests(path, selection) if layout.is_one(path) else None
    if tests is not None:
        source, about, model, failure = tests.golden, tests.about, tests.model, None
        example = about.get("example", {})
    elif path.is_dir():
        stored = bundle.read(path)
        source = store.read(selection.golden or path / bundle.GOLDEN)
        about = stored.manifest
        model, failure = stored.model, stored.failure
        example = about.get("example", {})
    else:
        if not path.is_file():
            raise UsageError(
                f"{path}: no such file; expected a bundle folder, a folder of ONNX tests or a .onnx"
                " file"
            )
        if selection.golden is None:
            raise UsageError(f"{path}: a .onnx file needs --golden DIR, the folder of its golden")
        source = store.read(selection.golden)
        about, model, failure, example = {}, path, None, {}
        try:
            interface.read(str(path))
        except CheckError as error:
            raise UsageError(str(error)) from None
    cases = [] if tests and tests.unavailable else _choose([source], selection)[0]
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
        if framework and (framework, *selectors.TWIN) != (
            cell.framework,
            cell.exporter,
            cell.variant,
        ):
            continue
        flags = ["--golden", str(selection.golden)] if selection.golden else []
        replay = shlex.join(["python", "-m", "harness.validate", str(path), *flags])
        replay += f" --runtime {name}"
        replay += selection.settings.flags
        model_or_none = None if failure else model
        if selection.keyword is not None and not selectors.Expression(selection.keyword).matches(
            cell.id
        ):
            continue
        if selection.only is not None and cell.id not in selection.only:
            continue
        without = f"{source.folder} has no weights to build the twin with"
        absent = without if framework and not source.has_weights else None
        work = Work(cell, source, cases, model_or_none, failure, absent, example, replay, False)
        if tests is not None:
            absent = f"{path} is a folder of ONNX tests, not a golden" if framework else None
            absent = tests.unavailable or absent
            work = replace(work, unavailable=absent, declared=tests.declared)
            work = replace(work, evidence=tests.evidence)
        works.append(work)
    if not works:
        asked = f"--runtime {','.join(runtimes)}"
        asked += "" if selection.keyword is None else f" -k {selection.keyword!r}"
        raise NothingSelectedError(f"{asked} selects no cell of {path}")
    return works


def _tests(path: Path, selection: Selection) -> as_golden.Tests:
    """A folder of ONNX tests; UsageError for what selects among the cases of a golden alone."""
    if selection.golden is not None:
        raise UsageError(f"{path}: ONNX tests hold their own outputs; --golden is for other models")
    tests = as_golden.read(path)
    asked = {
        "--lengths": selection.lengths,
        "--batch": selection.batch,
        "--relation": selection.relations,
        "--every-step": selection.every_step,
    }
    refused = [flag for flag, given in asked.items() if given and not tests.declared]
    if refused:
        raise UsageError(f"{path} was made from no golden of ours, which {refused[0]} needs")
    return tests


def planned(
    subjects: Sequence[str], selection: Selection, runtimes: Mapping[str, Runtime]
) -> list[tuple[Cell, Golden, list[Case]]]:
    """The selected cells of reference models, each with its golden and its selected cases.

    Nothing is exported for it.
    """
    names = [key.rpartition("/")[0] for key in EXPORTERS]
    exporters = selectors.names("exporter", selection.exporters or ["native"], dict.fromkeys(names))
    chosen_models = selectors.names("model", subjects, catalog.MODELS)
    keep = None if selection.keyword is None else selectors.Expression(selection.keyword)
    cells = selectors.cells(
        {name: catalog.load(name).frameworks for name in chosen_models},
        selectors.names("framework", selection.frameworks or [selectors.ALL], FRAMEWORKS),
        exporters,
        selectors.names("variant", selection.variants or ["fp32"], VARIANTS),
        runtimes,
        EXPORTERS,
        keep,
        twins={name: framework for name, r in runtimes.items() if (framework := framework_of(r))},
    )
    if selection.shard:
        cells = selectors.shard(cells, selection.shard)
    cells = [cell for cell in cells if selection.only is None or cell.id in selection.only]
    roots = {
        cell.model: selection.golden or catalog.goldens(catalog.load(cell.model)) for cell in cells
    }
    pairs = dict.fromkeys((cell.model, cell.framework) for cell in cells)
    sources = [store.read(roots[model] / model / framework) for model, framework in pairs]
    chosen = zip(sources, _choose(sources, selection), strict=True)
    there = dict(zip(pairs, chosen, strict=True))
    found = [(cell, *there[cell.model, cell.framework]) for cell in cells]
    return [(cell, source, cases) for cell, source, cases in found if cases]


def from_catalog(
    subjects: Sequence[str],
    selection: Selection,
    runtimes: Mapping[str, Runtime],
    progress: Progress,
) -> list[Work]:
    """The cells of reference models; what is not exported yet is exported now."""
    found = planned(subjects, selection, runtimes)
    jobs = [_job(cell, source.folder, selection) for cell, source, _ in found]
    known = {str(source.folder): source for _, source, _ in found}
    exported = cache.ensure(
        {job.name: job for job in jobs}.values(), progress, known, selection.limits
    )
    return [
        _work(cell, source, cases, exported[job.name], selection)
        for (cell, source, cases), job in zip(found, jobs, strict=True)
    ]


def _job(cell: Cell, source: Path, selection: Selection) -> cache.Job:
    target = bundle.folder(selection.artifacts, cell, selection.opset)
    return cache.Job(
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
    flags = f" --golden {shlex.quote(str(selection.golden))}" if selection.golden else ""
    if selection.artifacts != Selection.artifacts:
        flags += f" --artifacts {shlex.quote(str(selection.artifacts))}"
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
    lengths_there = {case.longest for case in cases}
    batches_there = {case.batch for case in cases}
    lengths = selectors.numbers("--lengths", selection.lengths, lengths_there)
    batches = selectors.numbers("--batch", selection.batch, batches_there)
    lengths.require(lengths_there)
    batches.require(batches_there)
    chosen = [selectors.choose(source.cases, lengths, batches) for source in sources]
    if not any(chosen):
        raise NothingSelectedError("no golden case has both a selected length and batch")
    return chosen
