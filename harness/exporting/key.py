"""What an export depends on, so that a stored one is used again only where nothing changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from typing import Any

from harness.core.registry import origin
from harness.exporting import source_hash

LIBRARIES = {
    "keras": ("keras", "tensorflow", "tensorflow-cpu", "tf2onnx", "onnx"),
    "torch": ("torch", "onnxscript", "onnx-ir", "onnx"),
}


@dataclass(frozen=True)
class Targets:
    """The modules, and attributes in them, that make an export: a child imports these alone."""

    twin: str
    framework: str
    exporter: str
    variant: str


def key(
    targets: Targets,
    framework: str,
    weights: str,
    opset: int,
    known: dict[str, source_hash.ModuleText] | None = None,
) -> dict[str, Any]:
    """Return what an export depends on: weights, code, library versions, whose exporter it is.

    ``known`` keeps sources for other keys. A library that is not installed has no version here, so
    that a machine without frameworks can tell an old export from a foreign one.
    """
    names = (targets.exporter, targets.variant, targets.twin, targets.framework)
    code = [*(name.partition(":")[0] for name in names), "harness.graphs.interface"]
    return {
        "weights": weights,
        "opset": opset,
        "code": source_hash.digest(code, known),
        "versions": installed_versions(framework),
        "distributions": sorted({origin(targets.exporter), origin(targets.variant)} - {""}),
    }


def is_current(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Return whether an export with the key ``stored`` is what exporting now would give.

    Where the framework is not installed here nothing can be exported anew: then the weights alone
    decide.
    """
    if not wanted["versions"]:
        return bool(stored.get("weights") == wanted["weights"])
    return dict(stored) == dict(wanted)


@cache
def installed_versions(framework: str) -> dict[str, str]:
    """The installed versions of what exports from ``framework``; empty if it is not installed."""
    found = {}
    for name in LIBRARIES.get(framework, ()):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found if framework in found else {}
