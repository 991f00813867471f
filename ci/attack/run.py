"""The table of hostile artefacts: each is made anew and given to the command that reads it.

A row fails where the command ends with another exit code, does not say what it must, or has any of
the faults that ``faults`` knows: a traceback, a signal, a hang, an error of many lines, a file
outside of the folder that was asked for, code that ran. The exit code is 1 where one does.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import artefacts as made
import faults
import payloads
import sources
import tries
from artefacts import Row, cases, document, golden, linked, model, replaced, then, weights
from kinds import JUDGED, SAVED, SMALL, STEPS

VALIDATE, CONVERT = f"validate in/bundle {STEPS}", "convert in/bundle -o out/t"
FILE = f"in/bundle/model.onnx --golden in/bundle/golden {STEPS}"
TESTS = f"validate in/tests {STEPS}"
ISOLATED = "validate in/tests --report-dir out/report --artifacts out/artifacts"
LOAD = f"validate in/bundle --load-outputs in/saved {JUDGED}"
MERGE = "merge in/report.json -o out/m"
TOML = f"export in/graph.onnx --inputs in/inputs.toml --runtime ort-cpu {SMALL}"
EXPECT = f"validate in/bundle --expectations in/expect.toml {STEPS}"
READ_BY = {
    "bundle/golden/manifest.json": f"validate {FILE}",
    "bundle/manifest.json": VALIDATE,
    "report.json": MERGE,
    f"{SAVED}/manifest.json": LOAD,
}
PARTS = ("model.onnx", "manifest.json", "account.json")
NAMES = {
    "newline": "a\nb",
    "escape": "a\x1b[2K\x1b[1Ab",
    "command": "a\n::error file=x::boo",
    "markup": "<script>alert(1)</script>",
}
C_LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
ANY = (0, 1, 2, 3, 4)
Alone = partial(Row, fresh=True)


def table() -> Iterator[Row]:
    """Yield every row; those of one subject stand together."""
    yield Row("no step compared, weights x 3", then(weights(3.0), golden(made.no_step)), VALIDATE)
    for value in (1e30, True, "1e9", float("nan"), float("inf"), 1e308, -1.0, [1], 10**400):
        yield Row(f"noise {str(value)[:9]}", made.noise(value), VALIDATE)
    for sizes in ({"sequence": 0}, {"sequence": -1}, {"sequence": 2**40}, {"sequence": 2**62}, {}):
        yield Row(f"lengths {sizes}", cases(lambda e, s=sizes: e.update(lengths=s)), VALIDATE)
    for batch in (0, -1, 2**40, True, 1.5):
        yield Row(f"batch {batch}", cases(lambda e, b=batch: e.update(batch=b)), VALIDATE)
    for name, change in made.FORMULAS.items():
        yield Row(f"a formula that is {name}", change, VALIDATE, (1, 2))
    yield from _reports()
    tf32 = document(f"{SAVED}/manifest.json", lambda m: m["evidence"].update(tf32=True))
    yield Row("saved outputs in TF32", tf32, LOAD, (0, 1, 2), "TF32", tree="good")
    yield from _names()
    for command in (VALIDATE, CONVERT):
        for file in (*PARTS, "golden", "golden/cases.safetensors"):
            yield Row(f"{file} is a link out", linked(f"bundle/{file}"), command, tree="good")
        yield Row("weights.file leads out", made.weights_elsewhere, command, tree="good")
        yield Row("external data altered", made.altered_outside, command, (1, 2), tree="good")
    outside = model(lambda m: made.outside(m, "../../../../etc/passwd") and None)
    yield Row("external data leads out", outside, VALIDATE, (1, 2))
    yield from _places()
    yield from _texts()
    yield Row("ONNX tests of batch 0", made.no_rows, ISOLATED, (1, 2, 4))
    left = tuple(f"report/report.{form}" for form in ("json", "md", "html"))
    yield Alone("a failing cell in the C locale", bool, VALIDATE, (1,), env=C_LOCALE, leaves=left)
    yield from _endless()
    yield from _code()


def _reports() -> Iterator[Row]:
    """Yield reports that contradict themselves."""

    def outputs(report: Any, **fields: Any) -> None:
        for case in report["results"][0]["cases"]:
            case.update(status="pass", reason="")
            case["outputs"][0].update({"reason": "", "ratio": 0.5, **fields})
        report["results"][0].update(status="pass", reason="")

    def cell(report: Any, **fields: Any) -> None:
        report["results"][0].update(reason="", **fields)

    for name, change in {
        "pass with failing cases": partial(cell, status="pass"),
        "pass without a case": partial(cell, status="pass", cases=[]),
        "unavailable with cases": partial(cell, status="unavailable"),
        "a cell that is no path": partial(cell, id="a/../b/c/d"),
        "pass with ratio 5": partial(outputs, ratio=5.0),
        "pass with an error": partial(outputs, max_abs=9.0, tolerance=1e-6),
        "10^9 steps compared of 1": partial(outputs, steps=1, steps_compared=10**9),
        "no step compared": partial(outputs, steps=5, steps_compared=0),
        "negative figures": partial(outputs, max_abs=-1.0, steps=-5),
    }.items():
        yield Row(f"report: {name}", document("report.json", change), MERGE)


def _names() -> Iterator[Row]:
    """Yield names that are paths, or that show as more than a name."""

    def spec(name: str) -> made.Change:
        return golden(lambda m, _: m["spec"].update(name=name))

    def exporter(name: str) -> made.Change:
        return document("bundle/manifest.json", lambda m: m.update(exporter=name))

    def output(name: str, file: str = "bundle/model.onnx") -> made.Change:
        return model(lambda m: payloads.renamed(m, name), file)

    def cell(**fields: str) -> made.Change:
        return document("report.json", lambda r: r["results"][0].update(fields))

    for name in ("../../x", "/tmp/harness-attack-planted/x", "..", "C:\\x"):
        save = f"{VALIDATE} --save-outputs out/saved"
        yield Row(f"a model named {name}", spec(name), save)
        yield Row(f"an exporter named {name}", exporter(name), save)
    for what, name in NAMES.items():
        yield Row(f"a model's name: {what}", spec(name), VALIDATE, (1, 2))
        yield Row(f"an exporter's name: {what}", exporter(name), VALIDATE, (1, 2))
        yield Row(f"an output's name: {what}", output(name, "tests/model.onnx"), TESTS, (1, 2))
        yield Row(f"an output's name: {what}", output(name), "lint in/bundle", (0, 1, 2))
        yield Row(f"an output's name: {what}", output(name), CONVERT)
        yield Row(f"a reason: {what}", cell(reason=name), MERGE, (1, 2))
        yield Row(f"a cell: {what}", cell(id=f"{name}/a/b/c/d"), MERGE, (1, 2))


def _places() -> Iterator[Row]:
    """Yield pipes, which never begin, and devices, which never end, in the place of files."""
    read_by = {
        **READ_BY,
        "bundle/model.onnx": VALIDATE,
        "graph.onnx": "lint in/graph.onnx",
        "bundle/golden/cases.safetensors": VALIDATE,
        "tests/test_data_set_0/input_0.pb": TESTS,
        "inputs.toml": TOML,
        "expect.toml": EXPECT,
    }
    for file, command in read_by.items():
        yield Row(f"{file} is a pipe", made.pipe(file), command, seconds=15)
        yield Row(f"{file} is a device", made.device(file), command, seconds=15)


def _texts() -> Iterator[Row]:
    """Yield JSON that is not strict, and a text in a locale that is not UTF-8."""
    for file, command in READ_BY.items():
        name = file.removesuffix("/manifest.json")
        for what, entry in {
            "a key twice": b'"schema": 1',
            "100,000 deep": b'"x": ' + b"[" * 10**5 + b"]" * 10**5,
            "NaN": b'"x": NaN',
        }.items():
            change = replaced(file, b'"schema"', entry + b', "schema"')
            yield Row(f"{name}: {what}", change, command)
        yield Row(f"{name}: UTF-16", made.encoded(file, "utf-16"), command)
    spoken = golden(lambda m, _: m["spec"].update(summary="é", name="é"))
    yield Alone("UTF-8 in the C locale", spoken, VALIDATE, (0,), tree="good", env=C_LOCALE)


def _endless() -> Iterator[Row]:
    """Yield models of a few kilobytes that would take for ever."""
    for name, change in payloads.ENDLESS.items():
        for command in (
            f"validate {FILE}".replace("--no-isolate", ""),
            "lint in/bundle/model.onnx",
            f"export in/bundle/model.onnx --runtime ort-cpu {SMALL}",
            "diagnose in/bundle/model.onnx --golden in/bundle/golden -o out/d",
        ):
            codes = (0, 1, 2) if command.startswith("lint") else (1, 2)
            yield Alone(name, model(change), command, codes, tree="good", seconds=180)


def _code() -> Iterator[Row]:
    """Yield code that must not run."""
    beside = partial(Alone, codes=ANY, folder="in/bundle")
    for name in ("numpy", "onnx", "json", "msgspec", "argparse", "sitecustomize"):
        here = f"validate . {STEPS.replace('out/', '../../out/')}"
        yield beside(f"{name}.py beside a bundle", payloads.code(f"bundle/{name}.py"), here)
    web = "validate . --runtime ort-web --report-dir ../../out/r"
    yield beside("build/node beside a bundle", payloads.planted_script, web, needs="node")
    library = "placement model.onnx"
    yield beside("build/placement beside one", payloads.planted_library, library, needs="gcc")
    recorded = "gru_tagger --framework torch --golden golden"
    small = "--lengths 2 --artifacts ../out/a --report-dir ../out/r"
    for command in (
        "validate bundle --every-step --report-dir ../out/r",
        "convert golden/gru_tagger/torch --model bundle/model.onnx --lengths 2..9 -o ../out/t",
        f"validate {recorded} --runtime torch {small}",
        f"validate {recorded} --every-step {small}",
        f"record {recorded} --check",
    ):
        evil = payloads.evil_package
        yield Alone("a golden's package", evil, command, ANY, tree="good", folder="in")
    yield Alone("a pickle in a .pt2", payloads.pickled, f"export in/m.pt2 {SMALL}", tree="good")
    for name, layer in payloads.LAYERS.items():
        change = payloads.keras_layer(layer)
        yield Alone(f"a .keras with {name}", change, f"export in/m.keras {SMALL}", tree="good")


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-k", default="", help="only rows whose name or command has this text")
    parser.add_argument("--quick", action="store_true", help="only rows that need no fresh process")
    parser.add_argument("--sources", type=Path, help="what sources.py made, if it is to be reused")
    args = parser.parse_args(argv)
    rows = [row for row in table() if args.k in f"{row.name} {row.command}"]
    rows = [row for row in rows if not (args.quick and row.fresh)]
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        place = args.sources or Path(folder, "sources")
        if not (place / "good/report.json").is_file():
            sources.make(place, not args.quick)
        tries.warm()
        failed = [row for row in rows if not shown(row, place, Path(folder, "a/b/c/try"))]
    print(f"{len(rows)} rows, {len(failed)} fail")
    return 1 if failed or not rows else 0


def shown(row: Row, place: Path, scratch: Path) -> bool:
    """Try a row and print it; return whether what must happen did."""
    if row.needs and not shutil.which(row.needs):
        print(f"left out: {row.name}: there is no {row.needs}", flush=True)
        return True
    wrong = tried(row, place, scratch)
    print(f"{'FAIL' if wrong else 'ok':<5} {row.name} | {row.command.split()[0]}", flush=True)
    for line in wrong:
        print(f"        {line}", flush=True)
    return not wrong


def tried(row: Row, place: Path, scratch: Path) -> list[str]:
    """Return what is wrong with how the command of a row ends; empty where all is right."""
    shutil.rmtree(scratch.parent, ignore_errors=True)
    shutil.copytree(place / row.tree, scratch / "in")
    (scratch / "out").mkdir()
    row.make(scratch / "in")
    command, *words = shlex.split(row.command)
    folder = row.folder if row.fresh else None
    ended = tries.run(command, words, scratch, row.seconds, folder, **row.env)
    wrong = faults.of(ended, scratch / "out")
    if ended.status is None:
        return wrong
    last = (ended.err or ended.out).strip().splitlines()[-1:] or [""]
    if ended.status not in row.codes:
        wrong.append(f"exit code {ended.status}, not {row.codes}: {last[0][:300]}")
    if row.says not in ended.out + ended.err:
        wrong.append(f"does not say {row.says!r}: {last[0][:300]}")
    missing = [name for name in row.leaves if not (scratch / "out" / name).is_file()]
    return wrong + [f"there is no {name}" for name in missing]


if __name__ == "__main__":
    sys.exit(main())
