"""How long ``harness.merge`` takes over large reports, and how much memory.

Usage: python ci/bench/merge_memory.py [REPORTS [COMPARISONS]], by default 10 of 500,000. It makes
reports of many cells, of one cell each, and of all the same cells; each set is merged in a process
of its own, and its seconds and peak memory are printed.
"""

from __future__ import annotations

import random
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
            paths = [_made(Path(folder, str(n)), shape, n, comparisons) for n in range(reports)]
            size = sum(path.stat().st_size for path in paths) / len(paths) / 1e6
            command = [sys.executable, "-c", MERGE, *map(str, paths), "-q", "-o", folder]
            began = time.perf_counter()
            ended = subprocess.run(command, capture_output=True, text=True, check=True)
            seconds = time.perf_counter() - began
        counted, peak = ended.stdout.splitlines()
        print(f"{shape}: {reports} reports of {size:.0f} MB: {seconds:.0f} s, ", end="")
        print(f"peak {int(peak) / 1024:.0f} MB; {counted.partition(':')[0]}", flush=True)
    return 0


def _made(folder: Path, shape: str, number: int, comparisons: int) -> Path:
    """Write one report and return its path."""
    cells = 1 if "one" in shape or shape.endswith("cell") else max(1, comparisons // IN_A_CELL)
    model = "same" if "same" in shape else f"own{number}"
    draw = random.Random(number).random
    results = []
    for cell in range(cells):
        cases = [_case(n, draw()) for n in range(comparisons // cells)]
        about = Cell(f"{model}_{cell}", "torch", "native", "fp32", "ort-cpu")
        replay = f"python -m harness.validate {about.model} --framework torch --runtime ort-cpu"
        results.append(
            CellResult(about, Status.PASS, Stage.COMPARE, "", EVIDENCE, cases, 0.5, replay)
        )
    return json_file.write(Report("python -m harness.validate", {}, tuple(results)), folder)


def _case(number: int, ratio: float) -> CaseResult:
    output = OutputComparison(
        "y", ratio * 6.1e-7, ratio, 5, 1.1e-7, 6.1e-7, ratio * 6.1e-7 / 6.1e-7, (0, 0, 5), 0
    )
    case = Case({"steps": number + 1}, 3)
    return CaseResult(case, Status.PASS, Stage.COMPARE, "", (output,), 0.000696)


if __name__ == "__main__":
    sys.exit(main())
