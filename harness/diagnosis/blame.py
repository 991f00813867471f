"""What a search for the first wrong node found."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from harness.core.schema import Arrays

Fault = Literal["graph", "runtime", "session", "unknown"]


@dataclass(frozen=True)
class Blame:
    """The first node whose output departs though its inputs do not.

    ``node`` is its number in the file, ``label`` what it is called, ``tensor`` what it makes that
    departs, by ``error``, the largest magnitude that is expected there being ``scale``. ``nodes``
    are all those to look at: itself, or with it others that the good graph lacks. ``fed`` and
    ``due`` are what the cut-out ``nodes`` take and should give, in float64, ``given`` what a
    runtime at fault gave instead. ``step`` is the first
    one at which the Y of a recurrent node departs.
    """

    node: int
    label: str
    tensor: str
    error: float
    scale: float
    words: str
    counterpart: str = ""
    differences: tuple[str, ...] = ()
    nodes: tuple[int, ...] = ()
    fed: Arrays = field(default_factory=dict)
    due: Arrays = field(default_factory=dict)
    given: Arrays = field(default_factory=dict)
    certain: bool = True
    step: int | None = None

    def as_dict(self) -> dict[str, Any]:
        finite = self.error != float("inf")
        return {
            "node": self.label,
            "index": self.node,
            "tensor": self.tensor,
            "max_abs": self.error if finite else None,
            "scale": self.scale,
            "told": self.words,
            "certain": self.certain,
            "first_step": self.step,
            "counterpart": self.counterpart,
            "differences": list(self.differences),
        }
