"""TF32 in NumPy: matrix products whose operands keep 10 bits of mantissa, added in float32."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.core.errors import LoadError
from harness.core.schema import Array, Arrays
from harness.oracle.runtime import DECLARED
from harness.runtimes.ort import CUDA

DROPPED = 13
"""Bits of a float32's mantissa that TF32 does not keep."""


def rounded(x: Array) -> Array:
    """float32 to the nearest TF32, ties to the even one; anything else as it is."""
    x = np.asarray(x)
    if x.dtype != np.float32:
        return x
    bits = x.view(np.uint32).astype(np.uint64)
    odd = (bits >> DROPPED) & 1
    kept = (bits + (1 << (DROPPED - 1)) - 1 + odd) >> DROPPED << DROPPED
    return kept.astype(np.uint32).view(np.float32)


class Tf32(np.ndarray):
    """An array that rounds both operands of every matrix product that it is part of."""

    def __array_ufunc__(self, ufunc: Any, method: str, *taken: Any, **options: Any) -> Any:
        plain = [np.asarray(x) if isinstance(x, Tf32) else x for x in taken]
        if ufunc is np.matmul:
            plain = [rounded(x) for x in plain]
        out = options.pop("out", None)
        if out is not None:
            options["out"] = tuple(np.asarray(x) for x in out)
        result = getattr(ufunc, method)(*plain, **options)
        return out[0] if out is not None else marked(result)

    def __array_function__(self, function: Any, types: Any, taken: Any, options: Any) -> Any:
        if function is np.dot:
            return marked(np.matmul(rounded(taken[0]), rounded(taken[1])))
        return super().__array_function__(function, types, taken, options)


def marked(value: Any) -> Any:
    """``value`` as a Tf32 where it is an array of floats."""
    if isinstance(value, tuple):
        return tuple(map(marked, value))
    floating = isinstance(value, np.ndarray | np.floating) and value.dtype.kind == "f"
    return np.asarray(value).view(Tf32) if floating else value


class Session:
    """A model in NumPy; its products are TF32's where ``on``, its evidence says ``told``."""

    def __init__(self, path: str, on: bool, told: bool) -> None:
        self._inner = DECLARED.prepare(path)
        self._on, self._told = on, told
        if on:
            held = self._inner._evaluator
            held.rt_inits_ = {name: marked(v) for name, v in held.rt_inits_.items()}
            held._own = {name: marked(v) for name, v in held._own.items()}

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        given = {name: marked(v) for name, v in inputs.items()} if self._on else inputs
        return [(name, np.asarray(value)) for name, value in self._inner.run(given)]

    def evidence(self) -> dict[str, Any]:
        return {**self._inner.evidence(), "tf32": self._told}


@dataclass(frozen=True)
class Runtime:
    """A CUDA provider simulated on the CPU; ``broken`` names a way in which its switch fails.

    ``stuck on`` computes in TF32 whatever is asked, ``stuck off`` never does.
    """

    provider: dict[str, str] = field(default_factory=dict)
    broken: str = ""
    row = CUDA.row
    tf32_row = CUDA.tf32_row

    @property
    def tf32(self) -> bool:
        """What was asked for."""
        return self.provider.get("use_tf32", "0") != "0"

    def configured(self, provider: dict[str, str]) -> Runtime:
        return Runtime(provider, self.broken)

    def check(self) -> str | None:
        return None

    def version(self) -> str:
        return "simulated"

    def prepare(self, path: str) -> Session:
        if self.broken == "refuses":
            raise LoadError("no kernel for it")
        on = {"stuck on": True, "stuck off": False}.get(self.broken, self.tf32)
        return Session(path, on, self.tf32)


RUNTIME = Runtime()
STUCK_ON = Runtime(broken="stuck on")
