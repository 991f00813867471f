"""The Python API: ``harness.export`` and ``harness.validate``, as the commands of these names."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from harness.core.results import Report

Numbers = str | int | Iterable[int]
Names = str | Sequence[str]


def export(
    subject: Any,
    output: str | PathLike[str],
    *,
    inputs: Any = None,
    outputs: Names = (),
    lengths: Numbers | None = None,
    batch: Numbers | None = None,
    framework: str | None = None,
    exporter: str = "native",
    variant: str = "fp32",
    opset: int = 18,
    runtimes: Names = (),
    weights: str | PathLike[str] | None = None,
    onnx: str | PathLike[str] | None = None,
    name: str = "",
    timeout: float | None = None,
    strict: bool = False,
) -> Report:
    """Export a model, validate it, and write a bundle to ``output`` if it conforms.

    ``subject`` is a live ``keras.Model`` or ``torch.nn.Module``, or what the command takes: a
    reference model's name (of ``framework``, by default torch), ``package.module:factory``,
    ``file.py:factory`` or a ``.keras``, ``.pt2``, TorchScript or ``.onnx`` file. ``inputs``
    describes its inputs: a line such as ``"tokens: int64[batch, sequence] in 0..9999, padding 0"``,
    several, a mapping of names to what follows the colon, or the path of a TOML file; what the
    model declares itself may be left out. ``lengths`` and ``batch`` are the sizes to prove it at,
    ``onnx`` a file to judge instead of exporting. A model that the native exporter cannot export
    is tried by the framework's own ones in turn, unless ``strict``.

    Where the model does not conform, nothing is raised and no bundle is written: ``conforms`` of
    the report is False, its text says which cell fails and why, and ``raise_for_status()`` raises
    that. UsageError, in one line and with nothing written, where the model cannot be read, run or
    exported or an input is not described; UnavailableError where its framework is not installed
    or a runtime that ``runtimes`` names is not available.
    """
    from harness.core.errors import UsageError
    from harness.shipping import reference_model
    from harness.subjects.resolve import EXPORTABLE, Kind, resolve
    from harness.validation.selection import Selection

    if isinstance(subject, PathLike):
        subject = str(subject)
    own = {
        "inputs": inputs,
        "outputs": outputs,
        "lengths": lengths,
        "batch": batch,
        "weights": weights,
        "onnx": onnx,
        "name": name,
        "timeout": timeout,
        "strict": strict,
    }
    named = resolve(subject, EXPORTABLE) if isinstance(subject, str) else None
    ours = named is not None and named.kind is Kind.REFERENCE
    if ours and (odd := [word for word, value in own.items() if value]):
        raise UsageError(f"{odd[0]} is for a model of your own; {subject} is ours")
    if framework and not ours:
        raise UsageError("framework is for reference models; a model of your own has one")
    if ours:
        selection = Selection(
            subjects=[subject],
            frameworks=[framework or "torch"],
            exporters=[exporter],
            variants=[variant],
            runtimes=_names(runtimes),
            opset=opset,
        )
        return reference_model.ship(selection, Path(output), lambda result: None)[0]

    from harness.shipping import user_model
    from harness.shipping.request import Request

    request = Request(
        subject,
        Path(output),
        inputs,
        _numbers(lengths),
        _numbers(batch),
        exporter,
        variant,
        opset,
        _names(runtimes),
        None if weights is None else Path(weights),
        None if onnx is None else Path(onnx),
        _names(outputs),
        name,
        timeout,
        strict,
    )
    return user_model.ship(request, lambda result: None)[0]


def validate(
    subject: str | PathLike[str] | Sequence[str] = (),
    *,
    runtimes: Names = (),
    require: Names = (),
    golden: str | PathLike[str] | None = None,
    lengths: Numbers | None = None,
    batch: Numbers | None = None,
    frameworks: Names = (),
    exporters: Names = (),
    variants: Names = (),
    every_step: bool = False,
) -> Report:
    """Judge a bundle, a ``.onnx`` file with its ``golden``, or reference models, in ``runtimes``.

    Selectors are those of the command, their defaults too. A runtime that is not available here
    is no failure, unless ``require`` names it. Nothing is written but exports of
    reference models, under ``build/``. ``conforms`` of the report is the verdict, its text the
    reasons, and ``raise_for_status()`` raises those where something does not conform.

    UsageError, NothingSelectedError or UnavailableError as the command's one line.
    """
    from harness.validation import pipeline
    from harness.validation.selection import Selection

    subjects = [str(subject)] if isinstance(subject, str | PathLike) else list(subject)
    selection = Selection(
        subjects=subjects,
        frameworks=_names(frameworks),
        exporters=_names(exporters),
        variants=_names(variants),
        runtimes=_names(runtimes),
        require=_names(require),
        lengths=_numbers(lengths),
        batch=_numbers(batch),
        golden=None if golden is None else Path(golden),
        every_step=every_step,
    )
    prepared = pipeline.prepare(selection, lambda text: None)
    return pipeline.judge(prepared, "harness.validate", lambda result: None, lambda job: None)


def _names(names: Names) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _numbers(numbers: Numbers | None) -> list[str]:
    if numbers is None:
        return []
    if isinstance(numbers, str | int):
        return [str(numbers)]
    try:
        return [str(number) for number in numbers]
    except TypeError:
        from harness.core.errors import UsageError

        raise UsageError(f"{numbers!r}: expected numbers, or a text such as 1,2,7..9") from None


if __name__ == "__main__":
    from harness.__main__ import main

    sys.argv[1:1] = ["api"]
    main()
