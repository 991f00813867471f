"""Outputs that two runs kept: equal to the bit, or how many ULP apart, case by case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from harness.comparing.change import Change, Word
from harness.core.errors import UsageError
from harness.core.names import visible
from harness.core.schema import Array, Arrays
from harness.core.summary import count
from harness.validation.outputs.manifest import KeptRun
from harness.validation.outputs.saved import Saved

_SIGNED = {1: np.int8, 2: np.int16, 4: np.int32, 8: np.int64}


@dataclass(frozen=True)
class Apart:
    """How far two arrays lie apart: in ULP of their own dtype, and in their own unit.

    ``reason`` says why they cannot be compared so; empty where they can.
    """

    ulp: int = 0
    largest: float = 0.0
    reason: str = ""


def apart(before: Array, after: Array) -> Apart:
    """Return how far two arrays lie apart; of integers and booleans, a step of 1 is an ULP.

    NaN equals NaN whatever its bits, and +0 is one ULP from -0: only equal bits are 0 ULP.
    """
    if before.dtype != after.dtype:
        return Apart(reason=f"is {after.dtype}, was {before.dtype}")
    if before.shape != after.shape:
        return Apart(reason=f"has shape {after.shape}, had {before.shape}")
    if before.dtype.kind == "f":
        odd = np.isfinite(before) != np.isfinite(after)
        infinite = ~np.isfinite(before) & ~np.isfinite(after)
        odd |= infinite & (before != after) & ~(np.isnan(before) & np.isnan(after))
        if odd.any():
            first = tuple(int(n) for n in np.argwhere(odd)[0])
            where = f"at {list(first)}: {after[first]} where {before[first]} was"
            return Apart(reason=f"has NaN or infinity in other places, first {where}")
        before, after = before[np.isfinite(before)], after[np.isfinite(after)]
    first_places, second_places = _places(before), _places(after)
    distance = np.where(
        first_places > second_places,
        first_places.view(np.uint64) - second_places.view(np.uint64),
        second_places.view(np.uint64) - first_places.view(np.uint64),
    )
    with np.errstate(all="ignore"):
        largest = np.abs(after.astype(np.float64) - before.astype(np.float64)).max(initial=0)
    return Apart(int(distance.max(initial=0)), float(largest))


def _places(values: Array) -> Array:
    """Return each value's place among all of its dtype in order, as int64."""
    if values.dtype.kind != "f":
        return (
            values.astype(np.uint64).view(np.int64)
            if values.dtype.kind == "u"
            else (values.astype(np.int64))
        )
    raw = values.view(_SIGNED[values.dtype.itemsize])
    most = np.iinfo(raw.dtype).max
    return np.where(raw < 0, ~(raw & most), raw).astype(np.int64)


def changes(
    before: Mapping[str, Saved], after: Mapping[str, Saved], max_ulp: int
) -> Iterator[Change]:
    """Yield what became of the outputs of each cell, which may lie ``max_ulp`` apart."""
    for cell, saved in before.items():
        if cell in after:
            yield _change(cell, saved, after[cell], max_ulp)
        else:
            yield Change(cell, Word.MISSING, "no outputs are kept of it now")
    for cell in after:
        if cell not in before:
            yield Change(cell, Word.ADDED)


def _change(cell: str, before: Saved, after: Saved, max_ulp: int) -> Change:
    outcomes = [saved.manifest.outcome for saved in (before, after)]
    if outcomes[1] is not None:
        if outcomes[0] is not None:
            return Change(cell, Word.SAME, f"{outcomes[0].status} before and now")
        reason = f"{outcomes[1].status} at {outcomes[1].stage}: {outcomes[1].reason}"
        return Change(cell, Word.NEWLY_FAILING, reason)
    if outcomes[0] is not None:
        return Change(cell, Word.MENDED, f"{outcomes[0].status} before: {outcomes[0].reason}")
    tensors = before.tensors(), after.tensors()
    runs = [{(r.id, r.repeat): r for r in saved.manifest.cases} for saved in (before, after)]
    worst, where, compared = Apart(), "", 0
    for key, first in runs[0].items():
        second = runs[1].get(key)
        if second is None:
            return Change(cell, Word.MISSING, f"case {first.id} was not run")
        if second.failure and not first.failure:
            reason = f"case {first.id}: {second.failure.reason}"
            return Change(cell, Word.NEWLY_FAILING, reason)
        for name, one in _outputs(cell, first, second, *tensors):
            compared += 1
            if one.reason:
                reason = f"output {visible(name)} of case {first.id} {one.reason}"
                return Change(cell, Word.NEWLY_FAILING, reason, None, None, compared)
            if one.ulp > worst.ulp:
                worst, where = one, f"output {visible(name)} of case {first.id}"
    if not worst.ulp:
        return Change(cell, Word.IDENTICAL, "", 0, 0, compared)
    reason = (
        f"{where} is {count(worst.ulp, 'ULP').replace('ULPs', 'ULP')} ({worst.largest:.3g}) off"
    )
    word = Word.WORSE if worst.ulp > max_ulp else Word.SAME
    return Change(cell, word, reason, 0, worst.ulp, compared)


def _outputs(
    cell: str, first: KeptRun, second: KeptRun, before: Arrays, after: Arrays
) -> Iterator[tuple[str, Apart]]:
    """Yield each output of one case, by name, and how far it lies from the one before."""
    if first.inputs != second.inputs:
        raise UsageError(
            f"{cell}: case {first.id} ran with other inputs; outputs can be compared of runs of"
            " the same golden"
        )
    if first.outputs is None or second.outputs is None:
        return
    names = [[name for name, _ in run] for run in (first.outputs, second.outputs)]
    if names[0] != names[1]:
        yield names[0][0] if names[0] else "", Apart(reason=f"is one of {names[0]}, now {names[1]}")
        return
    for (name, old), (_, new) in zip(first.outputs, second.outputs, strict=True):
        yield name, apart(before[old], after[new])
