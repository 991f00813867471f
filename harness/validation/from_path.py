"""The cells of a bundle, a folder of ONNX tests, or an ONNX file with its golden."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness.accounting import form as accounts
from harness.core import selectors
from harness.core.errors import CheckError, NothingSelectedError, UsageError
from harness.core.results import Cell
from harness.exporting import bundle
from harness.goldens import store
from harness.graphs import interface
from harness.onnx_tests import as_golden
from harness.runtimes import versions
from harness.subjects.resolve import Kind, Subject
from harness.validation.plan import Model, Runtimes, SelectedCell, choose
from harness.validation.selection import Selection


def cells(subject: Subject, selection: Selection, runtimes: Runtimes) -> list[SelectedCell]:
    """Return the cells of a bundle, ONNX tests, or an ONNX file with ``--golden``."""
    path = subject.path
    if selection.frameworks or selection.exporters or selection.variants or selection.shard:
        raise UsageError(
            f"{path}: --framework, --exporter, --variant and --shard select among reference models"
        )
    template, no_twin = _template(subject, selection)
    keep = None if selection.keyword is None else selectors.Expression(selection.keyword)
    flags = ["--golden", str(selection.golden)] if selection.golden else []
    replay = shlex.join(["python", "-m", "harness.validate", str(path), *flags])
    selected = []
    for name, runtime in runtimes.items():
        cell = replace(template.cell, runtime=name)
        native = (cell.framework, cell.exporter, cell.variant)
        if runtime.framework and (runtime.framework, *selectors.TWIN) != native:
            continue
        if keep is not None and not keep.matches(cell.id):
            continue
        if selection.only is not None and cell.id not in selection.only:
            continue
        selected.append(
            replace(
                template,
                cell=cell,
                replay=f"{replay} {shlex.join(versions.flags(name))}{selection.settings.flags}",
                refused=no_twin if runtime.framework else template.refused,
            )
        )
    if not selected:
        flags_of_selection = f"--runtime {','.join(runtimes)}"
        flags_of_selection += "" if selection.keyword is None else f" -k {selection.keyword!r}"
        raise NothingSelectedError(f"{flags_of_selection} selects no cell of {path}")
    return selected


def _template(subject: Subject, selection: Selection) -> tuple[SelectedCell, str | None]:
    """Return the cell of a path without a runtime, and why no framework can run its twin."""
    path = subject.path
    model: Model = path
    about: Mapping[str, Any] = {}
    evidence: Mapping[str, Any] = {}
    refused, declared, no_twin = None, True, ""
    account = None
    match subject.kind:
        case Kind.ONNX_TESTS:
            tests = _tests(path, selection)
            golden, model, about, evidence = tests.golden, tests.model, tests.about, tests.evidence
            refused, declared = tests.unavailable, tests.declared
            no_twin = refused or f"{path} is a folder of ONNX tests, not a golden"
        case Kind.ONNX:
            if selection.golden is None:
                raise UsageError(
                    f"{path}: a .onnx file needs --golden DIR, the folder of its golden"
                )
            golden = store.read(selection.golden)
            try:
                interface.read(str(path))
            except CheckError as error:
                raise UsageError(str(error)) from None
            if beside := bundle.rejected_account(path):
                account = accounts.read(beside)
        case _:
            stored = bundle.read(path)
            golden = store.read(selection.golden or path / bundle.GOLDEN)
            about, model = stored.manifest, stored.failure or stored.model
            account = accounts.read(stored.account) if stored.account else None
    if not golden.has_weights:
        no_twin = no_twin or f"{golden.folder} has no weights to build the twin with"
    cell = Cell(
        golden.spec.name,
        golden.framework,
        str(about.get("exporter", "file")),
        str(about.get("variant", "fp32")),
        runtime="",
    )
    template = SelectedCell(
        cell=cell,
        golden=golden,
        cases=[] if refused else choose([golden], selection)[0],
        model=model,
        replay="",
        example=about.get("example", {}),
        ours=False,
        declared=declared,
        evidence=evidence,
        rounded=about.get("rounded", []),
        account=account,
        refused=refused,
    )
    return template, no_twin or None


def _tests(path: Path, selection: Selection) -> as_golden.Tests:
    """Read a folder of ONNX tests; UsageError for selectors that only a golden of ours has."""
    if selection.golden is not None:
        raise UsageError(f"{path}: ONNX tests hold their own outputs; --golden is for other models")
    tests = as_golden.read(path)
    flags = {
        "--lengths": selection.lengths,
        "--batch": selection.batch,
        "--relation": selection.relations,
        "--every-step": selection.every_step,
    }
    refused = [flag for flag, value in flags.items() if value and not tests.declared]
    if refused:
        raise UsageError(f"{path} was made from no golden of ours, which {refused[0]} needs")
    return tests
