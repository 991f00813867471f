"""How long ``harness.merge`` takes over large reports, and how much memory.

Usage: python ci/bench/merge_memory.py [REPORTS [COMPARISONS]], by default 10 of 500,000. It makes
reports of many cells, of one cell each, and of all the same cells; each set is merged in a process
of its own, and its seconds and peak memory are printed.
"""

from __future__ import annotations

import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from harness.core.results import CaseResult, Cell, CellResult, OutputComparison, Report, Status
from harness.core.schema import Case, Stage
from harness.reports import json_file

DEFAULTS = (10, 500_000)
SHAPES = ("many cells", "one cell each", "the same cells", "the same cell")
IN_A_CELL = 100
MODEL = "tagger"
MERGE = """
import resource, sys
from harness import merge
assert merge.main(sys.argv[1:]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
EVIDENCE = {
    "providers": ["CPUExecutionProvider"],
    "version": "1.31.0",
    "tolerance": {"row": "ort-cpu", "k": 6.0, "reason": "the default"},
}


def main() -> int:
    given = [int(text) for text in sys.argv[1:]]
    reports, comparisons = (*given, *DEFAULTS[len(given) :])
    for shape in SHAPES:
        with tempfile.TemporaryDirectory() as folder:
            paths = _made(Path(folder), shape, reports, comparisons)
            size = paths[0].stat().st_size / 1e6
            command = [sys.executable, "-c", MERGE, *map(str, paths), "-q", "-o", folder]
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            began = time.perf_counter()
            ended = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds = time.perf_counter() - began
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
        last_line, peak = ended.stdout.splitlines()
        counted = last_line.partition(":")[0]
        busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(f"{shape}: {reports} reports of {size:.0f} MB: {seconds:.0f} s, of which the", end="")
        print(f" processor {busy:.0f} s, peak {int(peak) / 1024:.0f} MB; {counted}", flush=True)
    return 0


def _made(folder: Path, shape: str, reports: int, comparisons: int) -> list[Path]:
    """Write the reports and return their paths."""
    cells = 1 if shape in ("one cell each", "the same cell") else max(1, comparisons // IN_A_CELL)
    draw = random.Random(0).random
    results = []
    for cell in range(cells):
        cases = [_case(number, draw()) for number in range(comparisons // cells)]
        about = Cell(f"{MODEL}_{cell}", "torch", "native", "fp32", "ort-cpu")
        replay = f"python -m harness.validate {about.model} --framework torch --runtime ort-cpu"
        results.append(
            CellResult(about, Status.PASS, Stage.COMPARE, "", EVIDENCE, cases, 0.5, replay)
        )
    report = Report("python -m harness.validate", {}, tuple(results))
    first = json_file.write(report, folder / "0")
    paths = [first, *(folder / str(number) / json_file.NAME for number in range(1, reports))]
    for number, path in enumerate(paths[1:], 1):
        path.parent.mkdir()
        own = MODEL if "same" in shape else f"{MODEL}{number}"
        with first.open() as lines, path.open("w") as file:
            file.writelines(line.replace(f"{MODEL}_", f"{own}_") for line in lines)
    return paths


def _case(number: int, ratio: float) -> CaseResult:
    output = OutputComparison(
        "y", ratio * 6.1e-7, ratio, 5, 1.1e-7, 6.1e-7, ratio * 6.1e-7 / 6.1e-7, (0, 0, 5), 0
    )
    case = Case({"steps": number + 1}, 3)
    return CaseResult(case, Status.PASS, Stage.COMPARE, "", (output,), 0.000696)


if __name__ == "__main__":
    sys.exit(main())
