"""Findings as text, as JSON, as annotations of GitHub Actions, and as SARIF 2.1.0."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Final, Literal
from urllib.parse import quote

from msgspec import Struct, to_builtins

from harness import __version__
from harness.core.escaping import line
from harness.core.names import visible
from harness.core.summary import count
from harness.linting import linter
from harness.linting.finding import Finding

SCHEMA: Final = 1
SARIF_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
ByFile = Mapping[str, Sequence[Finding]]
_COMMAND_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_COMMAND_PROPERTY = {**_COMMAND_DATA, ord(":"): "%3A", ord(","): "%2C"}
_WINDOWS = re.compile(r"^[A-Za-z]:[\\/]")


class LintedFile(Struct, forbid_unknown_fields=True):
    file: str
    findings: Sequence[Finding]


class LintFile(Struct, forbid_unknown_fields=True):
    """The findings of every file."""

    schema: Literal[1]
    files: list[LintedFile]


def as_text(by_file: ByFile) -> Iterator[str]:
    """Yield each file with its findings below it, and how many there are."""
    for file, findings in by_file.items():
        yield line(file)
        for finding in findings:
            yield line(f"  {finding.severity:<8} {finding}")
    severities = [finding.severity for findings in by_file.values() for finding in findings]
    counts = (count(severities.count(kind), kind) for kind in ("error", "warning"))
    yield f"{count(len(by_file), 'file')}: {', '.join(counts)}"


def as_json(by_file: ByFile) -> Iterator[str]:
    """Yield one JSON text."""
    files = [LintedFile(file, findings) for file, findings in by_file.items()]
    yield json.dumps(to_builtins(LintFile(SCHEMA, files)), indent=1)


def as_github(by_file: ByFile) -> Iterator[str]:
    """Yield a workflow command for each finding, which GitHub shows at the file."""
    for file, findings in by_file.items():
        name = line(file).translate(_COMMAND_PROPERTY)
        for finding in findings:
            title = finding.rule.translate(_COMMAND_PROPERTY)
            text = line(f"{finding.place}: {finding.found}; {finding.remedy}")
            message = text.translate(_COMMAND_DATA)
            yield f"::{finding.severity} file={name},title={title}::{message}"


def as_sarif(by_file: ByFile) -> Iterator[str]:
    """Yield one SARIF log: one run, the rules it may report, and a result for each finding."""
    sentences = linter.rules()
    used = sorted({finding.rule for findings in by_file.values() for finding in findings})
    driver = {
        "name": "onnx-sequence-harness",
        "version": __version__,
        "rules": [
            {"id": rule, "shortDescription": {"text": sentences.get(rule, rule)}} for rule in used
        ],
    }
    results = [
        {
            "ruleId": finding.rule,
            "ruleIndex": used.index(finding.rule),
            "level": finding.severity,
            "message": {"text": visible(f"{finding.found}; {finding.remedy}")},
            "locations": [
                {
                    "physicalLocation": {"artifactLocation": {"uri": _uri(file)}},
                    "logicalLocations": [{"fullyQualifiedName": visible(finding.place)}],
                }
            ],
        }
        for file, findings in by_file.items()
        for finding in findings
    ]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    yield json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=1)


def _uri(file: str) -> str:
    """Return a path as a URI reference: absolute ones with the scheme ``file``."""
    path = PurePath(file).as_posix().replace("\\", "/")
    quoted = quote(path.encode("utf-8", "surrogateescape"), safe="/")
    if path.startswith("/"):
        return f"file://{quoted}"
    if _WINDOWS.match(path):
        return f"file:///{quote(path, safe='/:')}"
    return f"./{quoted}" if ":" in path.partition("/")[0] else quoted


FORMATS: dict[str, Callable[[ByFile], Iterator[str]]] = {
    "text": as_text,
    "json": as_json,
    "github": as_github,
    "sarif": as_sarif,
}
