"""What a reference model is trained on: a seeded generator with a known best score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.core.schema import Array, Arrays

Loss = Literal["categorical", "categorical_logits", "binary"]


@dataclass(frozen=True)
class Batch:
    """Inputs by name, the target of the trained output, and a weight per target element.

    For the categorical losses ``target`` holds class ids, shaped as the output without its last
    axis; for ``binary`` it holds 0 and 1, shaped as the output without or with its last axis.
    ``weight`` has the shape of the per-element loss and is 0 at padded steps.
    """

    inputs: Arrays
    target: Array
    weight: Array | None = None


@dataclass(frozen=True)
class Task:
    """A task that can be learnt and whose best possible score is known.

    ``batch(rng)`` draws one batch; ``score(output, batch)`` gives the sum and the count of the
    per-element score that ``unit`` names. ``chance`` is what ignoring the input scores, ``best``
    what nothing can beat; either may be the larger one.
    """

    output: str
    loss: Loss
    batch: Callable[[np.random.Generator], Batch]
    score: Callable[[Array, Batch], tuple[float, float]]
    unit: str
    chance: float
    best: float
    steps: int
    learning_rate: float = 5e-3
    threshold: float = 0.9

    def learnt(self, score: float) -> float:
        """How far ``score`` lies from chance (0) to the best possible (1)."""
        return (score - self.chance) / (self.best - self.chance)


def accuracy(output: Array, batch: Batch) -> tuple[float, float]:
    """Correct classes and their count; ``output`` holds a score per class on its last axis."""
    weight = np.ones(batch.target.shape) if batch.weight is None else batch.weight
    right = (output.argmax(-1) == batch.target) * weight
    return float(right.sum()), float(weight.sum())


def padded_ids(rng: np.random.Generator, rows: int, longest: int, ids: int) -> tuple[Array, Array]:
    """Ids of 1 to ``ids`` - 1 [rows, longest], each row ending with padding of 0; what is valid."""
    valid = np.arange(longest) < rng.integers(1, longest + 1, (rows, 1))
    return np.where(valid, rng.integers(1, ids, valid.shape), 0).astype(np.int32), valid
