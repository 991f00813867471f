"""Count comparisons and false alarms under honest variation.

Usage: python ci/false_alarms.py [MODEL ...] [--quick] [--json FILE]. Ends with 1 on any alarm, with
4 where nothing was compared. Of a long case those steps are compared that its golden stores. Needs
both frameworks; what it exports and measures is kept under build/.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from ci.honest.tally import Tally
from ci.honest.variations import FULL, QUICK, trials
from harness.commands.run import Parser, ended
from harness.core.errors import CONFORMS, DOES_NOT_CONFORM, NOTHING_COMPARED


def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("model", nargs="*", help="reference models (default: all)")
    parser.add_argument("--quick", action="store_true", help="short lengths, no new export")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every count here")
    args: argparse.Namespace = parser.parse_args(argv)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
    tally = Tally()
    for variation, result in trials(args.model, QUICK if args.quick else FULL, _progress):
        tally.see(variation, result)
    print("\n".join(tally.lines()))
    if args.json:
        args.json.write_text(json.dumps(tally.as_json(), indent=1) + "\n")
    if tally.alarms:
        return DOES_NOT_CONFORM
    return CONFORMS if tally.comparisons else NOTHING_COMPARED


def _progress(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(ended(main))
