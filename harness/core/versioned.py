"""Runtimes at versions of their own, as ``ort-cpu@1.26.0``: the name, taken apart."""

from __future__ import annotations

from packaging.version import Version

from harness.core.results import Status

AT = "@"
SAME = "outputs_sha256"
"""In the evidence of such a cell: the digest of all its outputs, equal where they are to the bit"""
GOOD = (Status.PASS, Status.XFAIL)
"""What a cell is at a version that is not the one to look for."""


def split(runtime: str) -> tuple[str, Version | None]:
    """Return a runtime's name without its version, and the version; None where it has none."""
    name, at, version = runtime.partition(AT)
    return name, Version(version) if at else None
