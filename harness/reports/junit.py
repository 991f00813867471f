"""``junit.xml``: a test case for each cell, for CI systems that show JUnit's reports.

Every character in it is printable, and so one that XML allows, but for the ends of lines.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from harness.core.files import written
from harness.core.names import visible
from harness.core.results import CellResult, Report, Status
from harness.reports import console

NAME = "junit.xml"
TAGS = {
    Status.FAIL: "failure",
    Status.XPASS: "failure",
    Status.ERROR: "error",
    Status.XFAIL: "skipped",
    Status.UNAVAILABLE: "skipped",
}
_HERE = "…"


def write(report: Report, folder: Path) -> Path:
    """Write ``junit.xml`` into ``folder``, whole or not at all."""
    return written(folder / NAME, (text.encode() for text in _texts(report)))


def _texts(report: Report) -> Iterator[str]:
    """Yield the document, a cell at a time."""
    tags = Counter(TAGS.get(result.status) for result in report.results)
    counts = {
        "tests": len(report.results),
        "failures": tags["failure"],
        "errors": tags["error"],
        "skipped": tags["skipped"],
        "time": f"{sum(result.seconds for result in report.results):.3f}",
    }
    attributes = {name: str(number) for name, number in counts.items()}
    suites = ElementTree.Element("testsuites", attributes)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "harness", **attributes})
    suite.text = _HERE
    ElementTree.indent(suites)
    before, after = ElementTree.tostring(suites, "unicode").split(_HERE)
    yield "<?xml version='1.0' encoding='utf-8'?>\n" + before
    for result in report.results:
        case = _case(result)
        ElementTree.indent(case, level=2)
        yield f"\n    {ElementTree.tostring(case, 'unicode')}"
    yield ("\n  " if report.results else "") + after + "\n"


def _case(result: CellResult) -> ElementTree.Element:
    about = {
        "classname": visible(f"harness.{result.cell.model}"),
        "name": visible(result.cell.id),
        "time": f"{result.seconds:.3f}",
    }
    case = ElementTree.Element("testcase", about)
    if tag := TAGS.get(result.status):
        message = f"{result.status.value} at {result.stage.value}: {result.reason}"
        node = ElementTree.SubElement(case, tag, {"message": visible(message)})
        node.text = console.text(result)
    return case
