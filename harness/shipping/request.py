"""What a call asks for of a user's model, checked and read into settings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from harness.core import selectors
from harness.core.errors import ExportError, UsageError
from harness.core.schema import Progress
from harness.exporters import DEFAULT_OPSET
from harness.recording import cases, in_child, user_model
from harness.recording.loading import user_model as loaded
from harness.recording.settings import ExportSettings
from harness.subjects import onnx_file
from harness.subjects.describe import description, file
from harness.subjects.description import ModelDescription
from harness.subjects.resolve import EXPORTABLE, Kind, Subject, resolve

MOST_LENGTHS = 1000


@dataclass(frozen=True)
class Request:
    """What a call asks for; ``subject`` is a text that names the model, or the live model."""

    subject: Any
    output: Path
    inputs: Any = None
    lengths: Sequence[str] = ()
    batch: Sequence[str] = ()
    exporter: str = "native"
    variant: str = "fp32"
    opset: int = DEFAULT_OPSET
    runtimes: Sequence[str] = ()
    weights: Path | None = None
    existing: Path | None = None
    outputs: Sequence[str] = ()
    name: str = ""
    timeout: float | None = None
    strict: bool = False


def make(
    request: Request, folder: Path, progress: Progress, ways: Sequence[str] | None
) -> ExportSettings:
    """Write the golden and the model to ``folder``: in a child, or here for a live model."""
    named = resolve(request.subject, EXPORTABLE) if isinstance(request.subject, str) else None
    described = _description(request, named)
    settings = ExportSettings(
        _name(request, described, named),
        named.text if named else f"a live {type(request.subject).__name__}",
        described,
        _numbers("--lengths", request.lengths or described.lengths, cases.LENGTHS),
        _numbers("--batch", request.batch or described.batch, cases.BATCHES),
        request.exporter,
        request.variant,
        request.opset,
        str(request.existing or ""),
        request.strict,
        None if ways is None else tuple(ways),
    )
    _check_files(request, named)
    if named is None:
        model = loaded(request.subject, settings.text, request.weights)
        user_model.make(model, settings, folder, progress)
        return settings
    try:
        order = in_child.Order(named, request.weights, settings, folder)
        in_child.make(order, progress, request.timeout)
    except ExportError as error:
        raise UsageError(str(error)) from None
    return settings


def _description(request: Request, named: Subject | None) -> ModelDescription:
    """Return the description in the call, else the one in the TOML file next to the model."""
    described = description(request.inputs)
    beside = named.description if named else None
    if not described.inputs and beside is not None and beside.is_file():
        described = file(beside)
    return replace(described, outputs=tuple(request.outputs) or described.outputs)


def _name(request: Request, described: ModelDescription, named: Subject | None) -> str:
    name = request.name or described.name
    if not name:
        return named.name if named else type(request.subject).__name__
    if not name.replace("-", "_").replace(".", "_").isidentifier():
        raise UsageError(f"name {name!r}: expected letters, digits, '_', '-' and '.'")
    return name


def _check_files(request: Request, named: Subject | None) -> None:
    """Raise UsageError where the weights or the file to judge are missing, or of no use here."""
    kind = None if named is None else named.kind
    if request.weights is not None:
        if not request.weights.exists():
            raise UsageError(f"{request.weights}: no such file; expected weights")
        if kind not in (None, Kind.FACTORY):
            raise UsageError(f"--weights is for FILE.py:factory; {request.subject} holds its own")
    if request.existing is not None:
        if kind is Kind.ONNX:
            reason = f"{request.subject} is judged as it is"
            raise UsageError(f"--onnx is for a model of Keras or PyTorch; {reason}")
        if not request.existing.is_file():
            raise UsageError(f"{request.existing}: no such file; expected a .onnx file to judge")
        onnx_file.read(request.existing)


def _numbers(flag: str, texts: Sequence[str], default: tuple[int, ...]) -> tuple[int, ...]:
    """Return the numbers that ``1,2,7..9`` names, or the default without any text."""
    if not texts:
        return default
    ranges = selectors.numbers(flag, [str(text) for text in texts], default).ranges
    if sum(high - low for low, high in ranges) >= MOST_LENGTHS:
        raise UsageError(f"{flag} names more than {MOST_LENGTHS} numbers; each one is run")
    return tuple(sorted({n for low, high in ranges for n in range(low, high + 1)})) or default
