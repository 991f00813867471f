"""What a text on the command line names: a reference model, a folder, a file or a factory."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from harness.core import archives, selectors
from harness.core.errors import UsageError, unknown
from harness.core.names import LONGEST
from harness.core.reading import TEXT_BYTES, check_file, read_bytes
from harness.goldens import store
from harness.goldens.tensor_files import present
from reference_models import catalog


class Kind(StrEnum):
    """Every kind of subject, by what a message calls it."""

    REFERENCE = "a reference model's name"
    BUNDLE = "a bundle folder"
    ONNX_TESTS = "a folder of ONNX tests"
    GOLDEN = "a golden"
    GOLDENS = "a folder of goldens or bundles"
    FACTORY = "package.module:factory, path/file.py:factory"
    KERAS = "a .keras file"
    PT2 = "a .pt2 file"
    TORCHSCRIPT = "a TorchScript file"
    ONNX = "a .onnx file"


FOLDERS = {Kind.BUNDLE, Kind.ONNX_TESTS, Kind.GOLDEN, Kind.GOLDENS}
EXPORTED = {Kind.REFERENCE, Kind.BUNDLE, Kind.ONNX_TESTS, Kind.ONNX}
"""An ONNX model with a golden to judge it by, which for a .onnx file is ``--golden``."""
EXPORTABLE = set(Kind) - FOLDERS
"""What a bundle can be made of."""
CONVERTIBLE = {Kind.GOLDEN, Kind.BUNDLE, Kind.ONNX_TESTS}
"""What holds the cases of one golden."""
SUFFIXES = {
    ".keras": Kind.KERAS,
    ".pt2": Kind.PT2,
    ".onnx": Kind.ONNX,
    ".jit": Kind.TORCHSCRIPT,
    ".torchscript": Kind.TORCHSCRIPT,
}
_HDF5 = (
    "Keras reads HDF5 without its guard against code in the file; where you trust it, save it as"
    " .keras: keras.models.load_model('FILE', compile=False).save('model.keras'), or give"
    " FILE.py:factory, with --weights FILE for weights alone"
)
_TENSORFLOW = (
    "a SavedModel has no layers; export the Keras model that it was made of, or convert it:"
    " python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"
)
OTHER = {
    ".h5": _HDF5,
    ".hdf5": _HDF5,
    ".pb": _TENSORFLOW,
    ".tflite": "a TFLite file has no layers; export the model that it was made of, or convert it:"
    " python -m tf2onnx.convert --tflite FILE --output model.onnx",
    ".safetensors": "it holds weights alone; give FILE.py:factory and --weights FILE",
    ".py": "a Python file needs the name of its factory: FILE.py:factory",
}
FILES = {*SUFFIXES, *OTHER, ".pt", ".pth"}
"""Suffixes of a text that names a file, whether it exists or not."""
DATA_SET = "test_data_set_"
"""What the names of ONNX tests' folders begin with; a number follows."""


@dataclass(frozen=True)
class Subject:
    """What a text names.

    ``place`` is a name, a path or a dotted module, ``factory`` the callable in a module.
    """

    kind: Kind
    place: str
    factory: str = ""

    @property
    def path(self) -> Path:
        return Path(self.place)

    @property
    def name(self) -> str:
        """A name for the model that a cell's id can hold."""
        text = self.factory or self.path.stem
        return re.sub(r"[^\w.-]+", "_", text).strip("._-")[:LONGEST] or "model"

    @property
    def text(self) -> str:
        return f"{self.place}:{self.factory}" if self.factory else self.place

    @property
    def description(self) -> Path | None:
        """The TOML file next to the model that may describe its inputs; None for a module."""
        module = self.kind is Kind.FACTORY and not self.place.endswith(".py")
        return None if module else self.path.with_suffix(".toml")


