"""The manifest of one cell's kept runs: what it holds, and reading one of unknown origin."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from enum import Enum
from pathlib import Path
from typing import Any

from harness.core.errors import UsageError
from harness.core.schema import Stage, Status

SCHEMA = 1
TOLD = {"status": Status, "stage": Stage, "reason": str}
CASE = {
    "id": str,
    "repeat": bool,
    "seconds": float,
    "inputs": dict,
    "outputs?": [(str, str)],
    "failure?": TOLD,
}
LAYOUT = {
    "cell": dict.fromkeys(("model", "framework", "exporter", "variant", "runtime"), str),
    "framework?": str,
    "golden": str,
    "model?": str,
    "version": str,
    "recorded": dict,
    "outcome?": TOLD,
    "evidence": dict,
    "outputs": str,
    "cases": [CASE],
}
"""What a manifest holds beside its schema and its SHA-256: a type or an enumeration's values, a
list of one kind or a tuple. A value whose name ends in ? may be null, or missing from a case."""
KINDS = {str: "text", float: "a number", bool: "true or false", dict: "an object"}


def read(path: Path) -> Mapping[str, Any]:
    """A manifest that is whole; UsageError, in one line, where it is not."""
    try:
        manifest = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read: {error}") from None
    if not isinstance(manifest, dict) or manifest.get("schema") != SCHEMA:
        raise UsageError(f"{path}: expected saved outputs of schema {SCHEMA}")
    if manifest.get("sha256") != sha256(manifest):
        raise UsageError(f"{path} was altered: its SHA-256 is not the one it states")
    if missing := [name for key in LAYOUT if (name := key.rstrip("?")) not in manifest]:
        raise UsageError(f"{path} is incomplete: no {', '.join(missing)}")
    if told := _misfit(manifest, LAYOUT, ""):
        raise UsageError(f"{path}: {told}")
    for number, case in enumerate(manifest["cases"]):
        if case.get("outputs") is None and case.get("failure") is None:
            raise UsageError(f"{path}: cases[{number}] has neither outputs nor a failure")
    return manifest


def sha256(manifest: Mapping[str, Any]) -> str:
    """The SHA-256 of all that a manifest holds but its own."""
    held = {key: value for key, value in manifest.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(held, sort_keys=True).encode()).hexdigest()


def _misfit(value: Any, kind: Any, name: str) -> str:
    """What of ``value`` is not of its ``kind``, in a line; empty where all of it is."""
    if isinstance(kind, dict) and isinstance(value, dict):
        inner = [
            (value.get(key.rstrip("?")), each, f"{name}.{key.rstrip('?')}".lstrip("."))
            for key, each in kind.items()
            if not (key.endswith("?") and value.get(key.rstrip("?")) is None)
        ]
    elif isinstance(kind, list) and isinstance(value, list):
        inner = [(each, kind[0], f"{name}[{number}]") for number, each in enumerate(value)]
    elif isinstance(kind, tuple) and isinstance(value, list) and len(value) == len(kind):
        inner = [(*each, name) for each in zip(value, kind, strict=True)]
    elif _is_one(value, kind):
        return ""
    else:
        return f"{name} is {json.dumps(value)[:60]}, expected {_named(kind)}"
    return next(filter(None, (_misfit(*each) for each in inner)), "")


def _is_one(value: Any, kind: Any) -> bool:
    if not isinstance(kind, type):
        return False
    if issubclass(kind, Enum):
        return value in [member.value for member in kind]
    return type(value) in ((int, float) if kind is float else (kind,))


def _named(kind: Any) -> str:
    if isinstance(kind, dict):
        return KINDS[dict]
    if isinstance(kind, list):
        return "a list"
    if isinstance(kind, tuple):
        return f"a list of {len(kind)}"
    return KINDS.get(kind) or f"one of: {', '.join(member.value for member in kind)}"
