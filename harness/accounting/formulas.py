"""What an exporter computes of parameters beforehand, in float64: sums, folded norms, products."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from functools import partial
from itertools import combinations
from math import prod, sqrt

import numpy as np

from harness.accounting import norms
from harness.accounting.terms import CLOSE, EPSILONS, Derived, given, layer, parts
from harness.core.schema import Array, Arrays

LARGEST_PRODUCT = 2**28
"""Multiplications of one product of matrices."""


def candidates(wide: Arrays, every: Arrays, hits: Collection[str]) -> Iterator[Derived]:
    """Yield what may have been computed of the parameters ``wide``, which are in float64.

    ``every`` holds all parameters. The formulas in ``hits``, to which the caller adds meanwhile,
    were found: a bias is folded where a weight was.
    """
    even = {
        name: value.astype(np.float64)
        for name, value in every.items()
        if name not in wide and value.dtype.kind == "f" and value.size > 1
        if np.all(value == value.flat[0])
    }
    found = norms.affines(wide, even) if wide else []
    yield from _sums(wide)
    normed = [*_weight_norms(wide), *_spectral_norms(wide)]
    yield from normed
    yield from _roots(wide)
    for affine in found:
        if not any(affine.scale is value for value in wide.values()):
            yield from norms.alone(affine)
    yield from norms.folded(wide, every, normed, found, hits)
    yield from _products(wide, every)


def factors(sizes: Collection[int]) -> dict[str, float]:
    """Return the factors, by their texts, that the sizes of parameters suggest."""
    dims = {size for size in sizes if 1 < size <= 8192}
    known: dict[str, float] = {"1/2 ·": 0.5, "2 ·": 2.0, "-1 ·": -1.0}
    for size in sorted({n for dim in dims for n in range(2, dim + 1) if dim % n == 0}):
        known |= {f"1/√{size} ·": 1 / sqrt(size), f"√{size} ·": sqrt(size)}
        known |= {f"1/{size} ·": 1 / size, f"1/∜{size} ·": size**-0.25}
    return known


def _sums(wide: Arrays) -> Iterator[Derived]:
    """Yield sums of two that lie side by side in one layer, such as the two biases of an LSTM."""
    by_layer: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for name, value in wide.items():
        by_layer.setdefault((layer(name), value.shape), []).append(name)
    for names in by_layer.values():
        for first, second in combinations(names[:8], 2):
            a, b = wide[first], wide[second]
            yield given(f"{first} + {second}", (first, second), a + b)
            yield given(f"{first} - {second}", (first, second), a - b)


def _weight_norms(wide: Arrays) -> Iterator[Derived]:
    for name, magnitude in wide.items():
        for g, v in (("weight_g", "weight_v"), ("original0", "original1")):
            other = name.removesuffix(g) + v
            if not name.endswith(g) or other not in wide or wide[other].ndim != magnitude.ndim:
                continue
            direction = wide[other]
            axes = tuple(axis for axis, size in enumerate(magnitude.shape) if size == 1)
            norm = np.sqrt(np.sum(direction**2, axis=axes, keepdims=True))
            with np.errstate(divide="ignore", invalid="ignore"):
                weight = direction * (magnitude / norm)
            error = np.abs(weight) * 2.0**-21
            yield given(f"{name} · {other} / ‖{other}‖", (name, other), weight, error)


def _spectral_norms(wide: Arrays) -> Iterator[Derived]:
    for name, matrix in wide.items():
        for own, u, v in (("original", "0._u", "0._v"), ("_orig", "_u", "_v")):
            path = name.removesuffix(own)
            if name.endswith(own) and {path + u, path + v} <= {*wide} and matrix.ndim > 1:
                left, right = wide[path + u], wide[path + v]
                for axis in range(min(matrix.ndim, 2)):
                    flat = np.moveaxis(matrix, axis, 0).reshape(matrix.shape[axis], -1)
                    if flat.shape == (left.size, right.size):
                        weight = matrix / (left.reshape(-1) @ flat @ right.reshape(-1))
                        text = f"{name} / ({path + u} · {name} · {path + v})"
                        slack = np.abs(weight) * flat.shape[1] * 2.0**-22
                        yield given(text, (name, path + u, path + v), weight, slack)


def _roots(wide: Arrays) -> Iterator[Derived]:
    """Yield standard deviations of variances, and exponentials of logarithms."""
    for name, value in wide.items():
        last = parts(name)[-1].lower()
        if last.endswith(("variance", "var")):
            for epsilon in EPSILONS:
                root = np.sqrt(np.maximum(value + epsilon, 0))
                slack = np.abs(root) * 2.0**-23
                yield given(f"√({name} + {epsilon:g})", (name,), root, slack, True)
                with np.errstate(divide="ignore"):
                    inverse = 1 / root
                yield given(
                    f"1/√({name} + {epsilon:g})", (name,), inverse, inverse * 2.0**-22, True
                )
            floor = np.maximum(np.sqrt(np.maximum(value, 0)), 1e-7)
            yield given(f"max(√{name}, 1e-07)", (name,), floor)
        if "log" in last:
            with np.errstate(over="ignore"):
                raised = np.exp(value)
            yield given(f"exp({name})", (name,), raised, raised * 2.0**-22)
            yield given(f"-exp({name})", (name,), -raised, raised * 2.0**-22)
            twice = np.exp(-raised)
            yield given(f"exp(-exp({name}))", (name,), twice, raised * twice * 2.0**-21)


def _products(wide: Arrays, every: Arrays) -> Iterator[Derived]:
    """Yield products of two matrices, one of them of ``wide``, as they are and each transposed."""
    some = every if any(value.ndim == 2 for value in wide.values()) else wide
    turned: dict[str, tuple[str, Array]] = {}
    for name, value in some.items():
        if value.ndim == 2 and value.dtype.kind == "f":
            turned |= {name: (name, value), f"{name}ᵀ": (name, value.T)}
    for first, (one, a) in turned.items():
        for second, (other, b) in turned.items():
            fits = a.shape[1] == b.shape[0] and one != other and (one in wide or other in wide)
            if fits and prod(a.shape) * b.shape[1] <= LARGEST_PRODUCT:
                yield Derived(
                    f"{first} · {second}",
                    (one, other),
                    (a.shape[0], b.shape[1]),
                    partial(_product, a, b),
                    partial(_some_of_product, a, b),
                )


def _product(a: Array, b: Array) -> tuple[Array, Array]:
    left, right = a.astype(np.float64), b.astype(np.float64)
    return left @ right, np.abs(left) @ np.abs(right) * CLOSE


def _some_of_product(a: Array, b: Array, places: tuple[Array, ...]) -> Array:
    rows, columns = places
    return np.asarray(np.sum(a[rows].astype(np.float64) * b[:, columns].T, axis=1))
