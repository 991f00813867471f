"""Random changes to every kind of file that the harness reads, each tried with what reads it.

Whatever a file holds, a command ends by itself with an exit code from 0 to 4 and errors of one line
each, writes nothing but what it was asked for, and passes no model that was altered:

- a changed byte of content that a hash covers is refused, where the hash is left as it is;
- where the attacker states all hashes anew, nothing that is said about an ``altered`` model, whose
  weights are multiplied, has it pass a command that judges it;
- a model that is itself changed passes only where ONNX Runtime, called here, computes the original
  golden's outputs with it to 1e-3.

A table counts the exit codes by kind and mutation; the files of each distinct fault are kept in the
output folder with the command that replays it. The exit code is 1 where there is a fault.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import faults
import kinds
import mutations
import sources
import tries
from kinds import KINDS

LOOSE = 1e-3


@dataclass(frozen=True)
class File:
    """One file to try: its number, its kind, which file of which tree is changed, and how."""

    number: int
    kind: str
    file: str
    tree: str
    signed: bool
    rng: Random


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--kind", action="append", choices=[*KINDS], help="default: all")
    parser.add_argument("--sources", type=Path, help="what sources.py made, if it is to be reused")
    parser.add_argument("--only", type=int, action="append", help="try the files of these numbers")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/attack"))
    args = parser.parse_args(argv)
    output = args.output.resolve()
    shutil.rmtree(output, ignore_errors=True)
    (output / "log").mkdir(parents=True)
    with tempfile.TemporaryDirectory(prefix="attack-") as folder:
        made = args.sources or Path(folder, "sources")
        kinds = args.kind or [*KINDS]
        if not (made / "good/report.json").is_file():
            sources.make(made, any(KINDS[kind].framework for kind in kinds))
        files = [planned(number, args.seed, kinds) for number in args.only or range(args.files)]
        for framework in sorted({KINDS[file.kind].framework for file in files}):
            mine = [file for file in files if KINDS[file.kind].framework == framework]
            started = [
                _worker(mine[n :: args.workers], framework, made, Path(folder, f"{n}"), output)
                for n in range(args.workers)
            ]
            ends = [os.waitpid(pid, 0)[1] for pid in started]
            if any(ends):
                sys.exit("error: a worker of the fuzzer itself failed")
    lines = [json.loads(text) for path in (output / "log").iterdir() for text in path.open()]
    return report(lines, output)


def planned(number: int, seed: int, kinds: Sequence[str]) -> File:
    """Return what is to be tried as the file of a number: the same for the same seed."""
    rng = Random(f"{seed} {number}")
    name = rng.choices(kinds, [KINDS[kind].share for kind in kinds])[0]
    kind = KINDS[name]
    file, signed = rng.choice(kind.files), rng.random() < 0.7
    unsealed = signed or file not in kind.sealed
    itself = file.endswith("model.onnx") or bool(kind.framework) or name == "toml"
    tree = "altered" if unsealed and not itself and name != "onnx" else "good"
    return File(number, name, file, tree, signed, rng)


def _worker(files: Sequence[File], framework: str, made: Path, base: Path, output: Path) -> int:
    """Start a process that tries some files one after the other; return its id."""
    sys.stdout.flush()
    if pid := os.fork():
        return pid
    status = 1
    try:
        names = {"": (), "torch": ("torch", "harness.frameworks.torch_model")}
        tries.warm(names.get(framework, ("tensorflow", "keras", "harness.frameworks.keras_model")))
        scratch = base / "a/b/c/try"
        with open(output / "log" / f"{framework}{base.name}", "w") as log:
            for file in files:
                for line in tried(file, made, scratch, output):
                    log.write(json.dumps(line) + "\n")
                    log.flush()
        status = 0
    finally:
        sys.stderr.flush()
        if status:
            import traceback

            traceback.print_exc()
        os._exit(status)


def tried(file: File, made: Path, scratch: Path, output: Path) -> Iterator[dict[str, Any]]:
    """Yield how each command that reads a file ended, once for each."""
    shutil.rmtree(scratch, ignore_errors=True)
    source, tree, kind = made / file.tree, scratch / "in", KINDS[file.kind]
    (scratch / "out").mkdir(parents=True)
    tree.mkdir()
    for part in kind.parts:
        copy = shutil.copytree if (source / part).is_dir() else shutil.copyfile
        copy(source / part, tree / part)
    (base := scratch.parents[2] / "build").mkdir(exist_ok=True)
    (scratch / "build").symlink_to(base)
    path = tree / file.file
    mutation, data = mutations.mutate(path.read_bytes(), path.suffix, file.rng)
    path.write_bytes(data)
    sealed = file.file in kind.sealed
    if file.signed and (sealed or file.kind in ("report", "bundle", "made")):
        with warnings.catch_warnings(action="ignore"):
            kinds.resign(tree, source, file.file)
        mutation += ", signed"
    elif sealed and kinds.same_content(path, source / file.file):
        sealed = False
    digest = sha256(data).hexdigest()
    for reading in kind.readings:
        if file.rng.random() >= reading.often:
            continue
        text = reading.text.replace("{file}", file.file)
        if file.kind == "toml" and path.name.split(".")[0] not in text:
            continue
        command, *words = shlex.split(text)
        for left in (scratch / "out").iterdir():
            shutil.rmtree(left)
        ended = tries.run(command, words, scratch)
        found = faults.of(ended, scratch / "out")
        if ended.status == 0 and (why := accepted(file, reading, scratch, source, sealed)):
            found.append(why)
        line = {"kind": file.kind, "mutation": mutation, "status": ended.status, "faults": found}
        line |= {"seconds": ended.seconds, "number": file.number, "file": file.file, "text": text}
        for fault in found:
            keep(fault, line, scratch, ended, output)
        yield {**line, "digest": digest}


def accepted(file: File, reading: kinds.Reading, scratch: Path, source: Path, sealed: bool) -> str:
    """Return why exit code 0 is wrong; empty where it is right."""
    command = reading.text.split()[0]
    if sealed and not file.signed and (command != "lint" or file.file.endswith(".onnx")):
        return f"altered {Path(file.file).name} accepted by {command}"
    if not reading.judges:
        return ""
    if file.kind == "report" and b'"xfail"' in (scratch / "in/report.json").read_bytes():
        return ""
    if file.tree == "altered":
        return f"altered model passes {command}: {file.kind}'s {Path(file.file).name} was changed"
    model = scratch / "in" / file.file
    if model.suffix == ".onnx" and not agrees(model, source):
        return f"altered model passes {command}: it is not the golden's any more"
    return ""


def agrees(model: Path, source: Path) -> bool:
    """Return whether ONNX Runtime computes the golden's outputs with a model, loosely."""
    pid = os.fork()
    if not pid:
        status = 1
        warnings.simplefilter("ignore")
        try:
            status = int(not _computes(model, source))
        finally:
            os._exit(status)
    return os.waitpid(pid, 0)[1] == 0


