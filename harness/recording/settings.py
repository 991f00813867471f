"""How a user model is recorded and exported."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.exporters import DEFAULT_OPSET
from harness.recording import cases
from harness.subjects.description import ModelDescription


@dataclass(frozen=True)
class ExportSettings:
    """How a user model is recorded and exported; ``existing`` is a file to judge instead.

    Where ``strict``, the exporter's own way is the only one; else a stock exporter stands in where
    the native one ends, but none that is named in ``without``.
    """

    name: str
    text: str
    description: ModelDescription = field(default_factory=ModelDescription)
    lengths: tuple[int, ...] = cases.LENGTHS
    batches: tuple[int, ...] = cases.BATCHES
    exporter: str = "native"
    variant: str = "fp32"
    opset: int = DEFAULT_OPSET
    existing: str = ""
    strict: bool = False
    without: tuple[str, ...] = ()
