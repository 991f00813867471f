"""Masked recurrence without control flow: exact for any mask, also in runtimes without lengths."""

from __future__ import annotations

import numpy as np

from harness.exporters.keras.tf_graph import Tensor, node

_ZERO = np.array(0, np.float32)


class ValidSteps:
    """The steps where a mask [batch, steps] is true, in the order of a recurrent layer.

    ``to_front`` moves a row's valid steps to its front, so that a forward recurrence meets them
    before any padding. Its outputs are read from ``frames``, which begin with zeros, by the number
    of valid steps so far; those after a row's last valid step are never read.
    """

    def __init__(self, mask: Tensor, backwards: bool) -> None:
        axis = np.array(1)
        final = np.array([0 if backwards else -1])
        self._valid = node("Cast", mask, to=7)
        self._reached = node("CumSum", self._valid, axis, reverse=int(backwards))
        left = node("CumSum", self._valid, axis, reverse=int(not backwards))
        steps = node("Shape", mask, start=1, end=2)
        self._order = node("TopK", node("Mul", self._valid, left), steps, axis=1)[1]
        self._count = node("Gather", self._reached, final, axis=1)
        self._final_valid = node("Gather", self._valid, final, axis=1)

    @property
    def lengths(self) -> Tensor:
        """Valid steps per row, [batch] int32; at least 1: ``kept`` handles empty rows."""
        count = node("Squeeze", node("Max", self._count, np.array([1])), np.array([1]))
        return node("Cast", count, to=6)

    def to_front(self, x: Tensor) -> Tensor:
        """Return [batch, steps, features] with each row's valid steps first, as processed."""
        return _pick(x, self._order)

    def frames(self, y: Tensor) -> Tensor:
        """Return the outputs [steps, batch, units] as [batch, 1 + steps, units], zeros first."""
        return node("Transpose", node("Pad", y, np.array([1, 0, 0, 0, 0, 0])), perm=[1, 0, 2])

    def spread(self, frames: Tensor, zero: bool) -> Tensor:
        """Return the outputs [batch, steps, units] at their own steps.

        A masked step repeats the last valid output, zeros before the first; or, with ``zero``,
        is zero.
        """
        return _pick(frames, node("Mul", self._reached, self._valid) if zero else self._reached)

    def last(self, frames: Tensor, zero: bool) -> Tensor:
        """Return what ``spread`` has at the step processed last: [batch, units]."""
        index = node("Mul", self._count, self._final_valid) if zero else self._count
        return node("GatherND", frames, index, batch_dims=1)

    def final(self, frames: Tensor, initial: Tensor | None) -> Tensor:
        """Return the state after the last valid step, [batch, units]; of an empty row the first."""
        state = self.last(frames, zero=False)
        return state if initial is None else self.kept(state, initial)

    def kept(self, state: Tensor, initial: Tensor | None) -> Tensor:
        """Return ``state``, or the initial one (None for zeros) of a row without valid steps."""
        any_valid = node("Greater", self._count, np.array(0))
        return node("Where", any_valid, state, _ZERO if initial is None else initial)


def _pick(x: Tensor, steps: Tensor) -> Tensor:
    """Return ``x[b, steps[b, t]]`` for every b and t."""
    return node("GatherND", x, node("Unsqueeze", steps, np.array([2])), batch_dims=1)
