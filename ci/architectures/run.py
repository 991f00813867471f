"""Export every architecture by every exporter that takes it, and write the table of docs.

Usage: python ci/architectures/run.py [-k TEXT] [--lengths N,N] [--json FILE] [--docs FILE]. What
was measured is kept in the JSON file, an outcome a line, and is not measured again while it is
there. A table has nothing that is not in that file. Ends with 1 where the default exporter's model
does not conform.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from ci.architectures import markdown
from ci.architectures.table import Architecture, architectures
from harness.commands.run import Parser, ended
from harness.core.errors import (
    CONFORMS,
    DOES_NOT_CONFORM,
    NOTHING_COMPARED,
    HarnessError,
    one_line,
)
from harness.shipping import user_model
from harness.shipping.request import Request

LENGTHS = "1,2,3,5,8,16,33,64,100"
FOUND = Path("build/architectures.jsonl")
DEFAULT = "default"
"""The exporter that nobody names: native, or the one that takes over."""
REFERENCE = ("native", "torch-dynamo", "torch-script", "tf2onnx", "keras-export")


@dataclass(frozen=True)
class Outcome:
    """``word`` is pass, fail or refused; ``by`` the exporter that wrote the graph, ``why`` what
    another did not; ``worst`` the largest error ÷ tolerance of ``cases``.
    """

    framework: str
    place: str
    kind: str
    exporter: str
    word: str
    by: str = ""
    reason: str = ""
    worst: float | None = None
    cases: int = 0


def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", default="", metavar="TEXT", help="words of framework/place, all")
    parser.add_argument("--lengths", default=LENGTHS, help="of nets that take every length")
    parser.add_argument("--json", type=Path, default=FOUND, metavar="FILE")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="write the table here")
    parser.add_argument("--exporter", metavar="NAME,NAME", help="'default', and stock ones")
    args = parser.parse_args(argv)
    found = list(_read(args.json))
    known = {(one.place, one.exporter) for one in found}
    args.json.parent.mkdir(parents=True, exist_ok=True)
    with args.json.open("a") as file:
        for one in _measured(args, known):
            found.append(one)
            print(f"{one.framework} {one.place} {one.exporter}: {one.word} {one.reason}"[:240])
            file.write(json.dumps(asdict(one)) + "\n")
            file.flush()
    if args.docs:
        args.docs.write_text(markdown.page(found))
    words = {one.word for one in found if one.exporter == DEFAULT}
    if not found:
        return NOTHING_COMPARED
    return DOES_NOT_CONFORM if "fail" in words else CONFORMS


def _read(path: Path) -> Iterator[Outcome]:
    if path.exists():
        for line in path.read_text().splitlines():
            yield Outcome(**json.loads(line))


def _measured(args: argparse.Namespace, known: set[tuple[str, str]]) -> Iterator[Outcome]:
    """Yield what is not known yet, of the default exporter first."""
    every = [
        one
        for one in architectures()
        if all(word in f"{one.framework}/{one.place}" for word in args.k.split())
    ]
    stock = [(one, name) for one in every for name in one.exporters[1:]]
    chosen = args.exporter.split(",") if args.exporter else None
    for one, exporter in [*((one, DEFAULT) for one in every), *stock]:
        if (one.place, exporter) not in known and (chosen is None or exporter in chosen):
            yield outcome(one, exporter, args.lengths)
    if not args.k and not chosen:
        yield from _reference_models(args.lengths, known)


def outcome(one: Architecture, exporter: str, lengths: str) -> Outcome:
    """Return what ``harness.export`` makes of an architecture; by default others take over."""
    given = (one.framework, one.place, one.kind, exporter)
    named = one.exporters[0] if exporter == DEFAULT else exporter
    with tempfile.TemporaryDirectory() as folder:
        try:
            request = Request(
                *(one.make(), Path(folder) / "bundle", one.description),
                lengths=[] if one.description.rules else [lengths],
                exporter=named,
                runtimes=["ort-cpu"],
                name=one.name,
                strict=exporter != DEFAULT,
            )
            notes: list[str] = []
            report, _ = user_model.ship(request, lambda result: None, note=notes.append)
        except HarnessError as error:
            return Outcome(
                *given,
                "refused",
                reason=str(error).partition("cannot be exported: ")[2] or str(error),
            )
        except Exception as error:  # of the net's own code
            return Outcome(*given, "refused", reason=one_line(error))
    (result,) = report.results
    worst = result.tally.worst
    ratio = result.cases[worst[0]].outputs[worst[1]].ratio if worst else None
    why = next((note for note in notes if note.startswith("exported by ")), "")
    reason = result.reason or why.partition(" instead of native: ")[2]
    by = result.cell.exporter
    return Outcome(*given, result.status.value, by, reason, ratio, len(result.cases))


def _reference_models(lengths: str, known: set[tuple[str, str]]) -> Iterator[Outcome]:
    """Yield the outcomes of the reference models, which the repository has goldens of."""
    place = "reference_models:"
    if any(at.startswith(place) for at, _ in known):
        return
    words = ["--exporter", ",".join(REFERENCE), "--runtime", "ort-cpu", "--lengths", lengths]
    command = [sys.executable, "-m", "harness.validate", *words, "--json", "-q"]
    report = json.loads(subprocess.run(command, capture_output=True, check=False).stdout)
    for result in report["results"]:
        model, framework, exporter, *_ = result["id"].split("/")
        word = {"xfail": "fail", "pass": "pass"}.get(result["status"], result["status"])
        if word == "fail" and result["stage"] == "export":
            word = "refused"
        name = DEFAULT if exporter == "native" else exporter
        yield Outcome(
            *(framework, place + model, "reference model, trained", name, word, exporter),
            result["reason"],
            cases=len(result["cases"]),
        )


if __name__ == "__main__":
    sys.exit(ended(main))
