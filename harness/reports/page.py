"""``report.html``: one page that shows a report, in one file, without a network."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from harness import __version__
from harness.core import summary
from harness.core.errors import CONFORMS, DOES_NOT_CONFORM
from harness.core.files import written
from harness.core.names import visible
from harness.core.results import Report, Status
from harness.reports import columns, diagnoses

NAME = "report.html"
FOLDER = Path(__file__).with_name("html")
SHOWN = 12
"""How many models, and the like, are named at the top."""
VERDICTS = {CONFORMS: "Conforms", DOES_NOT_CONFORM: "Does not conform"}


def dumps(report: Report) -> str:
    """Return the page, without a diagnosis."""
    return "".join(_texts(report, lambda result: []))


def write(report: Report, folder: Path) -> Path:
    """Write ``report.html`` into ``folder``, whole or not at all."""
    texts = _texts(report, partial(diagnoses.lines, folder))
    return written(folder / NAME, (text.encode() for text in texts))


def _texts(report: Report, diagnosis: columns.Diagnosis) -> Iterator[str]:
    """Yield the page, a cell at a time."""
    loader = FileSystemLoader(FOLDER)
    made = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    styles, scripts = (
        [(FOLDER / name).read_text("utf-8") for name in names]
        for names in (
            ("report.css",),
            ("uplot.js", "charts.js", "cell.js", "report.js"),
        )
    )
    code = summary.exit_code(report)
    return made.get_template("report.html").generate(
        policy=_policy(styles, scripts),
        styles=map(Markup, styles),
        scripts=map(Markup, scripts),
        data=map(Markup, columns.parts(report, diagnosis)),
        verdict=_verdict(report, code),
        kind={CONFORMS: "good", DOES_NOT_CONFORM: "bad"}.get(code, "none"),
        line=summary.line(report),
        counts={s.value: n for s in Status if (n := report.summary[s.value])},
        partial=report.partial,
        compared={heading: _some(names) for heading, names in _about(report).items()},
        date=_date(report.environment),
        machines=_machines(report.environment),
        command=visible(report.command),
        version=__version__,
    )


def _verdict(report: Report, code: int) -> str:
    known = report.summary[Status.XFAIL]
    but = f", but for {summary.count(known, 'expected failure')}" if known else ""
    return VERDICTS.get(code, "Nothing was compared") + (but if code == CONFORMS else "")


def _about(report: Report) -> Mapping[str, list[str]]:
    """Return the models, frameworks, exports and runtimes of a report, each once, by heading."""
    found: dict[str, dict[str, None]] = {"Models": {}, "Frameworks": {}, "Exports": {}}
    runtimes: dict[str, set[str]] = {}
    for result in report.results:
        cell = result.cell
        found["Models"][cell.model] = None
        found["Frameworks"][cell.framework] = None
        found["Exports"][f"{cell.exporter} {cell.variant}"] = None
        version = result.evidence.get("version")
        runtimes.setdefault(cell.runtime, set()).update(
            [version] if isinstance(version, str) else []
        )
    return {
        **{heading: list(names) for heading, names in found.items()},
        "Runtimes": [f"{n} {', '.join(sorted(v))}".rstrip() for n, v in runtimes.items()],
    }


def _policy(styles: list[str], scripts: list[str]) -> str:
    """Return the policy by which the page runs our scripts alone, and asks for nothing."""
    sources = {"style-src": styles, "script-src": scripts}
    allowed = {kind: " ".join(map(_hash, texts)) for kind, texts in sources.items()}
    rules = [f"{kind} {hashes}" for kind, hashes in allowed.items()]
    return "; ".join(["default-src 'none'", "img-src data:", *rules, "base-uri 'none'"])


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else ""
    return visible(", ".join(names[:SHOWN])) + more


def _date(environment: Mapping[str, Any]) -> str:
    """Return when a report was made, or the first and the last of those that it is made of."""
    dates = sorted(str(each["date"]) for each in _each(environment) if "date" in each)
    return visible(" to ".join(dict.fromkeys([*dates[:1], *dates[-1:]])))


def _machines(environment: Mapping[str, Any]) -> list[str]:
    """Return each machine with its libraries, in words, once."""
    other = ("date", "reports", "shard")
    texts = (
        ", ".join(f"{name} {value}" for name, value in each.items() if name not in other)
        for each in _each(environment)
    )
    return list(dict.fromkeys(visible(text) for text in texts if text))[:SHOWN]


def _each(environment: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the environments of the reports that were merged; else the one there is."""
    reports = environment.get("reports")
    parts = reports if isinstance(reports, list) else []
    inner = [part.get("environment") for part in parts if isinstance(part, Mapping)]
    return [each for each in inner if isinstance(each, Mapping)] or [environment]
