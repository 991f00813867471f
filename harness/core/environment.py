"""The platform and the versions of libraries that a run or a golden was made with."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata

VERSIONS = {"keras": ("keras", "tensorflow-cpu", "tensorflow"), "torch": ("torch",)}


def installed(names: Iterable[str]) -> dict[str, str]:
    """Return the version of each of these distributions that is installed, by name."""
    versions = {}
    for name in names:
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(name)
    return versions


def version_of(distribution: str) -> str:
    """Return the version of a distribution; empty where it is not installed."""
    return installed([distribution]).get(distribution, "")


def machine(distributions: Iterable[str]) -> dict[str, str | int]:
    """Return the platform, its cores and the versions of the distributions that are installed."""
    return {**_platform(), "cores": os.cpu_count() or 0, **installed(["numpy", *distributions])}


def now() -> str:
    """Return the date and time, to the second and in UTC; as SOURCE_DATE_EPOCH has it, if at all.

    That is what https://reproducible-builds.org/specs/source-date-epoch asks for.
    """
    stated = os.environ.get("SOURCE_DATE_EPOCH", "")
    seconds = int(stated) if stated.isdecimal() and len(stated) < 12 else time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def made_with(framework: str) -> dict[str, str]:
    """Return the platform and the versions that a golden of ``framework`` is made with, by name."""
    return {**_platform(), **installed(["numpy", *VERSIONS.get(framework, ())])}


def _platform() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
    }
