"""Judge own nets, which are no reference models: right exports, and planted defects in them.

Usage: python ci/own_nets/run.py honest|mutants [-k TEXT] [--lengths N,N] [--json FILE]. ``honest``
ends with 1 on any false alarm, ``mutants`` where a defect that changes an output is missed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ci.own_nets import honest, mutants
from ci.own_nets.table import NETS, Net
from harness.commands.run import Parser, ended
from harness.core.errors import CONFORMS, DOES_NOT_CONFORM, NOTHING_COMPARED
from harness.mutation.study import CellStudy
from harness.mutation.trial import Verdict

LENGTHS = "1,2,3,5,8,16,33,64,100"


def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=("honest", "mutants"))
    parser.add_argument(
        "-k", default="", metavar="TEXT", help="words of framework/net/exporter, all of them"
    )
    parser.add_argument("--runtime", default=",".join(honest.RUNTIMES), metavar="NAME,NAME")
    parser.add_argument("--defect", action="append", metavar="NAME", help="as of harness.mutate")
    parser.add_argument("--lengths", default=LENGTHS, help="'default' for those of export")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every outcome here")
    args = parser.parse_args(argv)
    rows, status = (_honest if args.command == "honest" else _mutants)(args)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(rows, indent=1) + "\n")
    return status


def _selected(args: argparse.Namespace) -> Iterator[tuple[Net, str, Path]]:
    """Yield each net and exporter whose names have the words, with a folder for its bundle."""
    for net in NETS:
        for exporter in net.exporters:
            if all(word in f"{net.id}/{exporter}" for word in args.k.split()):
                with tempfile.TemporaryDirectory() as folder:
                    yield net, exporter, Path(folder) / "bundle"


def _lengths(args: argparse.Namespace) -> tuple[str, ...]:
    return () if args.lengths == "default" else (args.lengths,)


def _honest(args: argparse.Namespace) -> tuple[list[dict[str, object]], int]:
    runtimes = honest.available(args.runtime.split(","))
    rows = []
    for net, exporter, folder in _selected(args):
        for row in honest.outcomes(net, exporter, runtimes, _lengths(args), folder):
            rows.append(row)
            worst = "" if row.ratio is None else f"{row.ratio:.2f}"
            head = f"{row.net}/{row.exporter}".ljust(38) + row.runtime.ljust(16)
            print(f"{head}{row.word:<12}{worst:>10}  {row.reason}", flush=True)
    words = Counter(row.word for row in rows)
    exports = {(row.net, row.exporter) for row in rows if row.word == "pass"}
    nets = {net for net, _ in exports}
    counts = ", ".join(f"{count} {word}" for word, count in words.most_common())
    print(f"{counts}; {len(exports)} exports of {len(nets)} nets pass somewhere")
    verdict = DOES_NOT_CONFORM if words["ALARM"] else CONFORMS
    return [asdict(row) for row in rows], verdict if rows else NOTHING_COMPARED


def _mutants(args: argparse.Namespace) -> tuple[list[dict[str, object]], int]:
    counts: dict[str, Counter[Verdict]] = {}
    rows: list[dict[str, object]] = []
    for net, exporter, folder in _selected(args):
        cell = f"{net.id}/{exporter}"
        for result in mutants.studied(net, exporter, _lengths(args), args.defect or (), folder):
            if not isinstance(result, CellStudy):
                print(f"{cell:<38}not studied: {result}", flush=True)
                continue
            tally = Counter(trial.verdict for trial in result.trials)
            print(f"{cell:<38}{_text(tally)} in {result.seconds:.0f} s", flush=True)
            for trial in result.trials:
                rows.append({"cell": cell, **asdict(trial)})
                counts.setdefault(trial.defect, Counter())[trial.verdict] += 1
                if trial.verdict is Verdict.MISSED:
                    print(f"    missed: {trial.defect} at {trial.place}: {trial.reason}")
    for defect, tally in counts.items():
        print(f"{defect:<38}{_text(tally)}")
    missed = sum(tally[Verdict.MISSED] for tally in counts.values())
    verdict = DOES_NOT_CONFORM if missed else CONFORMS
    return rows, verdict if counts else NOTHING_COMPARED


def _text(tally: Counter[Verdict]) -> str:
    return ", ".join(f"{tally[verdict]:4d} {verdict.value}" for verdict in Verdict)


if __name__ == "__main__":
    sys.exit(ended(main))
