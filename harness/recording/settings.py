"""How a user model is recorded and exported."""

from __future__ import annotations

from dataclasses import dataclass, field

from harness.exporters import DEFAULT_OPSET
from harness.recording import cases
from harness.subjects.description import ModelDescription


@dataclass(frozen=True)
class ExportSettings:
    """How a user model is recorded and exported; ``existing`` is a file to judge instead.

    Where ``strict``, the exporter's own way is the only one; else another of ``exporters.ways``
    stands in where the native one ends: of those in ``ways`` where that is not None.
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
    ways: tuple[str, ...] | None = None
