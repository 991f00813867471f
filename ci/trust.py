"""Tables of what the harness catches and of its false alarms, from the evidence in golden/.

Usage: python ci/trust.py [--from DIR]. With ``--from build/nightly`` it first takes what
``ci/nightly.sh`` left there as the new evidence, without the single trials. It then writes the
tables into docs/evidence.md, their sums into README.md, and docs/defects.md with every kind of
defect.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from readme import EVIDENCE as TABLES
from readme import README, write

ROOT = README.parent
EVIDENCE = ROOT / "golden" / "evidence"
DEFECTS = ROOT / "docs" / "defects.md"
NAMES = ("mutation.json", "false_alarms.json")
HEAD = """# Planted defects

Every kind of defect that `python -m harness.mutate` plants, one at a time and wherever it can be,
in the native exports of all reference models. Caught means that `validate --every-step` fails the
model; equivalent, that float64 gives the same outputs on every golden case up to length 129, the
longest one, and inputs that are in no golden. *By T* is the greatest of the shortest lengths at
which its mutants fail, *least ratio* the least error ÷ tolerance there. Written by `ci/trust.py`.
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--from", dest="source", type=Path, metavar="DIR")
    source = parser.parse_args().source or EVIDENCE
    missing = [str(source / name) for name in NAMES if not (source / name).is_file()]
    if missing:
        print(f"error: no such file: {', '.join(missing)}", file=sys.stderr)
        return 2
    mutation, alarms = (json.loads((source / name).read_text()) for name in NAMES)
    if mutation.get("partial"):
        print(f"error: {source / NAMES[0]} is partial", file=sys.stderr)
        return 2
    every = HEAD + "\n" + "\n".join(kinds(mutation)) + "\n"
    for cell in mutation["cells"]:
        cell.pop("trials", None)
    EVIDENCE.mkdir(exist_ok=True)
    for name, report in zip(NAMES, (mutation, alarms), strict=True):
        (EVIDENCE / name).write_text(json.dumps(report, separators=(",", ":")) + "\n")
    write(TABLES, "defects", "\n".join(families(mutation)))
    write(TABLES, "limits", "\n".join(limits(mutation)))
    write(TABLES, "alarms", "\n".join(variations(alarms)))
    write(README, "headline", headline(mutation, alarms))
    DEFECTS.write_text(every)
    return 0


def headline(mutation: dict[str, Any], alarms: dict[str, Any]) -> str:
    """Return how many planted defects each rule catches, and how many alarms are false."""
    kinds = mutation["kinds"]
    caught = sum(kind["caught"] for kind in kinds)
    real = sum(kind["mutants"] - kind["equivalent"] for kind in kinds)
    by_peer: Counter[str] = Counter()
    for kind in kinds:
        by_peer.update(kind["peers"])
    peers = ", ".join(f"{peer} {count:,}" for peer, count in by_peer.most_common())
    return (
        f"- **{caught:,} of {real:,} planted defects** of {len(kinds)} kinds are caught; by the"
        f" default rules of other tools: {peers}.\n"
        f"- **{len(alarms['alarms'])} false alarms** in {alarms['comparisons']:,} honest"
        " comparisons. All tables: [docs/evidence.md](docs/evidence.md)."
    )


def families(report: dict[str, Any]) -> Iterator[str]:
    """Yield one row a family of defects: how many are caught, by us and by each peer."""
    peers = sorted({peer for kind in report["kinds"] for peer in kind["peers"]})
    yield f"| defects | kinds | equivalent | **caught** | {' | '.join(peers)} |"
    yield "| --- " + "| ---: " * (3 + len(peers)) + "|"
    groups: dict[str, list[dict[str, Any]]] = {}
    for kind in report["kinds"]:
        groups.setdefault(kind["family"], []).append(kind)
    for name, group in [*groups.items(), ("**all**", report["kinds"])]:
        real = sum(kind["mutants"] - kind["equivalent"] for kind in group)
        counts = [sum(kind["peers"].get(peer, 0) for kind in group) for peer in peers]
        caught = sum(kind["caught"] for kind in group)
        theirs = " | ".join(f"{count:,}" for count in counts)
        equivalent = sum(kind["equivalent"] for kind in group)
        title = name.removeprefix("Defects of ").removeprefix("Defects in ")
        yield (
            f"| {title.removeprefix('Defects that show ')} | {len(group)} | {equivalent:,}"
            f" | **{caught:,} of {real:,}** | {theirs} |"
        )
    for cell in report["cells"]:
        for peer in cell["alarming_peers"]:
            where = "/".join(cell["id"].split("/")[:2])
            yield f"\n{peer} refuses the unchanged `{where}`: its catches there do not count."


