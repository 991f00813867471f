"""What a rule reports of a graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Finding:
    """One thing wrong (``error``), or likely to go wrong or to cost speed (``warning``).

    ``place`` names the node, tensor or axis, ``found`` says what is there, ``remedy`` what to do.
    """

    rule: str
    severity: Severity
    place: str
    found: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.place}: {self.found}; {self.remedy}"

    def as_dict(self) -> Mapping[str, str]:
        return asdict(self)
