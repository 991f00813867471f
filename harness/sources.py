"""A hash of a module's source and of all of this project's modules that it imports."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path


def digest(modules: Iterable[str], known: dict[str, bytes] | None = None) -> str:
    """SHA-256 over the sources of ``modules`` and of what they import from their own packages.

    Modules are found, not imported; a module that does not exist counts as its name. ``known``
    keeps what was read, by the module's name, for the digests that follow.
    """
    known = {} if known is None else known
    sources: dict[str, bytes] = {}
    todo = sorted(set(modules))
    own = {name.partition(".")[0] for name in todo} | {"harness", "reference_models"}
    while todo:
        name = todo.pop()
        if name in sources:
            continue
        if name not in known:
            known[name] = _source(name)
        sources[name] = source = known[name]
        todo += [found for found in _imports(source) if found.partition(".")[0] in own]
    named = (f"{name}\0".encode() + sources[name] for name in sorted(sources))
    return hashlib.sha256(b"\0".join(named)).hexdigest()


def _source(name: str) -> bytes:
    """The text of a module, found without importing the packages that it lies in."""
    top, *rest = name.split(".")
    try:
        spec = find_spec(top)
    except ValueError:
        return b""
    for place in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(place, *rest)
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file():
                return file.read_bytes()
    return b""


@cache
def _imports(source: bytes) -> frozenset[str]:
    """Names of modules that may be imported; an attribute among them is found to be no module."""
    names: set[str] = set()
    for node in _statements(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Every statement in ``node``; expressions, in which nothing is imported, are passed over."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield child
            yield from _statements(child)
