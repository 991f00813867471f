"""How long ``native`` takes to export each reference model, the framework being imported.

One process a framework; the first export is told apart, since a framework goes on importing while
it first exports. Usage: python ci/bench/export_time.py [keras|torch]
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from harness.graphs.example import example_inputs, weight_sizes

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

AT_MOST = 3.0


def measure(framework: str) -> int:
    """Export every model of one framework; the number that took longer than ``AT_MOST``."""
    from harness.core.registry import resolve
    from harness.exporters import EXPORTERS
    from harness.frameworks import FRAMEWORKS
    from harness.goldens import store
    from reference_models import catalog

    adapter = resolve(FRAMEWORKS[framework])
    export = resolve(EXPORTERS[f"native/{framework}"])
    slow = 0
    for name in catalog.MODELS:
        spec = catalog.load(name)
        if framework not in spec.frameworks:
            continue
        parameters = store.read(ROOT / "golden" / name / framework).parameters()
        twin = catalog.part(spec, f"{framework}_twin")
        model = adapter.build(twin, spec, parameters)
        example = example_inputs(spec, weight_sizes(parameters))
        times = []
        for _ in range(2):
            started = time.perf_counter()
            export(model, spec, example, 18)
            times.append(time.perf_counter() - started)
        slow += times[1] > AT_MOST
        print(f"{framework:<8}{name:<28}{times[0]:6.2f} s, again {times[1]:6.2f} s", flush=True)
    return slow


def main() -> int:
    if len(sys.argv) > 1:
        return measure(sys.argv[1])
    script = str(Path(__file__))
    slow = [subprocess.run([sys.executable, script, f]).returncode for f in ("keras", "torch")]
    print(f"{sum(slow)} exports took longer than {AT_MOST:g} s")
    return min(sum(slow), 1)


if __name__ == "__main__":
    sys.exit(main())
