"""ONNX Runtime Web: WebAssembly in Node, one process for all sessions."""

from __future__ import annotations

import os
import shlex
import shutil
import weakref
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from harness.core import cache, install
from harness.core.errors import LoadError, RunError, StageError, UsageError, clipped, one_line
from harness.core.operator_errors import ORT_CPU
from harness.core.reading import TEXT_BYTES, read_json
from harness.core.schema import Array, Arrays
from harness.core.tolerance import Row
from harness.processes.limits import UNLIMITED
from harness.processes.process import Process
from harness.runtimes import frames
from harness.runtimes.served import Served, ServedSession

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
VARIABLE = "HARNESS_NODE"
PROVIDER = "wasm"
_PROGRAM = Path(__file__).with_suffix(".mjs")


def folder() -> Path:
    """Return where the package is sought: never in the current folder for its own sake.

    It is the folder that ``HARNESS_NODE`` names, else ``build/node`` of the checkout that this code
    is in, else one of the user's cache.
    """
    if named := os.environ.get(VARIABLE):
        return Path(named)
    if (install.CHECKOUT / "pyproject.toml").is_file():
        return install.CHECKOUT / "build" / "node"
    return cache.place("node")


def install_line(folder: Path) -> str:
    """Return what installs the package into a folder."""
    return shlex.join(
        ["npm", "install", "--prefix", str(folder), "--ignore-scripts", f"{PACKAGE}@{VERSION}"]
    )


class WebSession:
    """A session in Node, with the operators that only the file has."""

    def __init__(self, session: ServedSession, ops: Counter[str]) -> None:
        self._session = session
        self._ops = ops

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        """Run one case; RunError where it fails or Node dies."""
        return self._session.run(inputs)

    def evidence(self) -> dict[str, Any]:
        """Return evidence as ONNX Runtime's, of the file's nodes: this build has no placements."""
        return {
            "providers": [PROVIDER],
            "nodes_by_provider": {PROVIDER: dict(sorted(self._ops.items()))},
            "tf32": False,
            "optimization": "all",
            **self._session.evidence(),
        }


class NodeServer:
    """Node with ``ort_web.mjs``, which answers each frame by one; LoadError where it is missing."""

    def __init__(self, folder: Path) -> None:
        command = ["node", str(_PROGRAM), str(folder.resolve())]
        try:
            self._process = Process(command, UNLIMITED.output, answers=True)
        except OSError as error:
            raise LoadError(f"{command[0]}: {error.strerror}") from None
        self._forgotten: list[int] = []
        self._stop = weakref.finalize(self, self._process.kill)

    @property
    def alive(self) -> bool:
        return self._process.alive

    def load(self, path: str) -> int:
        return int(self._ask(LoadError, {"do": "load", "path": path})[0]["session"])

    def run(self, session: int, inputs: Arrays) -> list[tuple[str, Array]]:
        return self._ask(RunError, {"do": "run", "session": session}, list(inputs.items()))[1]

    def evidence(self, session: int) -> dict[str, Any]:
        return dict(self._ask(RunError, {"do": "evidence", "session": session})[0]["evidence"])

    def forget(self, session: int) -> None:
        """Close a session with the next request."""
        self._forgotten.append(session)

    def _ask(
        self, failure: type[StageError], request: Mapping[str, Any], tensors: frames.Tensors = ()
    ) -> tuple[frames.Header, list[tuple[str, Array]]]:
        """Return the answer to a request; ``failure`` for an error, or a process that ends."""
        self._process.renew()
        forgotten = [self._forgotten.pop() for _ in range(len(self._forgotten))]
        try:
            frames.write(self._process.stdin, {**request, "close": forgotten}, tensors)
            answer = frames.read(self._process.stdout)
        except TypeError as error:
            raise failure(str(error)) from None
        except (OSError, ValueError):
            answer = None
        except BaseException:
            self._stop()
            raise
        if answer is None:
            ended = ": ".join([self._process.ended(), *self._process.lines(3)][:4])
            raise failure(clipped(f"the process that runs it {ended}"), crashed=True)
        if "error" in answer[0]:
            raise failure(answer[0]["error"])
        return answer


class WebRuntime:
    """onnxruntime-web in a folder, by default the one that ``folder`` names; on one thread."""

    row = Row(
        8.0,
        "as ort-cpu, without fused multiply-add: at worst 5.6, but for one model",
        operators=ORT_CPU,
    )

    def __init__(self, place: Path | None = None) -> None:
        self._place = place
        self._served = Served(lambda: NodeServer(self.folder))

    @property
    def folder(self) -> Path:
        return self._place or folder()

    def check(self) -> str | None:
        if shutil.which("node") is None:
            return "node is not installed: https://nodejs.org, version 20 or later"
        try:
            place = self.folder
            if not self.version():
                return f"{PACKAGE} is not installed in {place}: {install_line(place)}"
            if not (self._place or os.environ.get(VARIABLE)) and place == cache.place("node"):
                cache.check_private(place)
        except UsageError as error:
            return str(error)
        return None

    def version(self) -> str:
        """Return the version of the installed package; empty where there is none."""
        try:
            about = self.folder / "node_modules" / PACKAGE / "package.json"
            return str(read_json(about, TEXT_BYTES)["version"])
        except (UsageError, KeyError, TypeError):
            return ""

    def prepare(self, path: str) -> WebSession:
        """Load the model file in Node; LoadError where it is refused."""
        import onnx

        try:
            graph = onnx.load(path, load_external_data=False).graph
        except Exception as error:
            raise LoadError(one_line(error)) from error
        return WebSession(self._served.prepare(path), Counter(n.op_type for n in graph.node))


WEB = WebRuntime()
