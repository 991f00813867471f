"""Reports: one file each, from the same ``harness.core.results.Report``.

``write(report, folder)`` writes one form of the report into a folder, which it makes.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.core.errors import UsageError, one_line
from harness.core.registry import extended, resolve
from harness.core.results import Report

OURS: dict[str, str] = {
    "json": "harness.reports.json_file:write",
    "html": "harness.reports.page:write",
    "junit": "harness.reports.junit:write",
    "markdown": "harness.reports.table:write",
}
REPORTS: dict[str, str] = extended("harness.reports", OURS)


def load(name: str) -> Callable[[Report, Path], Any]:
    """Return the writer of the report called ``name``; KeyError where there is none.

    UsageError where another distribution's cannot be imported, or cannot be called.
    """
    target = REPORTS[name]
    try:
        writer: Callable[[Report, Path], Any] = resolve(target)
    except Exception as error:
        raise UsageError(f"report {name}: {target} cannot be imported: {one_line(error)}") from None
    if not callable(writer):
        raise UsageError(f"report {name}: {target} cannot be called with (report, folder)")
    return writer


def write(report: Report, folder: Path) -> list[str]:
    """Write every report into ``folder``; a line for each of other distributions that failed."""
    failed = []
    for name in REPORTS:
        try:
            load(name)(report, folder)
        except UsageError as error:
            failed.append(str(error))
        except Exception as error:
            if name in OURS:
                raise
            failed.append(f"report {name}: {one_line(error)}")
    return failed
