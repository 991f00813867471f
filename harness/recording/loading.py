"""User models, loaded in this process from what a subject names."""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.core.errors import UsageError, one_line
from harness.frameworks import missing, user_models
from harness.subjects.resolve import Kind, Subject

PACKAGES = {"torch": "torch", "keras": "keras", "tensorflow": "keras"}
"""The framework that each package is installed with."""


def load(source: Subject, weights: Path | None) -> Any:
    """Return the ``UserModel`` that a subject names.

    UsageError, in one line, where it is none; UnavailableError where its framework is missing.
    """
    if source.kind is Kind.ONNX:
        from harness.subjects import onnx_file

        return onnx_file.OnnxFile(Path(source.place))
    if source.kind is Kind.KERAS:
        keras = user_models("keras")
        return keras.KerasModel(keras.read(Path(source.place)), weights)
    if source.kind in (Kind.PT2, Kind.TORCHSCRIPT):
        torch = user_models("torch")
        return torch.TorchModel(torch.read(Path(source.place)), weights)
    beside = _beside(source)
    factory = _factory(source, beside)
    model = _built(source, factory, beside)
    return user_model(model, source.text, weights, lambda: _built(source, factory, beside))


def _beside(source: Subject) -> str:
    """Return the folder whose modules a subject may import beside the installed ones; or nothing.

    It is that of a file, and for a module that is found nowhere else the current one.
    """
    if source.place.endswith(".py"):
        return str(Path(source.place).resolve().parent)
    return "" if _found(source.place.partition(".")[0]) else os.getcwd()


@contextmanager
def _importable(source: Subject, beside: str) -> Iterator[None]:
    """Let a subject, and nothing that is imported later, import from a folder.

    That of a file comes first. The current one comes last: nothing in it hides an installed module.
    """
    if beside:
        sys.path.insert(0 if source.place.endswith(".py") else len(sys.path), beside)
    try:
        yield
    finally:
        if beside and beside in sys.path:
            sys.path.remove(beside)


def _found(module: str) -> bool:
    """Return whether a module of the top level is imported, or is found on the path."""
    try:
        return module in sys.modules or importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def user_model(model: Any, text: str, weights: Path | None = None, again: Any = None) -> Any:
    """Return a live model as its framework's ``UserModel``; UsageError where it is of none.

    ``again`` builds another one.
    """
    if isinstance(model, getattr(sys.modules.get("keras"), "Model", ())):  # on torch a module, too
        return user_models("keras").KerasModel(model, weights, again)
    if "torch" in sys.modules:
        torch = user_models("torch")
        if torch.recognises(model):
            return torch.TorchModel(model, weights)
    if isinstance(model, type):
        raise UsageError(f"{text} is the class {model.__qualname__}; expected a model, so call it")
    kind = type(model)
    raise UsageError(
        f"{text} gives a {kind.__module__}.{kind.__qualname__}; expected a keras.Model or a"
        " torch.nn.Module"
    )


def _factory(source: Subject, beside: str) -> Any:
    try:
        if source.place.endswith(".py"):
            path = Path(source.place).resolve()
            name = f"{path.stem}_of_user" if _found(path.stem) else path.stem
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            with _importable(source, beside):
                spec.loader.exec_module(module)
        else:
            with _importable(source, beside):
                module = importlib.import_module(source.place)
    except SystemExit as error:
        raise UsageError(f"{source.place} ends the process when imported: {error!r}") from None
    except Exception as error:
        package = (getattr(error, "name", None) or "").partition(".")[0]
        if isinstance(error, ModuleNotFoundError) and package in PACKAGES:
            raise missing(PACKAGES[package], error) from None
        raise UsageError(f"{source.place} cannot be imported: {one_line(error)}") from None
    factory = getattr(module, source.factory, None)
    if factory is None:
        public = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UsageError(
            f"{source.place} defines no {source.factory!r}; it defines: {', '.join(public[:12])}"
        )
    return factory


def _built(source: Subject, factory: Any, beside: str) -> Any:
    """Return what the factory returns, or the attribute itself where it is a model."""
    live = hasattr(factory, "parameters") or hasattr(factory, "get_weights")
    if not callable(factory) or (live and not isinstance(factory, type)):
        return factory
    try:
        with _importable(source, beside):
            return factory()
    except (Exception, SystemExit) as error:
        raise UsageError(f"{source.text} raises {one_line(error)}") from None
