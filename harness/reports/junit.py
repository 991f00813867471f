"""``junit.xml``: a test case for each cell, for CI systems that show JUnit's reports."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from harness.core.files import written
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


def write(report: Report, folder: Path) -> Path:
    """Write ``junit.xml`` into ``folder``, whole or not at all."""
    tags = [TAGS.get(result.status) for result in report.results]
    counts = {
        "tests": len(tags),
        "failures": tags.count("failure"),
        "errors": tags.count("error"),
        "skipped": tags.count("skipped"),
        "time": f"{sum(result.seconds for result in report.results):.3f}",
    }
    attributes = {name: str(count) for name, count in counts.items()}
    suites = ElementTree.Element("testsuites", attributes)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "harness", **attributes})
    suite.extend(_case(result) for result in report.results)
    ElementTree.indent(suites)
    text = ElementTree.tostring(suites, "utf-8", xml_declaration=True)
    return written(folder / NAME, text + b"\n")


def _case(result: CellResult) -> ElementTree.Element:
    about = {
        "classname": f"harness.{result.cell.model}",
        "name": result.cell.id,
        "time": f"{result.seconds:.3f}",
    }
    case = ElementTree.Element("testcase", about)
    if tag := TAGS.get(result.status):
        message = f"{result.status.value} at {result.stage.value}: {result.reason}"
        node = ElementTree.SubElement(case, tag, {"message": _printable(message)})
        node.text = _printable(console.text(result))
    return case


def _printable(text: str) -> str:
    """Replace control characters, which XML does not allow."""
    return "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
