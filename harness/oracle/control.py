"""ONNX's Loop and Scan: https://onnx.ai/onnx/operators/onnx__Loop.html and onnx__Scan.html.

A body's own inputs shadow names of the graph around it, and each scan output is stacked along a
new axis. ``body`` is the evaluator of the nested graph, ``context`` the values around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from onnx import helper

from harness.core.schema import Array


def loop(
    trip: Array | None,
    condition: Array | None,
    *carried: Any,
    body: Any,
    context: Mapping[str, Any],
    attributes: Mapping[str, Any] | None = None,
) -> tuple[Any, ...]:
    """Return the carried values after the last iteration, then every scan output.

    Where ``condition`` is omitted the body's is ignored, as the standard has it.
    """
    count = len(carried)
    scanned: list[list[Array]] = [[] for _ in body.output_names[1 + count :]]
    limit = None if trip is None else int(np.asarray(trip).item())
    going = condition is None or bool(np.asarray(condition).item())
    iteration = 0
    while going and (limit is None or iteration < limit):
        own = (np.array(iteration, np.int64), np.array(going), *carried)
        feeds = {**context, **dict(zip(body.input_names, own, strict=True))}
        goes_on, *values = body.run(None, feeds, attributes=attributes)
        carried = tuple(values[:count])
        for steps, value in zip(scanned, values[count:], strict=True):
            steps.append(value)
        going = condition is None or bool(np.asarray(goes_on).item())
        iteration += 1
    types = body.output_types[1 + count :]
    stacked = [
        np.stack(steps) if steps else _no_steps(declared)
        for steps, declared in zip(scanned, types, strict=True)
    ]
    return (*carried, *stacked)


def scan(
    *values: Array,
    body: Any,
    num_scan_inputs: int,
    context: Mapping[str, Any],
    scan_input_axes: Sequence[int] | None = None,
    scan_input_directions: Sequence[int] | None = None,
    scan_output_axes: Sequence[int] | None = None,
    scan_output_directions: Sequence[int] | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> tuple[Array, ...]:
    """Return the final state variables, then every scan output; a direction of 1 is backward."""
    count = len(values) - num_scan_inputs
    states = values[:count]
    outputs = len(body.output_names) - count
    sources = [
        np.flip(np.moveaxis(value, axis, 0), 0) if backward else np.moveaxis(value, axis, 0)
        for value, axis, backward in zip(
            values[count:],
            scan_input_axes or [0] * num_scan_inputs,
            scan_input_directions or [0] * num_scan_inputs,
            strict=True,
        )
    ]
    lengths = sorted({len(source) for source in sources})
    if len(lengths) != 1:
        raise ValueError(f"the scan inputs have {lengths} steps; expected one number for all")
    scanned: list[list[Array]] = [[] for _ in range(outputs)]
    for slices in zip(*sources, strict=True):
        feeds = {**context, **dict(zip(body.input_names, (*states, *slices), strict=True))}
        results = body.run(None, feeds, attributes=attributes)
        states = tuple(results[:count])
        for steps, value in zip(scanned, results[count:], strict=True):
            steps.append(value)
    stacked = []
    for index, (steps, declared) in enumerate(zip(scanned, body.output_types[count:], strict=True)):
        backward = scan_output_directions and scan_output_directions[index]
        axis = scan_output_axes[index] if scan_output_axes else 0
        ordered = steps[::-1] if backward else steps
        joined = np.stack(ordered) if ordered else _no_steps(declared)
        stacked.append(np.moveaxis(joined, 0, axis))
    return (*states, *stacked)


def _no_steps(declared: Any) -> Array:
    """Return a scan output of no iterations: a dimension that the body leaves open is 0."""
    tensor = declared.tensor_type
    sizes = [dim.dim_value for dim in tensor.shape.dim]
    return np.zeros((0, *sizes), helper.tensor_dtype_to_np_dtype(tensor.elem_type))
