"""Wall time of the default validation, as a multiple of the sum of its model loads and runs.

One ``validate`` of every reference model fills the cache; then ROUNDS more, whose loads and runs
are timed where they happen. Usage: python ci/bench/overhead.py [ROUNDS [ARGUMENT of validate …]]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

AT_MOST = 1.5
RESULT = "HARNESS_OVERHEAD_RESULT"
"""The environment variable that names the file to which a timed child writes its seconds"""


def timed(method: Callable[..., Any], name: str, spent: Counter[str]) -> Callable[..., Any]:
    """Return a method whose seconds are added to those of ``name``."""

    @wraps(method)
    def inner(*args: Any, **options: Any) -> Any:
        started = time.perf_counter()
        try:
            return method(*args, **options)
        finally:
            spent[name] += time.perf_counter() - started  # type: ignore[assignment]

    return inner


def child(arguments: list[str]) -> int:
    """Run ``validate`` in this process, with ONNX Runtime's loads and runs timed."""
    from harness.commands.run import ended
    from harness.runtimes.ort import OrtRuntime, OrtSession
    from harness.validate import main as validate

    spent: Counter[str] = Counter()
    OrtRuntime.prepare = timed(OrtRuntime.prepare, "loads", spent)  # type: ignore[method-assign]
    OrtSession.run = timed(OrtSession.run, "runs", spent)  # type: ignore[method-assign]
    status = ended(validate, arguments)
    Path(os.environ[RESULT]).write_text(f"{spent['loads']} {spent['runs']}")
    return status


def measured(arguments: list[str], scratch: Path) -> tuple[float, float, float]:
    """Return the wall time of a whole process, and its loads and runs, in seconds."""
    result = scratch / "seconds"
    command = [sys.executable, __file__, "--child", "--report-dir", str(scratch), "-q", *arguments]
    started = time.perf_counter()
    subprocess.run(command, check=True, env={**os.environ, RESULT: str(result)})
    wall = time.perf_counter() - started
    loads, runs = map(float, result.read_text().split())
    return wall, loads, runs


def main() -> int:
    if sys.argv[1:2] == ["--child"]:
        return child(sys.argv[2:])
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as folder:
        measured(sys.argv[2:], Path(folder))
        rows = [measured(sys.argv[2:], Path(folder)) for _ in range(rounds)]
    ratio = statistics.median(wall / (loads + runs) for wall, loads, runs in rows)
    for number, name in enumerate(("wall time", "loads", "runs")):
        print(f"{name:<12}{statistics.median(row[number] for row in rows):8.2f} s")
    print(f"{'ratio':<12}{ratio:8.2f}, at most {AT_MOST}")
    return 0 if ratio <= AT_MOST else 1


if __name__ == "__main__":
    sys.exit(main())
