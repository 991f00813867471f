"""Two weight sets by two frameworks: each export against the oracle with the same weights.

Usage: python ci/four_way.py [MODEL ...]. The figures are the worst error ÷ tolerance of ONNX
Runtime on the CPU. Ends with 1 where one does not conform. Goldens and exports go to build/honest/.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from ci.honest.tally import Tally
from ci.honest.variations import transplanted
from harness.commands.run import Parser, ended
from harness.core.errors import (
    CONFORMS,
    DOES_NOT_CONFORM,
    NOTHING_COMPARED,
    NothingSelectedError,
)
from harness.validation import pipeline


def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="*", help="reference models (default: all with two twins)")
    args = parser.parse_args(argv)
    tally = Tally()
    ratios: dict[str, dict[tuple[str, str], float]] = {}
    ways = transplanted(args.model, lambda text: print(text, file=sys.stderr, flush=True))
    if not ways:
        raise NothingSelectedError("no selected model has a twin in both frameworks")
    for way, prepared in ways.items():
        for result in pipeline.judge(prepared, "", lambda _: None, lambda _: None).results:
            tally.see(f"{way[0]} weights in {way[1]}", result)
            worst = max((o.ratio for c in result.cases for o in c.outputs), default=float("inf"))
            ratios.setdefault(result.cell.model, {})[way] = worst
    print(f"{'weights → twin':<28}" + "".join(f"{w} → {t}".rjust(16) for w, t in ways) + "   worst")
    for model, row in ratios.items():
        cells = "".join(f"{row[way]:>16.3f}" for way in ways)
        print(f"{model:<28}{cells}{max(row.values()):>8.3f}")
    print(f"worst: {max(max(row.values()) for row in ratios.values()):.3f} of the tolerance")
    for line in tally.alarms:
        print(f"ALARM {line}")
    print(f"{tally.comparisons:,} comparisons, {len(tally.alarms)} alarms")
    if tally.alarms:
        return DOES_NOT_CONFORM
    return CONFORMS if tally.comparisons else NOTHING_COMPARED


if __name__ == "__main__":
    sys.exit(ended(main))