def _computes(model: Path, source: Path) -> bool:
    import numpy as np
    import onnxruntime

    from harness.goldens import store

    golden = store.read(source / "bundle/golden")
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(model, options)
    names = [value.name for value in session.get_outputs()]
    for case in golden.cases:
        loaded = golden.load(case)
        actual = dict(zip(names, session.run(None, dict(loaded.inputs)), strict=True))
        if sorted(names) != sorted(loaded.outputs):
            return False
        for tensor in golden.spec.outputs:
            value = tensor.at_steps(actual[tensor.name], loaded.steps)
            expected = loaded.outputs[tensor.name]
            if value.shape != expected.shape or not np.abs(value - expected).max() <= LOOSE:
                return False
    return True


def keep(fault: str, line: dict[str, Any], scratch: Path, ended: tries.Ended, output: Path) -> None:
    """Keep the files of a fault that is seen for the first time, and how to replay it."""
    place = output / "faults" / sha256(fault.encode()).hexdigest()[:10]
    if place.exists():
        return
    place.mkdir(parents=True)
    shutil.copytree(scratch / "in", place / "in", symlinks=True)
    call = f"cd {place} && PYTHONPATH={tries.ROOT} python -m harness.{line['text']}"
    about = [fault, f"{line['kind']}: {line['file']}, {line['mutation']}, file {line['number']}"]
    about += [call, f"exit code {ended.status}", ended.err[-6000:], ended.inner[-4000:]]
    (place / "replay.txt").write_text("\n".join([*about, ended.out[-3000:]]))


def report(lines: Sequence[dict[str, Any]], output: Path) -> int:
    """Print the table and the distinct faults; return the exit code."""
    rows: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for line in lines:
        rows[line["kind"], line["mutation"]].append(line)
    heads = ["0", "1", "2", "3", "4"]
    print(f"{'kind':<9}{'mutation':<24}{'tries':>7}{''.join(f'{h:>7}' for h in heads)}  faults")
    for (kind, mutation), mine in sorted(rows.items()):
        codes = Counter(str(line["status"]) for line in mine)
        shown = "".join(f"{codes[head]:>7}" for head in heads)
        wrong = sum(bool(line["faults"]) for line in mine)
        print(f"{kind:<9}{mutation:<24}{len(mine):>7}{shown}{wrong:>8}")
    counts = Counter(fault for line in lines for fault in line["faults"])
    for fault, count in counts.most_common():
        place = output / "faults" / sha256(fault.encode()).hexdigest()[:10]
        print(f"{count:>6} x {fault}\n         {place}/replay.txt")
    digests = sorted({(line["number"], line["digest"]) for line in lines})
    slowest = max((line["seconds"] for line in lines), default=0)
    print(
        f"{len(digests)} files, {len(lines)} tries, slowest {slowest:.1f} s, {len(counts)} distinct"
        f" faults; SHA-256 of the files {sha256(repr(digests).encode()).hexdigest()[:16]}"
    )
    (output / "faults.json").write_text(json.dumps(counts.most_common(), indent=1))
    return 1 if counts or not lines else 0


if __name__ == "__main__":
    started = time.monotonic()
    status = main()
    print(f"{time.monotonic() - started:.0f} s")
    sys.exit(status)
