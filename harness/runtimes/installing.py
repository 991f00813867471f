"""One version of a distribution in a folder of its own, made once under the user's cache."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from harness.core.cache import private_folder
from harness.core.errors import UsageError, clipped
from harness.core.files import replacing

CACHE = "versions"
SECONDS = 1800


def folder(distribution: str, version: str, wheel: Path | None = None) -> Path:
    """Return a folder that has this version alone, without what it requires.

    It is installed where it is not there yet, from the package index or from ``wheel``, by uv where
    that is, else by pip; either obeys its own settings. UsageError, in one line, where it cannot be
    installed, or where another user could write to the folder. A wheel is installed each time.
    """
    tag = f"{sys.implementation.cache_tag}-{sysconfig.get_platform()}"
    place = private_folder(CACHE) / f"{distribution}-{version}-{tag}"
    if wheel is not None:
        place = place.with_name(f"{place.name}-wheel")
    elif place.is_dir():
        return place
    with replacing(place) as new:
        _install(f"{distribution}=={version}" if wheel is None else str(wheel), new)
    return place


def _install(what: str, target: Path) -> None:
    words = ["install", "--quiet", "--no-deps", "--only-binary", ":all:", "--target", str(target)]
    uv = shutil.which("uv")
    if uv:
        command = [uv, "pip", *words, "--python", sys.executable, what]
    else:
        quiet = ["--disable-pip-version-check", "--no-input", "--no-warn-conflicts"]
        command = [sys.executable, "-m", "pip", *words, *quiet, what]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UsageError(f"{what} cannot be installed: {error}") from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        told = [line for line in lines if line.startswith("ERROR:")] or lines[-1:]
        reason = told[-1].removeprefix("ERROR:").strip() if told else "the installer failed"
        raise UsageError(f"{what} cannot be installed: {clipped(reason)}")
