"""The training task of a reference model: a seeded generator with a known best score."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np

from harness.core.schema import Array, Arrays

Loss = Literal["categorical", "categorical_logits", "binary", "ctc"]


@dataclass(frozen=True)
class Batch:
    """Inputs by name, the target of the trained output, and a weight per target element.

    For the categorical losses ``target`` holds class ids, shaped as the output without its last
    axis; for ``binary`` it holds 0 and 1, shaped as the output without or with its last axis.
    ``weight`` has the shape of the per-element loss and is 0 at padded steps. For ``ctc`` they are
    the labels of each row, 0 after its end, and its number of frames.
    """

    inputs: Arrays
    target: Array
    weight: Array | None = None


def accuracy(output: Array, batch: Batch) -> tuple[float, float]:
    """Return the number of correct classes and of all; ``output`` has class scores, last axis."""
    weight = np.ones(batch.target.shape) if batch.weight is None else batch.weight
    right = (output.argmax(-1) == batch.target) * weight
    return float(right.sum()), float(weight.sum())


@dataclass(frozen=True)
class Task:
    """A task that can be learnt and whose best possible score is known.

    ``batch(rng)`` draws one batch; ``score(output, batch)`` returns the sum and the count of the
    per-element score that ``unit`` names. ``chance`` is the score of a model that ignores its
    input, ``best`` the best possible one; either may be the larger one.
    """

    output: str
    batch: Callable[[np.random.Generator], Batch]
    chance: float
    steps: int
    best: float = 1.0
    loss: Loss = "categorical"
    score: Callable[[Array, Batch], tuple[float, float]] = accuracy
    unit: str = "accuracy"
    learning_rate: float = 5e-3
    threshold: float = 0.9

    def learnt(self, score: float) -> float:
        """Return where ``score`` lies between chance (0) and the best possible (1)."""
        return (score - self.chance) / (self.best - self.chance)


def padded_ids(rng: np.random.Generator, rows: int, longest: int, ids: int) -> tuple[Array, Array]:
    """Return ids of 1 to ``ids`` - 1, [rows, longest], 0 after a row's end, and where they are."""
    valid = np.arange(longest) < rng.integers(1, longest + 1, (rows, 1))
    return np.where(valid, rng.integers(1, ids, valid.shape), 0).astype(np.int32), valid
