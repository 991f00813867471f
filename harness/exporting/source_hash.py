"""A hash of a module's source and of all of this project's modules that it imports."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

OURS = {"harness", "reference_models"}
"""Packages whose ``__init__`` does nothing; another's may patch or register when imported."""


class ModuleText(NamedTuple):
    """A module's text, empty where there is none, and the package of its relative imports."""

    text: bytes
    package: str


def digest(modules: Iterable[str], texts: dict[str, ModuleText] | None = None) -> str:
    """Return a SHA-256 of the sources of ``modules`` and of their imports from their own packages.

    Modules are found, not imported; a module that does not exist counts as its name. ``texts``
    keeps what was read, by the module's name, for the next digests.
    """
    texts = {} if texts is None else texts
    sources: dict[str, ModuleText] = {}
    todo = sorted(set(modules))
    own = {name.partition(".")[0] for name in todo} | OURS
    while todo:
        name = todo.pop()
        if name in sources:
            continue
        if name not in texts:
            texts[name] = _source(name)
        sources[name] = source = texts[name]
        todo += [imported for imported in _imports(source) if imported.partition(".")[0] in own]
        if name.partition(".")[0] not in OURS and "." in name:
            todo.append(name.rpartition(".")[0])
    named = (f"{name}\0".encode() + sources[name].text for name in sorted(sources))
    return hashlib.sha256(b"\0".join(named)).hexdigest()


def _source(name: str) -> ModuleText:
    for file, package in _files(name):
        if file.is_file():
            return ModuleText(file.read_bytes(), package)
    return ModuleText(b"", "")


def _files(name: str) -> Iterator[tuple[Path, str]]:
    """Yield the possible files of a module, with its package, without importing any package."""
    top, *rest = name.split(".")
    parent = name.rpartition(".")[0]
    try:
        spec = find_spec(top)
    except ValueError:
        return
    if spec is None:
        return
    if spec.submodule_search_locations is None and spec.origin and not rest:
        yield Path(spec.origin), parent
    for place in spec.submodule_search_locations or ():
        path = Path(place, *rest)
        yield path / "__init__.py", name
        yield path.with_suffix(".py"), parent


@cache
def _imports(source: ModuleText) -> frozenset[str]:
    """Return the names that a module imports, some of them attributes of modules.

    None where the source is not Python.
    """
    try:
        tree = ast.parse(source.text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return frozenset()
    names: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, source.package)
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return frozenset(names)


def _absolute(node: ast.ImportFrom, package: str) -> str:
    """Return the module that ``from … import`` names, in ``package`` for one with leading dots."""
    if not node.level:
        return node.module or ""
    parts = package.split(".")
    around = parts[: len(parts) - node.level + 1]
    return ".".join([*around, node.module] if node.module else around)


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yield every statement in ``node``, without its expressions, which import nothing."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.excepthandler | ast.match_case):
            yield child
            yield from _statements(child)
