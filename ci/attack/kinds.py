"""The kinds of files that the harness reads: the commands that read each, and its hashes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import onnx
from onnx import numpy_helper


@dataclass(frozen=True)
class Reading:
    """A command that reads a kind: one that ``judges`` says by exit code 0 that a model conforms.

    It is tried with ``often`` of the files.
    """

    text: str
    judges: bool = False
    often: float = 1.0


@dataclass(frozen=True)
class Kind:
    """Files of a tree, of which one is changed, and the commands that read it.

    ``sealed`` are those of which hashes tell that they were altered; ``share`` of all tries.
    """

    files: tuple[str, ...]
    readings: tuple[Reading, ...]
    share: float
    sealed: tuple[str, ...] = ()
    framework: str = ""

    @property
    def parts(self) -> set[str]:
        """The parts of a tree that its commands read."""
        words = " ".join(reading.text for reading in self.readings)
        return {
            file.partition("/")[0] for file in (*self.files, *re.findall(r"in/([\w./-]+)", words))
        }


STEPS = "--report-dir out/report --artifacts out/artifacts --intra-op-threads 1 --no-isolate"
JUDGED = "--report-dir out/report --artifacts out/artifacts"
SMALL = "--lengths 1,2 --batch 1 -o out/b"
BUNDLE = ("bundle/manifest.json", "bundle/model.onnx", "bundle/account.json")
INNER = ("bundle/golden/manifest.json", "bundle/golden/cases.safetensors")
SAVED = "saved/gru_tagger/torch/native/fp32/ort-cpu"
PAIRS = tuple(f"test_data_set_{n}/{kind}_0.pb" for n in (0, 1) for kind in ("input", "output"))
OF_MADE = (*(f"made/{pair}" for pair in PAIRS), "made/test_data_set_0/remainder_0.pb")
KINDS: Mapping[str, Kind] = {
    "golden": Kind(
        (*INNER, INNER[0], INNER[0]),
        (
            Reading(f"validate in/bundle/model.onnx --golden in/bundle/golden {STEPS}", True),
            Reading("convert in/bundle/golden --model in/bundle/model.onnx -o out/t", often=0.3),
        ),
        18,
        INNER,
    ),
    "bundle": Kind(
        (*BUNDLE, *BUNDLE, *INNER),
        (
            Reading(f"validate in/bundle {STEPS}", True),
            Reading("convert in/bundle -o out/t", often=0.3),
            Reading("lint in/bundle", often=0.2),
            Reading("diagnose in/bundle --intra-op-threads 1 -o out/d", True, often=0.05),
        ),
        15,
        (BUNDLE[1], *INNER),
    ),
    "report": Kind(("report.json",), (Reading("merge in/report.json -o out/m", True),), 14),
    "saved": Kind(
        (f"{SAVED}/manifest.json", f"{SAVED}/outputs.safetensors"),
        (Reading(f"validate in/bundle --load-outputs in/saved {JUDGED}", True),),
        12,
        (f"{SAVED}/manifest.json", f"{SAVED}/outputs.safetensors"),
    ),
    "tests": Kind(
        ("tests/model.onnx", *(f"tests/{pair}" for pair in PAIRS)),
        (Reading(f"validate in/tests {STEPS}", True),),
        12,
    ),
    "made": Kind(
        ("made/harness/golden/manifest.json", "made/harness/bundle/manifest.json", *OF_MADE),
        (
            Reading(f"validate in/made {STEPS}", True, often=0.7),
            Reading("convert in/made -o out/b", often=0.5),
        ),
        10,
        ("made/harness/golden/manifest.json", *OF_MADE),
    ),
    "toml": Kind(
        ("inputs.toml", "expect.toml"),
        (
            Reading(f"export in/graph.onnx --inputs in/inputs.toml --runtime ort-cpu {SMALL}"),
            Reading(f"validate in/bundle --expectations in/expect.toml {STEPS}"),
        ),
        8,
    ),
    "onnx": Kind(
        ("graph.onnx", "bundle/model.onnx"),
        (
            Reading("lint in/{file}"),
            Reading(f"validate in/{{file}} --golden in/bundle/golden {STEPS}", True, often=0.6),
            Reading(f"export in/{{file}} --runtime ort-cpu {SMALL}", often=0.3),
            Reading("convert in/bundle/golden --model in/{file} -o out/t", often=0.15),
            Reading("placement in/{file}", often=0.03),
            Reading(
                "diagnose in/{file} --golden in/bundle/golden --intra-op-threads 1 -o out/d",
                True,
                often=0.05,
            ),
        ),
        10,
    ),
    "keras": Kind(("m.keras",), (Reading(f"export in/m.keras {SMALL}"),), 0.4, (), "keras"),
    "h5": Kind(
        ("w.weights.h5",),
        (Reading(f"export in/net_keras.py:make --weights in/w.weights.h5 {SMALL}"),),
        0.2,
        (),
        "keras",
    ),
    "pt2": Kind(("m.pt2",), (Reading(f"export in/m.pt2 {SMALL}"),), 0.6, (), "torch"),
    "weights": Kind(
        ("w.pt", "w.safetensors"),
        (
            Reading(
                "export in/net_torch.py:make --input x:float32[batch,time,2] --weights in/{file}"
                f" {SMALL}"
            ),
        ),
        0.6,
        (),
        "torch",
    ),
}


def file_hash(data: bytes) -> str:
    return sha256(data).hexdigest()


def replaced(path: Path, hashes: Mapping[str, str]) -> None:
    data = path.read_bytes()
    for old, new in hashes.items():
        data = data.replace(old.encode(), new.encode())
    path.write_bytes(data)


def resign_own(path: Path, old: str) -> None:
    """Put the SHA-256 that a manifest must state of itself in place of the ``old`` one."""
    with suppress(ValueError, RecursionError, AttributeError, TypeError):
        entries = json.loads(path.read_text("utf-8"))
        entries.pop("sha256", None)
        new = file_hash(json.dumps(entries, sort_keys=True).encode())
        replaced(path, {old: new})


def resign(tree: Path, source: Path, file: str) -> None:
    """State the hashes of a changed ``file`` anew, in every file of ``tree`` that states one.

    ``source`` is the tree before. What cannot be read any more keeps the hash that it had.
    """
    from harness.goldens.manifest import sha256 as of_array

    stated: dict[str, str] = {}
    with suppress(Exception):
        arrays = _arrays(tree / file), _arrays(source / file)
        stated = {of_array(old): of_array(arrays[0][n]) for n, old in arrays[1].items()}
    stated[file_hash((source / file).read_bytes())] = file_hash((tree / file).read_bytes())
    own = ["bundle/golden/manifest.json", "made/harness/golden/manifest.json"]
    for name in (*own, f"{SAVED}/manifest.json", "bundle/manifest.json"):
        path, before = tree / name, source / name
        if path.is_file():
            replaced(path, stated)
            if name != "bundle/manifest.json":
                resign_own(path, json.loads(before.read_text())["sha256"])
            stated[file_hash(before.read_bytes())] = file_hash(path.read_bytes())
    if file == "report.json":
        _summed(tree / file)


def _arrays(path: Path) -> dict[str, Any]:
    """Return the arrays in a file of tensors; those of an output with what its rounding took."""
    import numpy as np
    from safetensors.numpy import load

    if path.suffix == ".safetensors":
        return dict(load(path.read_bytes()))
    if path.suffix != ".pb":
        return {}
    value = _tensor(path.with_name(path.name.replace("remainder", "output")))
    rest = path.with_name(path.name.replace("output", "remainder"))
    with np.errstate(all="ignore"):
        summed = not path.name.startswith("input") and rest.is_file()
        return {"": value + _tensor(rest) if summed else value}


def _tensor(path: Path) -> Any:
    return numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes()))


def _summed(path: Path) -> None:
    """Let a report's summary count what is in it."""
    with suppress(ValueError, TypeError, KeyError, AttributeError, RecursionError):
        report = json.loads(path.read_text("utf-8"))
        results = report["results"]
        counts = {name: 0 for name in report["summary"] if name not in ("cells", "comparisons")}
        for result in results:
            counts[result["status"]] += 1
        compared = sum(len(case["outputs"]) for result in results for case in result["cases"])
        report["summary"] = {"cells": len(results), "comparisons": compared, **counts}
        path.write_text(json.dumps(report))


def same_content(path: Path, source: Path) -> bool:
    """Return whether a changed file still says what its source does, though in other bytes."""

    def arrays(file: Path) -> list[Any]:
        return [(n, str(v.dtype), v.shape, v.tobytes()) for n, v in sorted(_arrays(file).items())]

    readers: dict[str, Callable[[Path], Any]] = {
        ".json": lambda file: json.dumps(json.loads(file.read_text("utf-8")), sort_keys=True),
        ".safetensors": arrays,
        ".pb": arrays,
    }
    read = readers.get(path.suffix, Path.read_bytes)
    try:
        return bool(read(path) == read(source))
    except Exception:
        return False
