"""``assert_conforms(model, inputs=..., lengths=...)`` for a user's test suite."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.core.results import Report


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

    Return the report where all conforms. AssertionError with the cells and the cases that do not
    conform, or where nothing was compared; UsageError, in one line, for a model that cannot be
    used.
    """
    __tracebackhide__ = True
    from harness import api
    from harness.core.temporary import temporary_folder
    from harness.subjects.resolve import EXPORTABLE, FOLDERS, resolve

    shared: dict[str, Any] = {"lengths": lengths, "batch": batch, "runtimes": runtimes}
    stored = isinstance(model, str | Path) and (
        golden is not None or resolve(str(model), {*EXPORTABLE, *FOLDERS}).kind in FOLDERS
    )
    with temporary_folder() as scratch:
        if stored:
            report: Report = api.validate(model, golden=golden, **shared, **options)
        else:
            folder = scratch / "bundle" if output is None else Path(output)
            report = api.export(model, folder, inputs=inputs, **shared, **options)
    if refusal := _refusal(report, runtimes, bool(stored or output)):
        raise AssertionError(refusal)
    return report


def _refusal(report: Report, runtimes: Sequence[str], lasting: bool) -> str:
    """Return why a report does not show that a model conforms; empty where it does.

    Where the judged files are not ``lasting``, lines that judge them again are left out.
    """
    from harness.core import selectors, summary
    from harness.core.results import Status
    from harness.reports import console
    from harness.runtimes import RUNTIMES

    texts = [runtimes] if isinstance(runtimes, str) else runtimes
    required = selectors.names("runtime", texts, RUNTIMES)
    bad = [
        result
        for result in report.results
        if result.status in summary.BAD
        or (result.status is Status.UNAVAILABLE and result.cell.runtime in required)
    ]
    if report.conforms and not bad:
        return ""
    lines = []
    for result in bad or report.results:
        shown = console.text(result).splitlines()
        lines += [line for line in shown if lasting or line.strip() != result.replay]
    return "\n".join([f"the export does not conform: {summary.line(report)}", *lines])