def resolve(text: str, kinds: Collection[Kind]) -> Subject:
    """Return the subject that ``text`` names; UsageError in one line where it is of other kinds.

    A folder comes before a reference model of its name, where folders may be named. What looks
    like no file is the name, or a glob, of reference models.
    """
    path = Path(text)
    exists = bool(text) and path.exists()
    expected = f"expected {', '.join(kind for kind in Kind if kind in kinds)}"
    if exists and path.is_dir() and not FOLDERS.isdisjoint(kinds):
        return _allowed(Subject(_folder(path), text), kinds, expected)
    if text in catalog.MODELS:
        return _allowed(Subject(Kind.REFERENCE, text), kinds, expected)
    place, colon, factory = text.rpartition(":")
    if colon and place and not exists and factory.isidentifier():
        return _allowed(_factory(place, factory, expected), kinds, expected)
    like_file = path.suffix.lower() in FILES or os.sep in text or ":" in text
    if not (like_file or exists) and Kind.REFERENCE in kinds:
        if re.fullmatch(r"[\w.-]*", text) and text != selectors.ALL:
            raise unknown("file, folder or reference model", text, catalog.MODELS)
        return Subject(Kind.REFERENCE, text)
    if not exists:
        kind = "file or reference model" if Kind.REFERENCE in kinds else "file or folder"
        raise UsageError(f"{text}: no such {kind}; {expected}")
    if path.is_dir():
        saved = (path / "saved_model.pb").is_file()
        raise UsageError(f"{text}: {_TENSORFLOW}" if saved else f"{text} is a folder; {expected}")
    return _allowed(Subject(_file(path, expected), text), kinds, expected)


def _allowed(subject: Subject, kinds: Collection[Kind], expected: str) -> Subject:
    if subject.kind in kinds:
        return subject
    raise UsageError(f"{subject.text} is {subject.kind}; {expected}")


def _folder(path: Path) -> Kind:
    """Return the kind of a folder; one that holds nothing known counts as a bundle."""
    if any(re.fullmatch(rf"{DATA_SET}\d+", entry.name) for entry in path.glob(f"{DATA_SET}*")):
        return Kind.ONNX_TESTS
    if present(path / store.CASES).is_file():
        return Kind.GOLDEN
    if not present(path / store.MANIFEST).is_file() and any(store.goldens(path)):
        return Kind.GOLDENS
    return Kind.BUNDLE


def _factory(place: str, factory: str, expected: str) -> Subject:
    if place.endswith(".py"):
        path = Path(place)
        if not path.is_file():
            raise UsageError(f"{place}: no such file; expected path/file.py:factory")
        bound, defined = _callables(path)
        if bound and factory not in bound:
            raise UsageError(f"{place} defines no {factory!r}; it defines: {', '.join(defined)}")
    elif not all(part.isidentifier() for part in place.split(".")):
        raise UsageError(f"{place}:{factory}: {place!r} is no module; {expected}")
    return Subject(Kind.FACTORY, place, factory)


def _file(path: Path, expected: str) -> Kind:
    suffix = path.suffix.lower()
    if suffix in OTHER:
        defined = _callables(path)[1] if suffix == ".py" else []
        hint = f" (it defines: {', '.join(defined)})" if defined else ""
        raise UsageError(f"{path}: {OTHER[suffix]}{hint}")
    return SUFFIXES.get(suffix) or _content(path, expected)


def _content(path: Path, expected: str) -> Kind:
    """Return the kind of a file whose suffix is unknown, such as a TorchScript archive in a .pt."""
    check_file(path, archives.BYTES)
    with path.open("rb") as file:
        head = file.read(2)
    parts = set()
    if head == b"PK":
        with archives.opened(path, "model") as archive:
            parts = {part for name in archive.namelist() for part in name.split("/")[1:2]}
    if parts & {"code", "constants.pkl"}:
        return Kind.TORCHSCRIPT
    if "data.pkl" in parts or head[:1] == b"\x80":
        raise UsageError(
            f"{path} is a pickle, which runs code when it is read; give FILE.py:factory, with"
            " --weights FILE for a state dict, or save the model with torch.export.save (.pt2)"
        )
    raise UsageError(f"{path} is no model that can be read; {expected}")


def _callables(path: Path) -> tuple[set[str], list[str]]:
    """Return every name that a Python file may bind, and what it defines at its top.

    No name where the file is broken or imports ``*``.
    """
    try:
        tree = ast.parse(read_bytes(path, TEXT_BYTES))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set(), []
    bound: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name | ast.alias):
            name = node.id if isinstance(node, ast.Name) else node.asname or node.name
            bound.add(name.split(".")[0])
    kinds = ast.FunctionDef, ast.ClassDef
    defined = [node.name for node in tree.body if isinstance(node, kinds)]
    return set() if "*" in bound else bound | set(defined), defined
