"""What ``python -m harness.validate --help`` costs, as a multiple of importing ONNX Runtime.

The two commands run in turn, so that both see the same machine; the median of the paired ratios
counts. Usage: python ci/bench/help_cost.py [PAIRS]
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

HELP = [sys.executable, "-m", "harness.validate", "--help"]
IMPORT = [sys.executable, "-c", "import onnxruntime"]
AT_MOST = 1.5


def seconds(command: list[str]) -> float:
    started = time.perf_counter()
    subprocess.run(command, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> int:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    seconds(HELP), seconds(IMPORT)
    measured = [(seconds(HELP), seconds(IMPORT)) for _ in range(pairs)]
    ratio = statistics.median(a / b for a, b in measured)
    for name, column in (("validate --help", 0), ("import onnxruntime", 1)):
        print(f"{name:<20}{statistics.median(pair[column] for pair in measured):8.3f} s")
    print(f"{'ratio (paired)':<20}{ratio:8.2f}, at most {AT_MOST}")
    return 0 if ratio <= AT_MOST else 1


if __name__ == "__main__":
    sys.exit(main())
