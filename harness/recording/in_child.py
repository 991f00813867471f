"""Recording in child processes, which frameworks and a user's code may crash or print from."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from harness.core.errors import ExportError, GoldenError
from harness.core.schema import Progress
from harness.processes.limits import IN_FLOAT64, Limits
from harness.processes.worker import Heed, LostError, Worker, call_in_child
from harness.recording.settings import ExportSettings
from harness.subjects.resolve import Kind, Subject


@dataclass(frozen=True)
class Order:
    """A user model: where it comes from, how it is recorded and exported, and to which folder."""

    source: Subject
    weights: Path | None
    settings: ExportSettings
    folder: Path


def make(order: Order, progress: Progress, seconds: float | None = None) -> None:
    """Fill the order's folder as ``user_model.make`` does; its errors are raised here.

    ExportError, as a crash, where the child dies, takes more than ``seconds`` (half an hour where
    that is None) or passes another limit: of a ``.onnx`` file, whose author may not be known, one
    of silence.
    """
    limits = IN_FLOAT64 if order.source.kind is Kind.ONNX else Limits()
    try:
        call_in_child(replace(limits, seconds=seconds), _make, order, heed=progress)
    except LostError as lost:
        raise ExportError(f"{order.source.text}: its process {lost}", crashed=True) from None


@dataclass(frozen=True)
class Recording:
    """The arguments of ``reference_model.record``, with the model by its name."""

    model: str
    framework: str
    root: Path
    seed: int
    train: bool
    only_new: bool


class RecordingChild:
    """Records the goldens of one framework in a child, for as long as that takes."""

    def __init__(self) -> None:
        self._worker = Worker(Limits(math.inf))

    def record(self, recording: Recording, progress: Progress) -> Mapping[str, float]:
        """Record as ``reference_model.record``; GoldenError also where the process is lost."""
        try:
            figures: Mapping[str, float] = self._worker.call(_record, recording, heed=progress)
        except LostError as lost:
            name = f"{recording.model}/{recording.framework}"
            raise GoldenError(f"{name}: the process that records it {lost}") from None
        return figures

    def stop(self) -> None:
        self._worker.stop()


COMPILED = "16"
"""How many operators oneDNN keeps compiled: by itself 1,024, each for one shape, of which a model's
cases have hundreds."""


def _prepare() -> None:
    """Set TensorFlow's log level and oneDNN's cache, which are read when they are first used."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", COMPILED)


def _make(emit: Heed, order: Order) -> None:
    _prepare()
    from harness.recording import loading, user_model

    model = loading.load(order.source, order.weights)
    user_model.make(model, order.settings, order.folder, emit)


def _record(emit: Heed, recording: Recording) -> Mapping[str, float]:
    _prepare()
    from harness.recording import reference_model
    from reference_models import catalog

    return reference_model.record(
        catalog.load(recording.model),
        recording.framework,
        recording.root,
        recording.seed,
        recording.train,
        emit,
        recording.only_new,
    )
