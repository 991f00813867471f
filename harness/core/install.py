"""The line that installs an extra of this distribution from where this copy came from.

It is on no package index.
"""

from __future__ import annotations

import json
import re
import shlex
from importlib import metadata
from pathlib import Path

NAME = "onnx-sequence-harness"
CHECKOUT = Path(__file__).parents[2]


def line(extra: str) -> str:
    """Return ``pip install …`` for ``extra``, from the checkout, wheel or address of this copy.

    Where that is not known or gone, the line names the distributions of the extra.
    """
    if (CHECKOUT / "pyproject.toml").is_file():
        return f"pip install -e {shlex.quote(f'{CHECKOUT}[{extra}]')}"
    try:
        here = metadata.distribution(NAME)
    except metadata.PackageNotFoundError:
        return f"install the extra {extra} of {NAME}"
    if source := _source(here, extra):
        return f"pip install {shlex.quote(source)}"
    return f"pip install {' '.join(map(shlex.quote, _required(here, extra)))}"


def _source(here: metadata.Distribution, extra: str) -> str:
    """Return what the distribution was installed from, with ``extra``; empty where not known.

    ``direct_url.json`` (PEP 610) has the address of a folder, a file, an archive or a repository.
    """
    from urllib.parse import urlsplit
    from urllib.request import url2pathname

    origin = json.loads(here.read_text("direct_url.json") or "{}")
    address = origin.get("url", "")
    if address.startswith("file:"):
        place = Path(url2pathname(urlsplit(address).path))
        return f"{place}[{extra}]" if place.exists() else ""
    if repository := origin.get("vcs_info"):
        address = f"{repository['vcs']}+{address}@{repository['commit_id']}"
    return address and f"{NAME}[{extra}] @ {address}"


def _required(here: metadata.Distribution, extra: str) -> list[str]:
    """Return the requirements of ``extra`` with their other markers."""
    only = re.compile(rf"""\s*(and\s+)?extra\s*==\s*['"]{re.escape(extra)}['"]""")
    return [only.sub("", entry).rstrip("; ") for entry in here.requires or () if only.search(entry)]
