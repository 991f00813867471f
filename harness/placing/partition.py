"""Where ONNX Runtime's partitioner puts each node with the CUDA provider."""

from __future__ import annotations

import json
import os
import platform
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.core.errors import UnavailableError, clipped
from harness.placing import shim
from harness.placing.messages import shortened
from harness.placing.sizes import OnSizes, works_on_sizes
from harness.placing.verdict import CUDA_PROVIDER, RECURRENT, Placement

CACHE = Path("build/placement")
INSTALL = "pip install onnxruntime-gpu"
SECONDS = 600
_CHILD = Path(__file__).with_name("child.py")


@dataclass(frozen=True)
class Versions:
    """The ONNX Runtime that was asked, and the CUDA it is built for, such as 13.0."""

    onnxruntime: str
    cuda: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    def __str__(self) -> str:
        return f"ONNX Runtime {self.onnxruntime}, built for CUDA {self.cuda}"


@dataclass(frozen=True)
class Placed:
    """Where the nodes of one model go, those of nested graphs included, or why it is unknown."""

    nodes: tuple[Placement, ...] = ()
    error: str = ""

    def ordered(self, sizes: OnSizes) -> list[Placement]:
        """Nodes off CUDA first: recurrent, then others, then shape arithmetic."""
        return sorted(self.nodes, key=lambda node: _rank(node, sizes))

    def summary(self) -> dict[str, dict[str, int]]:
        """Number of nodes by provider and operator."""
        counts: dict[str, Counter[str]] = {}
        for node in self.nodes:
            counts.setdefault(node.provider, Counter())[node.op_type] += 1
        return {provider: dict(sorted(ops.items())) for provider, ops in sorted(counts.items())}


def provider_library(packages: Path | None = None) -> Path:
    """The CUDA provider of the installed ONNX Runtime, or of that in the folder ``packages``.

    Nothing is imported. UnavailableError, with the install line, where there is none.
    """
    here = sys.platform, platform.machine()
    if here != ("linux", "x86_64"):
        raise UnavailableError(f"placement needs Linux on x86_64; this is {' on '.join(here)}")
    spec = None if packages else find_spec("onnxruntime")
    places = [packages / "onnxruntime"] if packages else []
    places += [Path(p) for p in (spec.submodule_search_locations or [])] if spec else []
    for place in places:
        library = place / "capi" / "libonnxruntime_providers_cuda.so"
        if library.is_file():
            return library
    if not places:
        raise UnavailableError(f"onnxruntime is not installed: {INSTALL}")
    raise UnavailableError(
        f"onnxruntime is built without CUDA ({places[0]}): pip uninstall onnxruntime,"
        f" then {INSTALL}"
    )


def partition(
    models: Sequence[Path], packages: Path | None = None, cache: Path = CACHE
) -> tuple[Versions, list[Placed]]:
    """Where the nodes of each model go, in the order of ``models``.

    ``packages`` is a folder with another ONNX Runtime than the installed one. A model on which
    the process ends has that as its error, and another process takes the rest. UnavailableError
    where the libraries or the compiler are missing, or ONNX Runtime does not load the stand-ins.
    """
    folder = shim.built(provider_library(packages), cache)
    versions = None
    placed: list[Placed] = []
    while versions is None or len(placed) < len(models):
        lines, ended = _ask(folder, models[len(placed) :], packages)
        first = next(lines, None)
        if first is None:
            raise UnavailableError(f"ONNX Runtime does not start with stand-ins for CUDA: {ended}")
        versions = Versions(**first)
        placed += [_read(line) for line in lines]
        if len(placed) < len(models):
            placed.append(Placed(error=f"the partitioner's process ended: {ended}"))
    return versions, placed


def _ask(
    folder: Path, models: Sequence[Path], packages: Path | None
) -> tuple[Iterator[Mapping[str, Any]], str]:
    """The lines that a child printed, and how it ended."""
    environment = dict(os.environ)
    _prepend(environment, "LD_LIBRARY_PATH", folder)
    if packages:
        _prepend(environment, "PYTHONPATH", packages.resolve())
    command = [sys.executable, "-P", str(_CHILD), str(folder / shim.LIBRARY)]
    paths = json.dumps([str(model.resolve()) for model in models])
    try:
        done = subprocess.run(
            command,
            input=paths,
            env=environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"the partitioner did not end within {SECONDS} s") from None
    told = (done.stderr.strip().splitlines() or [""])[-1]
    code = done.returncode
    ended = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    whole = [line for line in done.stdout.splitlines(keepends=True) if line.endswith("\n")]
    return map(json.loads, whole), clipped(f"{ended} {told}".strip())


def _read(line: Mapping[str, Any]) -> Placed:
    if "error" in line:
        return Placed(error=shortened(RuntimeError(line["error"])))
    return Placed(tuple(Placement(*node) for node in line["nodes"]))


def _rank(node: Placement, sizes: OnSizes) -> int:
    if node.provider == CUDA_PROVIDER:
        return 3
    if node.op_type in RECURRENT:
        return 0
    return 2 if works_on_sizes(node.op_type, node.node, sizes) else 1


def _prepend(environment: dict[str, str], name: str, folder: Path) -> None:
    rest = environment.get(name)
    environment[name] = f"{folder}{os.pathsep}{rest}" if rest else str(folder)
