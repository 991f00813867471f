"""Whether the float64 copy of a model is the same model: it agrees with float32 as rounding may."""

from __future__ import annotations

from functools import partial

import numpy as np

from harness.core.errors import UsageError
from harness.core.schema import Array, Arrays, ModelSpec
from harness.core.tolerance import largest_finite
from harness.goldens.noise_floor import drowns, nearby
from harness.recording.output_axes import named
from harness.recording.probing import UserModel, run

CHAOTIC = 0.01
"""The part of a gap that weights moved by ``NEARBY`` make up where the model is chaotic."""


def check(
    model: UserModel, spec: ModelSpec, inputs: Arrays, exact: Arrays, rounded: Arrays
) -> None:
    """Raise UsageError where a copy that was built anew gives other outputs than the model.

    A gap that a thousandth of the scale does not explain is no rounding, unless weights that are
    moved by ``NEARBY`` change the outputs about as much: such a model is chaotic.
    """
    find = getattr(model, "departing_layer", None)
    gaps = {name: _gap(rounded[name], value) for name, value in exact.items()}
    wide = [name for name, gap in gaps.items() if drowns(gap, largest_finite(exact[name]))]
    if find is None or not wide:
        return
    try:
        model.move(partial(nearby, draw=1))
        moved = named(spec, run(model, inputs, wide=False))
    finally:
        model.move(lambda values: values)
    for name in wide:
        if _gap(moved[name], rounded[name]) < CHAOTIC * gaps[name]:
            layer = find(inputs)
            which = f"layer {layer!r} holds" if layer else "some layer holds"
            raise UsageError(
                f"the float64 copy of {model.class_name} is another model: {name} differs by"
                f" {gaps[name]:.2g}; {which} what get_config and get_weights leave out"
            )


def _gap(one: Array, other: Array) -> float:
    """Return the largest difference of finite values; 0 for other than floats."""
    if other.dtype.kind != "f" or one.shape != other.shape:
        return 0.0
    finite = np.isfinite(one) & np.isfinite(other)
    return float(np.abs(one[finite].astype(np.float64) - other[finite]).max(initial=0.0))
