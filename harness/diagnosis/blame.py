"""The first wrong node, and how it departs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from harness.core.schema import Arrays
from harness.diagnosis.form import BlamedNode
from harness.graphs.view import Net


@dataclass(frozen=True)
class Blame:
    """The first node whose output departs though its inputs do not.

    ``node`` is its number in the file, ``tensor`` the output that departs, by ``error``, where
    ``scale`` is the largest expected magnitude. ``nodes`` are all those to look at: itself, or with
    it others that the good graph lacks. ``inputs`` and ``expected`` are what the cut-out ``nodes``
    read and should make, in float64, ``actual`` what a runtime at fault makes instead. ``step`` is
    the first one at which the Y of a recurrent node departs.
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
    inputs: Arrays = field(default_factory=dict)
    expected: Arrays = field(default_factory=dict)
    actual: Arrays = field(default_factory=dict)
    certain: bool = True
    step: int | None = None

    @classmethod
    def of(cls, net: Net, number: int, words: str, **fields: Any) -> Blame:
        """Return the blame of one node, by default for all of its first output."""
        tensor = next(iter(net.makes(number)), "")
        defaults = {"tensor": tensor, "error": float("inf"), "scale": 1.0, "nodes": (number,)}
        return cls(number, net.label(number), words=words, **{**defaults, **fields})

    def entry(self) -> BlamedNode:
        return BlamedNode(
            node=self.label,
            index=self.node,
            tensor=self.tensor,
            max_abs=self.error if self.error != float("inf") else None,
            scale=self.scale,
            told=self.words,
            certain=self.certain,
            first_step=self.step,
            counterpart=self.counterpart,
            differences=self.differences,
        )
