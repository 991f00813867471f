"""A runtime whose distribution, ``tiny-rt``, is a wheel of one line: what it multiplies by."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np

from harness.core.schema import Arrays
from tests.support.planted import Outputs

DISTRIBUTION = "tiny-rt"


def wheel(folder: Path, version: str, factor: float) -> Path:
    """Write a wheel of a version that multiplies by ``factor``; returns it."""
    path = folder / f"tiny_rt-{version}-py3-none-any.whl"
    about = f"tiny_rt-{version}.dist-info"
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tiny_rt.py", f"FACTOR = {factor!r}\n")
        file.writestr(
            f"{about}/METADATA",
            f"Metadata-Version: 2.1\nName: {DISTRIBUTION}\nVersion: {version}\n",
        )
        file.writestr(
            f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        file.writestr(f"{about}/RECORD", "")
    return path


class TinySession:
    def __init__(self, factor: float) -> None:
        self.factor = np.float32(factor)

    def run(self, inputs: Arrays) -> Outputs:
        y = inputs["x"] * self.factor
        return [("y", y), ("total", y.sum(axis=1))]

    def evidence(self) -> dict[str, float]:
        return {"factor": float(self.factor)}


class TinyRuntime:
    distributions = (DISTRIBUTION,)

    def check(self) -> None:
        return None

    def version(self) -> str:
        return ""

    def prepare(self, path: str) -> TinySession:
        import tiny_rt  # type: ignore[import-not-found]

        return TinySession(tiny_rt.FACTOR)


TINY = TinyRuntime()
