"""The cells of reference models, which are exported where they are not yet."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from harness.core import selectors
from harness.core.errors import UsageError
from harness.core.results import Cell
from harness.core.schema import Case, Progress
from harness.exporters import DEFAULT_OPSET, EXPORTERS
from harness.exporters.variants import VARIANTS
from harness.exporting import bundle, cache
from harness.frameworks import FRAMEWORKS
from harness.goldens import store
from harness.goldens.store import Golden
from harness.runtimes import versions
from harness.validation.plan import Model, Runtimes, SelectedCell, choose
from harness.validation.selection import Selection
from reference_models import catalog


def planned(
    subjects: Sequence[str], selection: Selection, runtimes: Runtimes
) -> list[tuple[Cell, Golden, list[Case]]]:
    """Return the selected cells of reference models, with golden and cases; nothing is exported."""
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
        twins={name: r.framework for name, r in runtimes.items() if r.framework},
    )
    if selection.shard:
        cells = selectors.shard(cells, selection.shard)
    cells = [cell for cell in cells if selection.only is None or cell.id in selection.only]
    roots = {
        cell.model: selection.golden or catalog.goldens(catalog.load(cell.model)) for cell in cells
    }
    pairs = dict.fromkeys((cell.model, cell.framework) for cell in cells)
    sources = [store.read(roots[model] / model / framework) for model, framework in pairs]
    for (model, _), source in zip(pairs, sources, strict=True):
        if source.spec.name != model:
            raise UsageError(f"{source.folder} is a golden of {source.spec.name}, not of {model}")
        catalog.check_spec(source.spec, source.folder)
    chosen = zip(sources, choose(sources, selection), strict=True)
    by_pair = dict(zip(pairs, chosen, strict=True))
    planned = [(cell, *by_pair[cell.model, cell.framework]) for cell in cells]
    return [(cell, source, cases) for cell, source, cases in planned if cases]


def exported(
    subjects: Sequence[str],
    selection: Selection,
    runtimes: Runtimes,
    progress: Progress,
) -> list[SelectedCell]:
    """Return the cells of reference models; export what is not exported yet."""
    selected = planned(subjects, selection, runtimes)
    exports = [_export(cell, source.folder, selection) for cell, source, _ in selected]
    goldens = {str(source.folder): source for _, source, _ in selected}
    bundles = cache.ensure(
        {export.name: export for export in exports}.values(), progress, goldens, selection.limits
    )
    return [
        _exported(cell, source, cases, bundles[export.name], selection)
        for (cell, source, cases), export in zip(selected, exports, strict=True)
    ]


def _export(cell: Cell, source: Path, selection: Selection) -> cache.ExportJob:
    target = bundle.folder(selection.artifacts, cell, selection.opset)
    return cache.ExportJob(
        cell.model,
        cell.framework,
        cell.exporter,
        cell.variant,
        selection.opset,
        str(source),
        str(target),
    )


def _exported(
    cell: Cell,
    source: Golden,
    cases: Sequence[Case],
    exported: bundle.Bundle | str,
    selection: Selection,
) -> SelectedCell:
    flags = f" --golden {shlex.quote(str(selection.golden))}" if selection.golden else ""
    if selection.artifacts != Selection.artifacts:
        flags += f" --artifacts {shlex.quote(str(selection.artifacts))}"
    if selection.opset != DEFAULT_OPSET:
        flags += f" --opset {selection.opset}"
    flags += selection.settings.flags
    words = ["python", "-m", "harness.validate", cell.model, "--framework", cell.framework]
    words += ["--exporter", cell.exporter, "--variant", cell.variant]
    words += versions.flags(cell.runtime)
    replay = f"{shlex.join(words)}{flags}"
    model: Model = exported if isinstance(exported, str) else exported.failure or exported.model
    example = {} if isinstance(exported, str) else exported.manifest.get("example", {})
    return SelectedCell(
        cell=cell, golden=source, cases=cases, model=model, replay=replay, example=example
    )
