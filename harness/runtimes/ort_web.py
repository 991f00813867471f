"""ONNX Runtime Web: WebAssembly in Node, one process for all sessions."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

from harness.core.errors import LoadError, one_line
from harness.core.schema import Array, Arrays
from harness.runtimes.served import Served, ServedSession

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
FOLDER = Path("build/node")
INSTALL = f"npm install --prefix {FOLDER} --ignore-scripts {PACKAGE}@{VERSION}"
PROVIDER = "wasm"
_PROGRAM = Path(__file__).with_suffix(".mjs")


class WebSession:
    """A session in Node, with what only the file tells of its nodes."""

    def __init__(self, session: ServedSession, ops: Counter[str]) -> None:
        self._session = session
        self._ops = ops

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        """Run one case; RunError where it fails or Node dies."""
        return self._session.run(inputs)

    def evidence(self) -> dict[str, Any]:
        """As ONNX Runtime's, of the nodes in the file: this build does not tell where they ran."""
        return {
            "providers": [PROVIDER],
            "nodes_by_provider": {PROVIDER: dict(sorted(self._ops.items()))},
            "tf32": False,
            "optimization": "all",
            **self._session.evidence(),
        }


class WebRuntime:
    """onnxruntime-web in ``folder``, on one thread."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._served = Served(lambda: ["node", str(_PROGRAM), str(folder.resolve())])

    def check(self) -> str | None:
        if shutil.which("node") is None:
            return "node is not installed: https://nodejs.org, version 20 or later"
        if not self.version():
            return f"{PACKAGE} is not installed in {self._folder}: make web, or {INSTALL}"
        return None

    def version(self) -> str:
        """The version of the installed package; empty where there is none."""
        about = self._folder / "node_modules" / PACKAGE / "package.json"
        try:
            return str(json.loads(about.read_text())["version"])
        except (OSError, ValueError, KeyError, TypeError):
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
