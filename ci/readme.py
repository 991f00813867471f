"""Write the transcript in README.md and the exporters' table in docs/evidence.md, from a run.

Usage: python ci/readme.py. It runs ``python -m harness.validate`` twice, once as a newcomer does
and once with every exporter, and replaces what stands between the markers.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

README = Path(__file__).parents[1] / "README.md"
EVIDENCE = README.parent / "docs" / "evidence.md"
EXPORTERS = {
    "keras": ("native", "tf2onnx", "keras-export"),
    "torch": ("native", "torch-dynamo", "torch-script"),
}


def validate(*flags: str) -> tuple[str, dict[str, Any]]:
    """Return what a run prints, and its report."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "harness.validate", *flags, "--report-dir", folder]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        report = json.loads((Path(folder) / "report.json").read_text())
    return re.sub(r"; report: .*", "", result.stdout), report


def transcript(printed: str) -> str:
    """Return the first lines and the last one of what a run prints."""
    lines = printed.rstrip().splitlines()
    shown = [*lines[:3], "…", *lines[-1:]] if len(lines) > 5 else lines
    return "\n".join(["```console", "$ make validate", *shown, "```"])


def table(report: dict[str, Any]) -> str:
    """Return one row for each twin, one column for each exporter; below, the failures' reasons."""
    results = {result["id"]: result for result in report["results"]}
    models = list(dict.fromkeys(name.split("/")[0] for name in results))
    rows: list[str] = []
    notes: list[str] = []
    for framework, exporters in EXPORTERS.items():
        rows += [f"| {framework} | {' | '.join(exporters)} |", "| --- " * 4 + "|"]
        for model in models:
            cells = [
                results.get(f"{model}/{framework}/{exporter}/fp32/ort-cpu")
                for exporter in exporters
            ]
            if any(cells):
                squares = " | ".join(_square(cell, notes) for cell in cells)
                rows.append(f"| `{model}` | {squares} |")
        rows.append("")
    return "\n".join([*rows, *(f"{number}. {note}" for number, note in enumerate(notes, 1))])


def _square(result: dict[str, Any] | None, notes: list[str]) -> str:
    if result is None:
        return ""
    if result["status"] == "pass":
        worst = max(o["ratio"] for case in result["cases"] for o in case["outputs"])
        return f"conforms ({worst:.2f})"
    reason = result["reason"].partition(": ")[0]
    if reason not in notes:
        notes.append(reason)
    return f"**fails at {result['stage']}** [{notes.index(reason) + 1}]"


def replaced(text: str, marker: str, content: str) -> str:
    """Return ``text`` with ``content`` between the two comments that ``marker`` names."""
    begin, end = f"<!-- {marker}: generated -->", f"<!-- {marker}: end -->"
    head, _, after = text.partition(begin)
    _, _, tail = after.partition(end)
    return f"{head}{begin}\n{content}\n{end}{tail}"


def write(path: Path, marker: str, content: str) -> None:
    """Write ``content`` between the two comments of ``path`` that ``marker`` names."""
    path.write_text(replaced(path.read_text(), marker, content))


def main() -> int:
    write(README, "transcript", transcript(validate("--every-step")[0]))
    write(EVIDENCE, "exporters", table(validate("--exporter", "all")[1]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
