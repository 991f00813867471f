"""Export every architecture by every exporter that takes it, and write the table of docs.

Usage: python ci/architectures/run.py [-k TEXT] [--lengths N,N] [--eager] [--json FILE] [--docs
FILE]. What was measured is kept in the JSON file, an outcome a line, and is not measured again
while it is there. A table has nothing that is not in that file. Ends with 1 where the default
exporter's model does not conform or, with --eager, departs from the model itself in float64.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from ci.architectures import eager, float64, markdown
from ci.architectures.table import Architecture, architectures
from harness.commands.run import Parser, ended
from harness.core.errors import (
    CONFORMS,
    DOES_NOT_CONFORM,
    NOTHING_COMPARED,
    HarnessError,
    one_line,
)
from harness.exporting import bundle
from harness.shipping import user_model
from harness.shipping.request import Request

LENGTHS = "1,2,3,5,8,16,33,64,100"
FOUND = Path("build/architectures.jsonl")
DEFAULT = "default"
"""The exporter that nobody names: native, or the one that takes over."""
OURS = "reference_models:"
REFERENCE = ("native", "torch-dynamo", "torch-script", "tf2onnx", "keras-export")


@dataclass(frozen=True)
class Outcome:
    """``word`` is pass, fail or refused; ``by`` the exporter that wrote the graph, ``why`` what
    another did not; ``worst`` the largest error ÷ tolerance of ``cases``. ``eager`` is what
    ``eager.agreement`` found, in figures; a graph that it rejects is a fail.
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
    eager: Mapping[str, Any] | None = None

    @property
    def checkable(self) -> bool:
        return self.exporter == DEFAULT and self.word == "pass" and not self.place.startswith(OURS)


def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("-k", default="", metavar="TEXT", help="words of framework/place, all")
    parser.add_argument("--lengths", default=LENGTHS, help="of nets that take every length")
    parser.add_argument(
        "--eager", action="store_true", help="run the default exporter's graphs beside their models"
    )
    parser.add_argument("--json", type=Path, default=FOUND, metavar="FILE")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="write the table here")
    parser.add_argument("--exporter", metavar="NAME,NAME", help="'default', and stock ones")
    args = parser.parse_args(argv)
    found = [one for one in _read(args.json) if one.eager or not (args.eager and one.checkable)]
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
            yield outcome(one, exporter, args.lengths, args.eager and exporter == DEFAULT)
    if not args.k and not chosen:
        yield from _reference_models(args.lengths, known)


def outcome(one: Architecture, exporter: str, lengths: str, beside: bool = False) -> Outcome:
    """Return what ``harness.export`` makes of an architecture; by default others take over.

    What it writes is also run ``beside`` the model itself in float64.
    """
    given = (one.framework, one.place, one.kind, exporter)
    named = one.exporters[0] if exporter == DEFAULT else exporter
    try:
        net = one.make()
    except Exception as error:  # of the net's own code
        return Outcome(*given, "refused", reason=one_line(error))
    model = float64.of(one.framework, net, one.make) if beside else None
    with tempfile.TemporaryDirectory() as folder:
        try:
            request = Request(
                *(net, Path(folder) / "bundle", one.description),
                lengths=[] if one.description.rules else [lengths],
                exporter=named,
                runtimes=["ort-cpu"],
                name=one.name,
                strict=exporter != DEFAULT,
            )
            notes: list[str] = []
            report, written = user_model.ship(request, lambda result: None, note=notes.append)
        except HarnessError as error:
            return Outcome(
                *given,
                "refused",
                reason=str(error).partition("cannot be exported: ")[2] or str(error),
            )
        except Exception as error:  # of the net's own code
            return Outcome(*given, "refused", reason=one_line(error))
        path, found = request.output / bundle.MODEL, None
        if model and written:
            told = bundle.read(request.output).manifest["refused"]
            found = eager.agreement(path, model, one.description, told)
    (result,) = report.results
    worst = result.tally.worst
    ratio = result.cases[worst[0]].outputs[worst[1]].ratio if worst else None
    why = next((note for note in notes if note.startswith("exported by ")), "")
    reason = result.reason or why.partition(" instead of native: ")[2]
    by, word = result.cell.exporter, result.status.value
    if found and found.wrong:
        word, reason = "fail", f"apart from the model in float64: {found.wrong[0]}"
    figures = found.figures() if found else None
    return Outcome(*given, word, by, reason, ratio, len(result.cases), figures)


def _reference_models(lengths: str, known: set[tuple[str, str]]) -> Iterator[Outcome]:
    """Yield the outcomes of the reference models, which the repository has goldens of."""
    if any(at.startswith(OURS) for at, _ in known):
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
            *(framework, OURS + model, "reference model, trained", name, word, exporter),
            result["reason"],
            cases=len(result["cases"]),
        )


if __name__ == "__main__":
    sys.exit(ended(main))
