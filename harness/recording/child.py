"""``python -m harness.recording.child``: load a model of one's own and make what is wanted of it.

Reads one pickled job from standard input; answers on the real standard output with lines of
progress and, last, one that says how it ended. Whatever the model's code prints goes to standard
error.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import os
import pickle
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from harness.core import install
from harness.core.errors import HarnessError, UnavailableError, UsageError, one_line
from harness.recording.user_model import Wanted, make
from harness.subjects.source import Kind, Source

PROGRESS, DONE, ERROR = "progress ", "done", "error "


@dataclass(frozen=True)
class Job:
    """What is asked of the child."""

    source: Source
    weights: Path | None
    wanted: Wanted
    folder: Path


def load(source: Source, weights: Path | None) -> Any:
    """The model as its framework's ``Own``; UsageError in one line where there is none."""
    if source.kind is Kind.ONNX:
        from harness.subjects import onnx_file

        return onnx_file.Own(Path(source.place))
    if source.kind is Kind.KERAS:
        keras = _framework("keras")
        return keras.Own(keras.read(Path(source.place)), weights)
    if source.kind in (Kind.PT2, Kind.TORCHSCRIPT):
        torch = _framework("torch")
        return torch.Own(torch.read(Path(source.place)), weights)
    factory = _factory(source)
    made = _made(source, factory)
    return own(made, source.text, weights, lambda: _made(source, factory))


def own(made: Any, text: str, weights: Path | None = None, again: Any = None) -> Any:
    """A live model as its framework's ``Own``; UsageError where it is of no framework."""
    if "torch" in sys.modules:
        torch = _framework("torch")
        if torch.recognises(made):
            return torch.Own(made, weights)
    if "keras" in sys.modules:
        keras = _framework("keras")
        if keras.recognises(made):
            return keras.Own(made, weights, again)
    kind = type(made)
    raise UsageError(
        f"{text} gives a {kind.__module__}.{kind.__qualname__}; expected a keras.Model or a"
        " torch.nn.Module"
    )


def _framework(name: str) -> Any:
    try:
        return importlib.import_module(f"harness.frameworks.{name}_model")
    except ModuleNotFoundError as error:
        raise UnavailableError(
            f"{name} is not installed here ({error.name} is missing): {install.line(name)}"
        ) from None


def _factory(source: Source) -> Any:
    try:
        if source.place.endswith(".py"):
            path = Path(source.place).resolve()
            sys.path.insert(0, str(path.parent))
            name = f"{path.stem}_of_user" if path.stem in sys.modules else path.stem
            spec = importlib.util.spec_from_file_location(name, path)
            assert spec is not None
            assert spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            spec.loader.exec_module(module)
        else:
            module = importlib.import_module(source.place)
    except SystemExit as error:
        raise UsageError(f"{source.place} ends the process when imported: {error!r}") from None
    except Exception as error:
        raise UsageError(f"{source.place} cannot be imported: {one_line(error)}") from None
    factory = getattr(module, source.factory, None)
    if factory is None:
        there = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UsageError(
            f"{source.place} defines no {source.factory!r}; it defines: {', '.join(there[:12])}"
        )
    return factory


def _made(source: Source, factory: Any) -> Any:
    """What the factory gives; a model that is no factory is taken as it is."""
    live = hasattr(factory, "parameters") or hasattr(factory, "get_weights")
    if not callable(factory) or (live and not isinstance(factory, type)):
        return factory
    try:
        return factory()
    except (Exception, SystemExit) as error:
        raise UsageError(f"{source.text} raises {one_line(error)}") from None


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(line: str) -> None:
        print(line.replace("\n", " "), file=answers, flush=True)

    job: Job = pickle.load(sys.stdin.buffer)
    try:
        model = load(job.source, job.weights)
        make(model, job.wanted, job.folder, lambda text: answer(PROGRESS + text))
        answer(DONE)
    except HarnessError as error:
        answer(ERROR + json.dumps([error.exit_code, str(error)]))


if __name__ == "__main__":
    main()
