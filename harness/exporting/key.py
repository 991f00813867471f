"""What an export depends on: a stored one is used again only where nothing of it changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from harness.core import environment
from harness.core.registry import origin
from harness.exporting import source_hash

LIBRARIES = {
    "keras": ("keras", "tensorflow", "tensorflow-cpu", "tf2onnx", "onnx"),
    "torch": ("torch", "onnxscript", "onnx-ir", "onnx"),
}


@dataclass(frozen=True)
class Targets:
    """The modules and attributes that make an export, the only ones that a child imports."""

    twin: str
    framework: str
    exporter: str
    variant: str


STEPS = ("harness.graphs.example", "harness.graphs.interface")
"""What an export runs besides its exporter: the example inputs before, the axes' names after."""


def key(
    targets: Targets,
    framework: str,
    weights: str,
    opset: int,
    texts: dict[str, source_hash.ModuleText] | None = None,
) -> dict[str, Any]:
    """Return what an export depends on: weights, code, library versions, whose exporter it is.

    ``texts`` keeps sources for other keys. A library that is not installed has no version, so
    that a machine without frameworks can tell an old export from a foreign one.
    """
    names = (targets.exporter, targets.variant, targets.twin, targets.framework)
    code = [*(name.partition(":")[0] for name in names), *STEPS]
    return {
        "weights": weights,
        "opset": opset,
        "code": source_hash.digest(code, texts),
        "versions": installed_versions(framework),
        "distributions": sorted({origin(targets.exporter), origin(targets.variant)} - {""}),
    }


def is_current(stored: Mapping[str, Any], current: Mapping[str, Any]) -> bool:
    """Return whether an export with the key ``stored`` is what exporting now gives.

    Where the framework is not installed nothing can be exported, and the weights alone decide.
    """
    if not current["versions"]:
        return bool(stored.get("weights") == current["weights"])
    return dict(stored) == dict(current)


@cache
def installed_versions(framework: str) -> dict[str, str]:
    """Return the installed versions of what exports from ``framework``; empty without it."""
    versions = environment.installed(LIBRARIES.get(framework, ()))
    return versions if framework in versions else {}
