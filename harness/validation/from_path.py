"""The cells of a bundle, a folder of ONNX tests, or an ONNX file with its golden."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.core import selectors
from harness.core.errors import CheckError, NothingSelectedError, UsageError
from harness.core.schema import Case, Cell
from harness.exporting import bundle
from harness.goldens import store
from harness.goldens.store import Golden
from harness.graphs import interface
from harness.onnx_tests import as_golden
from harness.subjects.resolve import Kind, Subject
from harness.validation.plan import Model, Runtimes, SelectedCell, choose
from harness.validation.selection import Selection


def cells(subject: Subject, selection: Selection, runtimes: Runtimes) -> list[SelectedCell]:
    """The cells of a bundle, a folder of ONNX tests, or an ONNX file with ``--golden``."""
    path = subject.path
    if selection.frameworks or selection.exporters or selection.variants or selection.shard:
        raise UsageError(
            f"{path}: --framework, --exporter, --variant and --shard select among reference models"
        )
    given = _given(subject, selection)
    keep = None if selection.keyword is None else selectors.Expression(selection.keyword)
    flags = ["--golden", str(selection.golden)] if selection.golden else []
    replay = shlex.join(["python", "-m", "harness.validate", str(path), *flags])
    selected = []
    for name, runtime in runtimes.items():
        cell = Cell(
            given.golden.spec.name,
            given.golden.framework,
            str(given.about.get("exporter", "file")),
            str(given.about.get("variant", "fp32")),
            name,
        )
        framework, native = runtime.framework, (cell.framework, cell.exporter, cell.variant)
        if framework and (framework, *selectors.TWIN) != native:
            continue
        if keep is not None and not keep.matches(cell.id):
            continue
        if selection.only is not None and cell.id not in selection.only:
            continue
        selected.append(
            SelectedCell(
                cell=cell,
                golden=given.golden,
                cases=given.cases,
                model=given.model,
                replay=f"{replay} --runtime {name}{selection.settings.flags}",
                example=given.about.get("example", {}),
                expected=False,
                declared=given.declared,
                evidence=given.evidence,
                refused=given.no_twin if framework else given.refused,
            )
        )
    if not selected:
        asked = f"--runtime {','.join(runtimes)}"
        asked += "" if selection.keyword is None else f" -k {selection.keyword!r}"
        raise NothingSelectedError(f"{asked} selects no cell of {path}")
    return selected


@dataclass(frozen=True)
class _Given:
    """What a path holds; ``no_twin`` says why no framework can run its trained twin."""

    golden: Golden
    cases: Sequence[Case]
    model: Model
    about: Mapping[str, Any]
    no_twin: str | None
    refused: str | None = None
    declared: bool = True
    evidence: Mapping[str, Any] = field(default_factory=dict)


def _given(subject: Subject, selection: Selection) -> _Given:
    path = subject.path
    match subject.kind:
        case Kind.ONNX_TESTS:
            tests = _tests(path, selection)
            cases = [] if tests.unavailable else choose([tests.golden], selection)[0]
            no_twin = tests.unavailable or f"{path} is a folder of ONNX tests, not a golden"
            return _Given(
                tests.golden,
                cases,
                tests.model,
                tests.about,
                no_twin,
                tests.unavailable,
                tests.declared,
                tests.evidence,
            )
        case Kind.ONNX:
            if selection.golden is None:
                told = "a .onnx file needs --golden DIR, the folder of its golden"
                raise UsageError(f"{path}: {told}")
            model: Model = path
            golden, about = store.read(selection.golden), {}
            try:
                interface.read(str(path))
            except CheckError as error:
                raise UsageError(str(error)) from None
        case _:
            stored = bundle.read(path)
            golden = store.read(selection.golden or path / bundle.GOLDEN)
            about, model = dict(stored.manifest), stored.failure or stored.model
    no_twin = f"{golden.folder} has no weights to build the twin with"
    cases = choose([golden], selection)[0]
    return _Given(golden, cases, model, about, None if golden.has_weights else no_twin)


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
