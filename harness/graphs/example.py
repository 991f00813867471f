"""Inputs to export with, whose sizes coincide with no other size of the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import count
from math import factorial, gcd, isqrt

import numpy as np

from harness.core.schema import BATCH, Array, Arrays, ModelSpec, TensorSpec, causal_mask

SEED = 20
SMALLEST_SIZE = 5
TRIES = 30
"""The sizes of which one is sought that follows the rule of its axis and is no other size."""


def example_inputs(spec: ModelSpec, avoid: Iterable[int] = ()) -> Arrays:
    """Return inputs whose batch and lengths differ from each other and from every other size.

    Sizes are the smallest primes from 5 up that are no fixed size in ``spec`` and not in
    ``avoid``, which should hold every size of every weight. Values are drawn from each input's
    range with a fixed seed. Where steps can be padded, the first row is full and each other one
    padded on the right after at least one valid step. An input that is a length holds it.
    """
    rng = np.random.default_rng(SEED)
    size = _free_sizes(spec, set(avoid))
    inputs: Arrays = {}
    for tensor in spec.inputs:
        shape = tensor.shape(size[BATCH], size)
        if tensor.name in spec.causal:
            inputs[tensor.name] = causal_mask(shape, spec.causal[tensor.name], tensor.dtype)
        elif tensor.name in spec.lengths:
            inputs[tensor.name] = np.full(shape, size[spec.lengths[tensor.name]], tensor.dtype)
        else:
            never = spec.paddings.get(tensor.name)
            inputs[tensor.name] = _draw(rng, tensor, shape, never)
    for axis in spec.ragged_axes:
        inputs = spec.padded_outside(inputs, _valid_steps(size[BATCH], size[axis]), axis)
    return inputs


def sizes_of(spec: ModelSpec, inputs: Mapping[str, Array]) -> dict[str, int]:
    """Return the size of the batch and of each sequence axis in ``inputs``."""
    sizes: dict[str, int] = {}
    for tensor in spec.inputs:
        array = inputs[tensor.name]
        for axis, size in zip(tensor.axes, array.shape, strict=True):
            if isinstance(axis, str):
                sizes[axis] = size
        if tensor.name in spec.lengths:
            sizes[spec.lengths[tensor.name]] = int(array.reshape(-1)[0])
    return sizes


def weight_sizes(parameters: Mapping[str, Array]) -> set[int]:
    """Return every size of every weight."""
    return {size for array in parameters.values() for size in array.shape}


def _free_sizes(spec: ModelSpec, avoid: set[int]) -> dict[str, int]:
    axes = (a for tensor in spec.inputs + spec.outputs for a in tensor.axes)
    fixed = {a for a in axes if isinstance(a, int)}
    primes = (n for n in count(SMALLEST_SIZE) if gcd(n, factorial(isqrt(n))) == 1)
    free = (prime for prime in primes if prime not in avoid | fixed)
    sizes = {BATCH: next(free)}
    taken = avoid | fixed
    for axis in spec.axes:
        rule = spec.rules.get(axis)
        if rule is None:
            sizes[axis] = next(free)
        elif not rule.terms:
            wanted = rule.lengths([next(free) for _ in range(TRIES)])
            new = [n for n in wanted if n not in taken | {*sizes.values(), 1}]
            sizes[axis] = [*new, *wanted][0]
    return spec.fitted(sizes)


def _draw(
    rng: np.random.Generator, tensor: TensorSpec, shape: tuple[int, ...], never: float | None
) -> Array:
    """Return values from the tensor's range, without ``never`` at an end of integers' range."""
    if np.dtype(tensor.dtype) == bool:
        return rng.integers(0, 2, shape).astype(bool)
    if tensor.whole or np.issubdtype(np.dtype(tensor.dtype), np.integer):
        low, high = int(tensor.low), int(tensor.high)
        low, high = low + (low == never), high - (high - 1 == never)
        return rng.integers(low, high, shape).astype(tensor.dtype)
    return rng.uniform(tensor.low, tensor.high, shape).astype(tensor.dtype)


def _valid_steps(batch: int, steps: int) -> Array:
    """Return [batch, steps] bool: the first row is full, each other one ends with padding."""
    counts: Array = np.random.default_rng(SEED).integers(1, max(steps, 2), size=(batch, 1))
    counts[0] = steps
    return np.asarray(np.arange(steps) < counts)
