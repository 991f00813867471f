"""Cells as pytest's items: their selection, their exports and their results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from harness.core import selectors
from harness.core.errors import (
    HarnessError,
    NonconformanceError,
    NothingSelectedError,
    UsageError,
)
from harness.core.files import locked
from harness.core.results import Cell, CellResult, Status
from harness.core.summary import BAD
from harness.frameworks import FRAMEWORKS
from harness.goldens import store
from harness.reports import console
from harness.runtimes import RUNTIMES
from harness.subjects.resolve import FOLDERS, Kind, resolve
from harness.validation import pipeline
from harness.validation.selection import Selection
from reference_models import catalog

MARKER = "harness"


class CellItem(pytest.Item):
    """One cell; its node id and its name are the cell's id."""

    def __init__(self, cells: Cells, cell: Cell, **options: Any) -> None:
        super().__init__(name=cell.id, nodeid=cell.id, **options)
        self._cells = cells
        for mark in (MARKER, cell.framework, cell.runtime):
            self.add_marker(mark)

    def runtest(self) -> None:
        result = self._cells.judge(self.name)
        ratios = [output.ratio for case in result.cases for output in case.outputs]
        self.user_properties.append(("comparisons", len(ratios)))
        self.user_properties.append(("worst error over tolerance", max(ratios, default=None)))
        reason = f"{result.stage.value}: {result.reason}"
        if result.status in BAD:
            raise NonconformanceError(console.text(result, self.config.option.verbose > 0))
        if result.status is Status.XFAIL:
            pytest.xfail(reason)
        if result.status is Status.UNAVAILABLE:
            pytest.skip(result.reason)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        if isinstance(excinfo.value, HarnessError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        return self.path, None, self.name


class CellCollector(pytest.Collector):
    """The chosen cells, in the order of the matrix."""

    def __init__(self, cells: Cells, chosen: Sequence[Cell], **options: Any) -> None:
        super().__init__(**options)
        self._cells = cells
        self._chosen = chosen

    def collect(self) -> Iterator[pytest.Item]:
        for cell in self._chosen:
            yield CellItem.from_parent(self, cells=self._cells, cell=cell)


class Cells:
    """The cells that the options of a run select; itself a plugin of pytest."""

    def __init__(self, config: pytest.Config) -> None:
        """Raise pytest's UsageError, in one line, where the options select nothing usable."""
        self._config = config
        self._artifacts = Path(config.option.harness_artifacts)
        for name in dict.fromkeys([*FRAMEWORKS, *RUNTIMES]):
            config.addinivalue_line("markers", f"{name}: cells of this framework or runtime")
        self._selected: dict[str, tuple[Cell, Selection]] = {}
        self._prepared: dict[str, pipeline.Prepared] = {}
        self._named: set[str] = set()
        try:
            for folder in config.option.harness_golden:
                self._add(Path(folder))
        except HarnessError as error:
            raise pytest.UsageError(str(error)) from None

    def take_arguments(self) -> None:
        """Take the cells' ids among the arguments; collect no test where no other is named."""
        config = self._config
        if config.args_source is not config.ArgsSource.ARGS:
            config.args = []
        self._named = self._selected.keys() & set(config.args)
        config.args = [argument for argument in config.args if argument not in self._named]

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, session: pytest.Session, items: list[pytest.Item]
    ) -> None:
        chosen = [
            cell for cell, _ in self._selected.values() if cell.id in (self._named or {cell.id})
        ]
        group = CellCollector.from_parent(session, name=MARKER, cells=self, chosen=chosen)
        items.extend(session.genitems(group))

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Export what the collected cells need, in one of several workers."""
        if self._config.option.collectonly or self._config.getoption("setuponly", False):
            return
        ids = [item.name for item in session.items if isinstance(item, CellItem)]
        groups: dict[int, tuple[Selection, set[str]]] = {}
        for cell_id in ids:
            selection = self._selected[cell_id][1]
            groups.setdefault(id(selection), (selection, set()))[1].add(cell_id)
        exporting = any(selection.golden for selection, _ in groups.values())
        try:
            with locked(self._artifacts) if exporting else nullcontext():
                for selection, only in groups.values():
                    prepared = pipeline.prepare(replace(selection, only=only), self._progress)
                    self._prepared |= {
                        job.cell.id: replace(prepared, jobs=[job]) for job in prepared.jobs
                    }
        except (HarnessError, OSError) as error:
            raise pytest.UsageError(str(error)) from None

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Name a test by its cell's id in JUnit's file too: pytest would put dots in it."""
        if MARKER not in report.keywords or report.nodeid not in self._selected:
            return
        from _pytest.junitxml import xml_key

        if (xml := self._config.stash.get(xml_key, None)) is not None:
            reporter = xml.node_reporter(report)
            reporter.add_attribute("classname", MARKER)
            reporter.add_attribute("name", report.nodeid)

    def judge(self, cell_id: str) -> CellResult:
        report = pipeline.judge(
            self._prepared[cell_id], "pytest", lambda result: None, lambda job: None
        )
        return report.results[0]

    def _add(self, folder: Path) -> None:
        """Select the cells of a folder; NothingSelectedError where there is none."""
        nothing: NothingSelectedError | None = None
        before = len(self._selected)
        for selection in self._selections(folder):
            try:
                cells = pipeline.cells(selection)
            except NothingSelectedError as error:
                nothing = error
                continue
            for cell in cells:
                if cell.id in self._selected:
                    raise UsageError(f"--harness-golden {folder}: {cell.id} is there already")
                self._selected[cell.id] = cell, selection
        if len(self._selected) == before:
            raise nothing or NothingSelectedError(f"--harness-golden {folder} has no selected cell")

    def _selections(self, folder: Path) -> Iterator[Selection]:
        """Yield selections of a bundle, a folder of ONNX tests, a golden or a folder of goldens.

        Models of a folder that have goldens of the same frameworks come together. UsageError where
        the folder is none of them.
        """
        option = self._config.option
        selection = Selection(
            exporters=option.harness_exporter,
            variants=option.harness_variant,
            runtimes=option.harness_runtime,
            require=option.harness_require,
            lengths=option.harness_lengths,
            batch=option.harness_batch,
            relations=option.harness_relation,
            artifacts=self._artifacts,
            expectations=option.harness_expectations and Path(option.harness_expectations),
        )
        chosen = selectors.names(
            "framework", option.harness_framework or [selectors.ALL], FRAMEWORKS
        )
        subject = resolve(str(folder), FOLDERS)
        if subject.kind in (Kind.BUNDLE, Kind.ONNX_TESTS):
            yield replace(selection, subjects=[str(folder.resolve())])
            return
        if subject.kind is Kind.GOLDEN:
            golden = store.read(folder)
            root, twins = folder.parent.parent, {golden.spec.name: [golden.framework]}
            if folder != root / golden.spec.name / golden.framework:
                raise UsageError(
                    f"{folder} holds a golden of {golden.spec.name}/{golden.framework}"
                )
        else:
            root, twins = folder, {}
            for path in store.goldens(folder):
                twins.setdefault(path.parent.name, []).append(path.name)
        models = selectors.names("model", option.harness_model or [selectors.ALL], twins)
        models = selectors.names("model", models, catalog.MODELS)
        groups: dict[tuple[str, ...], list[str]] = {}
        for model in models:
            groups.setdefault(tuple(f for f in chosen if f in twins[model]), []).append(model)
        for frameworks, subjects in groups.items():
            if frameworks:
                yield replace(selection, subjects=subjects, frameworks=frameworks, golden=root)

    def _progress(self, text: str) -> None:
        if reporter := self._config.pluginmanager.get_plugin("terminalreporter"):
            reporter.write_line(text)
