"""What a subject on the command line names: a file of a kind we can read, or a factory."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from harness.core.errors import UsageError

FORMS = (
    "a reference model's name, package.module:factory, path/file.py:factory, a .keras file,"
    " a .pt2 file, a TorchScript file or a .onnx file"
)


class Kind(StrEnum):
    KERAS = "keras"
    PT2 = "pt2"
    TORCHSCRIPT = "torchscript"
    FACTORY = "factory"
    ONNX = "onnx"


@dataclass(frozen=True)
class Source:
    """``place`` is a file or a dotted module, ``factory`` the callable in it, if it has one."""

    kind: Kind
    place: str
    factory: str = ""

    @property
    def name(self) -> str:
        """A name for the model that can stand in a cell's id."""
        text = self.factory or Path(self.place).stem
        return re.sub(r"[^\w.-]+", "_", text).strip("._") or "model"

    @property
    def text(self) -> str:
        return f"{self.place}:{self.factory}" if self.factory else self.place

    @property
    def description(self) -> Path | None:
        """The TOML file next to the model that may describe its inputs; None for a module."""
        own = self.kind is not Kind.FACTORY or self.place.endswith(".py")
        return Path(self.place).with_suffix(".toml") if own else None


SUFFIXES = {
    ".keras": Kind.KERAS,
    ".pt2": Kind.PT2,
    ".onnx": Kind.ONNX,
    ".jit": Kind.TORCHSCRIPT,
    ".torchscript": Kind.TORCHSCRIPT,
}
OTHER = {
    ".h5": "HDF5 holds no complete Keras model; save it as .keras, or give FILE.py:factory and"
    " --weights FILE",
    ".safetensors": "it holds weights alone; give FILE.py:factory and --weights FILE",
    ".py": "a Python file needs the name of its factory: FILE.py:factory",
}


def source(text: str) -> Source:
    """The source that ``text`` names; UsageError in one line where it names none."""
    place, colon, factory = text.rpartition(":")
    if colon and place and not Path(text).exists() and factory.isidentifier():
        return _factory(place, factory)
    path = Path(text)
    kind = SUFFIXES.get(path.suffix.lower())
    if not path.exists():
        raise UsageError(f"{text}: no such file or reference model; expected {FORMS}")
    if path.is_dir():
        raise UsageError(f"{text} is a folder; expected {FORMS}")
    if path.suffix.lower() in OTHER:
        hint = OTHER[path.suffix.lower()]
        found = _callables(path)[1] if path.suffix == ".py" else []
        there = f" (it defines: {', '.join(found)})" if found else ""
        raise UsageError(f"{text}: {hint}{there}")
    if kind is None:
        kind = _content(path)
    return Source(kind, text)


def _factory(place: str, factory: str) -> Source:
    if place.endswith(".py"):
        path = Path(place)
        if not path.is_file():
            raise UsageError(f"{place}: no such file; expected path/file.py:factory")
        bound, defined = _callables(path)
        if bound and factory not in bound:
            raise UsageError(f"{place} defines no {factory!r}; it defines: {', '.join(defined)}")
    elif not all(part.isidentifier() for part in place.split(".")):
        raise UsageError(f"{place}:{factory}: {place!r} is no module; expected {FORMS}")
    return Source(Kind.FACTORY, place, factory)


def _content(path: Path) -> Kind:
    """The kind of a file that its name does not tell, such as a TorchScript archive in a .pt."""
    try:
        with ZipFile(path) as archive:
            parts = {part for name in archive.namelist() for part in name.split("/")[1:2]}
    except (OSError, BadZipFile):
        parts = set()
    if parts & {"code", "constants.pkl"}:
        return Kind.TORCHSCRIPT
    with path.open("rb") as file:
        head = file.read(1)
    if "data.pkl" in parts or head == b"\x80":
        raise UsageError(
            f"{path} is a pickle, which runs code when it is read; give FILE.py:factory, with"
            " --weights FILE for a state dict, or save the model with torch.export.save (.pt2)"
        )
    raise UsageError(f"{path} is no model that can be read; expected {FORMS}")


def _callables(path: Path) -> tuple[set[str], list[str]]:
    """Every name that a Python file binds, and what it defines at its top; none if it is broken."""
    try:
        tree = ast.parse(path.read_text())
    except (SyntaxError, ValueError, OSError):
        return set(), []
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.alias):
            name = node.id if isinstance(node, ast.Name) else node.asname or node.name
            bound.add(name.split(".")[0])
    kinds = ast.FunctionDef, ast.ClassDef
    defined = [node.name for node in tree.body if isinstance(node, kinds)]
    star = "*" in bound
    return set() if star else bound | set(defined), defined