def limits(report: dict[str, Any]) -> Iterator[str]:
    """Yield one row a cell: the smallest graded defects that are caught, and the honest margin."""
    by_cell: dict[str, dict[str, Any]] = {}
    for limit in report["limits"]:
        by_cell.setdefault(limit["cell"], {})[limit["defect"]] = limit
    yield (
        "| model | one weight changed, relative: best | median | worst | never caught up to 1e-02"
        " | noise at one step: worst sampled | any value, any sign | honest error |"
    )
    yield "| --- " + "| ---: " * 7 + "|"
    for cell in report["cells"]:
        weight = by_cell[cell["id"]]["one-weight-changed"]
        noise = by_cell[cell["id"]]["noise-at-one-step"]
        yield (
            f"| `{'/'.join(cell['id'].split('/')[:2])}` | {_sizes(weight, '.0e')}"
            f" | {weight['never']} of {weight['places']}"
            f" | {_at_worst(noise)}"
            f" | {cell['noise_bound']:.1f} floors | {cell['honest_ratio']:.2f} x tolerance |"
        )


def _sizes(limit: dict[str, Any], form: str) -> str:
    """Return the smallest sizes caught: the best, the median and the worst place's."""
    sizes = (limit[key] for key in ("best", "middle", "worst"))
    return " | ".join("none" if size is None else format(size, form) for size in sizes)


def _at_worst(limit: dict[str, Any]) -> str:
    """Return the worst place's size, in noise floors, and at how many places none is caught."""
    never = f", never at {limit['never']} of {limit['places']} places" if limit["never"] else ""
    return ("none" if limit["worst"] is None else f"{limit['worst']:g} floors") + never


def kinds(report: dict[str, Any]) -> Iterator[str]:
    """Yield every kind with its sentence, under its family."""
    family = ""
    for kind in [*report["kinds"], *report["graded"]]:
        if kind["family"] != family:
            family = kind["family"]
            yield from ("", f"## {family}", "")
            yield "| kind | what is wrong | caught | equivalent | at stage | by T | least ratio |"
            yield "| --- | --- | ---: | ---: | --- | ---: | ---: |"
        real = kind["mutants"] - kind["equivalent"]
        stages = ", ".join(f"{stage} {number}" for stage, number in kind["stages"].items())
        ratio = "" if kind["ratio"] is None else f"{kind['ratio']:.3g}"
        yield (
            f"| `{kind['defect']}` | {kind['sentence']} | {kind['caught']} of {real}"
            f" | {kind['equivalent'] or ''} | {stages} | {kind['length'] or ''} | {ratio} |"
        )


def variations(report: dict[str, Any]) -> Iterator[str]:
    """Yield one row an honest variation, then the margin of each runtime."""
    yield "| variation | comparisons | alarms | worst error |"
    yield "| --- | ---: | ---: | ---: |"
    for name, count in report["variations"].items():
        worst = f"{count['worst']['ratio']:.2f} x tolerance"
        yield f"| {name} | {count['comparisons']:,} | {count['alarms']} | {worst} |"
    yield f"| **all** | **{report['comparisons']:,}** | **{len(report['alarms'])}** | |"
    yield ""
    for name, runtime in report["runtimes"].items():
        over = ", ".join(
            f"{count} above {floors}"
            for floors, count in runtime["over"].items()
            if int(floors) > 2
        )
        yield (
            f"`{name}`: `k` is {runtime['k']:g}, the worst honest error"
            f" {runtime['worst_floors']:.2f} noise floors; of {runtime['comparisons']:,}"
            f" comparisons {over}."
        )


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FileNotFoundError as error:
        sys.exit(f"error: {error.filename} is missing; ci/nightly.sh makes it")
