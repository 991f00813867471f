"""Masked recurrence without control flow: exact for any mask, in runtimes without lengths too."""

from __future__ import annotations

import numpy as np

from harness.exporters.tf_to_onnx import Tensor, node


class ValidSteps:
    """Where a mask [batch, steps] is true, in the order in which a recurrent layer visits it.

    ``to_front`` brings a row's valid steps to its front, so that a forward recurrence meets them
    before any padding; ``spread`` and ``last`` look back into its outputs. What the recurrence
    computes after a row's last valid step is never read.
    """

    def __init__(self, mask: Tensor, backwards: bool) -> None:
        self.mask = mask
        self.backwards = backwards
        valid = node("Cast", mask, to=7)
        axis = np.array(1)
        self.seen = node("CumSum", valid, axis, reverse=int(backwards))
        left = node("CumSum", valid, axis, reverse=int(not backwards))
        steps = node("Shape", mask, start=1, end=2)
        self._order = node("TopK", node("Mul", valid, left), steps, axis=1)[1]
        final = np.array([0 if backwards else -1])
        self._final_mask = node("Gather", mask, final, axis=1)
        self._count = node("Gather", self.seen, final, axis=1)

    @property
    def lengths(self) -> Tensor:
        """Valid steps per row, [batch] int32; at least 1, since a row without any is not read."""
        count = node("Squeeze", node("Max", self._count, np.array([1])), np.array([1]))
        return node("Cast", count, to=6)

    def to_front(self, x: Tensor) -> Tensor:
        """[batch, steps, features] with each row's valid steps first, in processing order."""
        return _pick(x, self._order)

    def spread(self, y: Tensor, zero: bool) -> Tensor:
        """The outputs [batch, steps, units] back at their own steps.

        A masked step repeats the last valid output, zeros before the first; or, with ``zero``,
        is zero.
        """
        shown = self.mask if zero else node("Greater", self.seen, np.array(0))
        return _zero_unless(shown, _pick(y, node("Max", node("Sub", self.seen, _ONE), _ZERO)), 2)

    def last(self, y: Tensor, zero: bool) -> Tensor:
        """What ``spread`` holds at the step processed last: [batch, units]."""
        shown = self._final_mask if zero else node("Greater", self._count, _ZERO)
        return node("Where", shown, self._at_last(y), np.array(0, np.float32))

    def final(self, y: Tensor, initial: Tensor | None) -> Tensor:
        """The state after the last valid step, [batch, units]; the initial one of an empty row."""
        return self.kept(self._at_last(y), initial)

    def kept(self, state: Tensor, initial: Tensor | None) -> Tensor:
        """``state``, or the initial one (None for zeros) of a row without valid steps."""
        fallback = np.array(0, np.float32) if initial is None else initial
        return node("Where", node("Greater", self._count, _ZERO), state, fallback)

    def _at_last(self, y: Tensor) -> Tensor:
        index = node("Max", node("Sub", self._count, _ONE), _ZERO)
        return node("GatherND", y, index, batch_dims=1)


_ZERO = np.array(0)
_ONE = np.array(1)


def _pick(x: Tensor, steps: Tensor) -> Tensor:
    """``x[b, steps[b, t]]`` for every b and t."""
    return node("GatherND", x, node("Unsqueeze", steps, np.array([2])), batch_dims=1)


def _zero_unless(shown: Tensor, y: Tensor, axis: int) -> Tensor:
    return node("Where", node("Unsqueeze", shown, np.array([axis])), y, np.array(0, np.float32))
