"""For a test-suite of one's own: ``assert_conforms(model, inputs=..., lengths=...)``."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.core.schema import Report


def assert_conforms(
    model: Any,
    *,
    inputs: Any = None,
    lengths: Any = None,
    batch: Any = None,
    runtimes: Sequence[str] = (),
    golden: Path | str | None = None,
    output: Path | str | None = None,
    **options: Any,
) -> Report:
    """Export a model and assert that the export computes what the model does, at every length.

    ``model`` is a Keras or a PyTorch model, or anything else that ``harness.api.export`` takes; a
    bundle, or an ONNX file with its ``golden``, is judged as it is. ``inputs``, ``lengths``,
    ``batch`` and ``options`` are those of ``harness.api.export``; the bundle goes to ``output``,
    where one is given. Every one of ``runtimes`` must be available; without any, the default ones
    are tried that are.

    AssertionError with the cells and the cases that do not conform, or where nothing was compared;
    UsageError, in one line, for a model that cannot be used. Returns the report of what does.
    """
    __tracebackhide__ = True
    from harness import api
    from harness.subjects.resolve import EXPORTABLE, FOLDERS, resolve

    shared: dict[str, Any] = {"lengths": lengths, "batch": batch, "runtimes": runtimes}
    stored = isinstance(model, str | Path) and (
        golden is not None or resolve(str(model), {*EXPORTABLE, *FOLDERS}).kind in FOLDERS
    )
    with tempfile.TemporaryDirectory(prefix="harness-") as scratch:
        if stored:
            report: Report = api.validate(model, golden=golden, **shared, **options)
        else:
            folder = Path(scratch, "bundle") if output is None else Path(output)
            report = api.export(model, folder, inputs=inputs, **shared, **options)
    if told := _told(report, runtimes, bool(stored or output)):
        raise AssertionError(told)
    return report


def _told(report: Report, runtimes: Sequence[str], lasting: bool) -> str:
    """What keeps a report from showing that a model conforms; empty where nothing does.

    Where the judged files are not ``lasting``, a line that judges them again is of no use.
    """
    from harness.core import selectors, summary
    from harness.core.schema import Status
    from harness.reports import console
    from harness.runtimes import RUNTIMES

    named = selectors.names(
        "runtime", [runtimes] if isinstance(runtimes, str) else runtimes, RUNTIMES
    )
    lacking = [
        result
        for result in report.results
        if result.status in summary.BAD
        or (result.status is Status.UNAVAILABLE and result.cell.runtime in named)
    ]
    if report.conforms and not lacking:
        return ""
    lines = []
    for result in lacking or report.results:
        shown = console.text(result).splitlines()
        lines += [line for line in shown if lasting or line.strip() != result.replay]
    return "\n".join([f"the export does not conform: {summary.line(report)}", *lines])
