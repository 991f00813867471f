"""Where ONNX Runtime's partitioner puts each node with the CUDA provider."""

from __future__ import annotations

import os
import platform
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness.core.cache import private_folder
from harness.core.errors import UnavailableError, clipped
from harness.graphs.recurrent import RECURRENT
from harness.placing import child, shim
from harness.placing.messages import shortened
from harness.placing.sizes import OnSizes, works_on_sizes
from harness.placing.verdict import CUDA_PROVIDER, Placement
from harness.processes.limits import Limits
from harness.processes.worker import LostError, call_in_child

CACHE = "placement"
INSTALL = "pip install onnxruntime-gpu"
SECONDS = 600


@dataclass(frozen=True)
class Versions:
    """The ONNX Runtime that places the nodes, and the CUDA it is built for, such as 13.0."""

    onnxruntime: str
    cuda: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    def __str__(self) -> str:
        return f"ONNX Runtime {self.onnxruntime}, built for CUDA {self.cuda}"


@dataclass(frozen=True)
class PlacedNodes:
    """Where the nodes of one model go, those of nested graphs included, or why it is unknown."""

    nodes: tuple[Placement, ...] = ()
    error: str = ""

    def ordered(self, sizes: OnSizes) -> list[Placement]:
        """Return nodes off CUDA first: recurrent, then others, then shape arithmetic."""
        return sorted(self.nodes, key=lambda node: _rank(node, sizes))

    def summary(self) -> dict[str, dict[str, int]]:
        """Return the number of nodes by provider and operator."""
        counts: dict[str, Counter[str]] = {}
        for node in self.nodes:
            counts.setdefault(node.provider, Counter())[node.op_type] += 1
        return {provider: dict(sorted(ops.items())) for provider, ops in sorted(counts.items())}


def provider_library(packages: Path | None = None) -> Path:
    """Return the CUDA provider of the ONNX Runtime that is installed or in ``packages``.

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
    models: Sequence[Path], packages: Path | None = None, cache: Path | None = None
) -> tuple[Versions, list[PlacedNodes]]:
    """Return where the nodes of each model go, in the order of ``models``.

    ``packages`` is a folder with another ONNX Runtime than the installed one; ``cache`` is where
    the stand-ins are kept, by default a folder that only this user can write to. A model on which
    the process ends has that as its error, and another process takes the others. UnavailableError
    where the libraries or the compiler are missing, or ONNX Runtime does not load the stand-ins.
    """
    folder = shim.built(provider_library(packages), cache or private_folder(CACHE))
    search_path = filter(None, (str(folder), os.environ.get("LD_LIBRARY_PATH")))
    environment = {"LD_LIBRARY_PATH": os.pathsep.join(search_path)}
    versions: list[Versions] = []
    placed: list[PlacedNodes] = []

    def heed(answer: Mapping[str, Any]) -> None:
        if "cuda" in answer:
            versions.append(Versions(**answer))
        elif "error" in answer:
            placed.append(PlacedNodes(error=shortened(RuntimeError(answer["error"]))))
        else:
            placed.append(PlacedNodes(tuple(Placement(*node) for node in answer["nodes"])))

    while not versions or len(placed) < len(models):
        started = len(versions)
        try:
            call_in_child(
                Limits(SECONDS),
                child.partition_all,
                str(folder / shim.LIBRARY),
                [str(model.resolve()) for model in models[len(placed) :]],
                heed=heed,
                environment=environment,
                path=[str(packages.resolve())] if packages else [],
            )
        except LostError as lost:
            if len(versions) == started:
                reason = f"ONNX Runtime does not start with stand-ins for CUDA: it {lost}"
                raise UnavailableError(reason) from None
            placed.append(PlacedNodes(error=clipped(f"the partitioner's process {lost}")))
    return versions[0], placed


def _rank(node: Placement, sizes: OnSizes) -> int:
    if node.provider == CUDA_PROVIDER:
        return 3
    if node.op_type in RECURRENT:
        return 0
    return 2 if works_on_sizes(node.op_type, node.node, sizes) else 1
