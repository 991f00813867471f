"""Runtimes for a process of their own: one that works and prints, and some that end it."""

from __future__ import annotations

import os
import sys
from typing import Any

from harness.core.errors import LoadError
from harness.core.schema import Array, Arrays

LIVE: list[str] = []


class Session:
    def __init__(self, path: str) -> None:
        self.path = os.path.basename(path)
        LIVE.append(self.path)

    def __del__(self) -> None:
        LIVE.remove(self.path)

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        print("printed by the runtime")
        if self.path == "abort-at-run":
            print("first\n\nthread panicked at ops.rs:7\nlast words", file=sys.stderr, flush=True)
            os.abort()
        if self.path == "exit-at-run":
            os._exit(7)
        if self.path == "garbage":
            os.write(int(sys.argv[2]), b"\xff" * 64)
        if self.path == "raise":
            raise ValueError("first line\nsecond line")
        return [(f"{self.path}:{name}", value + value) for name, value in inputs.items()]

    def evidence(self) -> dict[str, Any]:
        return {"live": sorted(LIVE), "pid": os.getpid(), "setting": os.environ.get("SETTING", "")}


class Runtime:
    def check(self) -> str | None:
        return None

    def version(self) -> str:
        return "1"

    def prepare(self, path: str) -> Session:
        if path.endswith("refused"):
            raise LoadError("not this one")
        if path.endswith("abort-at-load"):
            os.abort()
        return Session(path)


PLANTED = Runtime()
