"""What an exporter computes of parameters beforehand, in float64: sums, folded norms, products."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations, product
from math import prod, sqrt

import numpy as np

from harness.core.schema import Array, Arrays

EPSILONS = (1e-5, 1e-3, 1e-6, 1e-8, 1e-12, 1e-7, 1e-4, 1e-2, 0.0)
NORMS = (
    ("weight", "bias", "running_mean", "running_var"),
    ("gamma", "beta", "moving_mean", "moving_variance"),
)
"""The last parts of the names of a batch norm's scale, shift, mean and variance."""
LAYER_NORMS = (("weight", "bias"), ("gamma", "beta"))
LARGEST_PRODUCT = 2**28
"""Multiplications of one product of matrices."""
CLOSE = 2.0**-22
"""The rounding of a sum, of the sum of its terms' magnitudes."""


@dataclass(frozen=True, eq=False)
class Derived:
    """A value in float64 that follows from parameters.

    ``make`` returns it and how far rounding may move it beyond one ulp of the result, which sums
    that cancel need; ``few`` its elements at some indices. It is ``open`` where a number in it,
    such as an epsilon, was guessed: then all of a channel of the axis ``channel`` may be off.
    """

    formula: str
    sources: tuple[str, ...]
    shape: tuple[int, ...]
    make: Callable[[], tuple[Array, Array | float]]
    few: Callable[[tuple[Array, ...]], Array] | None = None
    open: bool = False
    channel: int | None = None


@dataclass(frozen=True, eq=False)
class Affine:
    """A norm, as ``x · scale + shift`` along the channels.

    The scale is made of the parameters ``scales``, the shift of all ``sources``, of terms that are
    ``sizes`` large.
    """

    text: str
    sources: tuple[str, ...]
    scales: tuple[str, ...]
    scale: Array
    shift: Array
    sizes: Array


def candidates(wide: Arrays, every: Arrays, hits: Collection[str]) -> Iterator[Derived]:
    """Yield what may have been computed of the parameters ``wide``, which are in float64.

    ``every`` holds all parameters. The formulas in ``hits``, to which the caller adds meanwhile,
    were found: a bias is folded where a weight was.
    """
    norms = affines(wide)
    yield from _sums(wide)
    normed = [*_weight_norms(wide), *_spectral_norms(wide)]
    yield from normed
    yield from _roots(wide)
    for affine in norms:
        if not any(affine.scale is value for value in wide.values()):
            yield from _own(affine)
    yield from _folded(wide, every, normed, norms, hits)
    yield from _products(wide, every)


def factors(sizes: Collection[int]) -> dict[str, float]:
    """Return the factors, by their texts, that the sizes of parameters suggest."""
    dims = {size for size in sizes if 1 < size <= 8192}
    known: dict[str, float] = {"1/2 ·": 0.5, "2 ·": 2.0, "-1 ·": -1.0}
    for size in sorted({n for dim in dims for n in range(2, dim + 1) if dim % n == 0}):
        known |= {f"1/√{size} ·": 1 / sqrt(size), f"√{size} ·": sqrt(size)}
        known |= {f"1/{size} ·": 1 / size, f"1/∜{size} ·": size**-0.25}
    return known


def layer(name: str) -> str:
    """Return what the names of one layer's, and one direction's, parameters have in common."""
    *parents, last = parts(name)
    own = re.search(r"_l\d+(_reverse)?$", last)
    return "/".join(parents) + (own.group() if own else "")


def parts(name: str) -> list[str]:
    return re.split(r"[./]", name)


def affines(wide: Arrays) -> list[Affine]:
    """Return the norms among parameters: batch norms at every usual epsilon, and other norms."""
    found = []
    for name in wide:
        for scale_of, shift_of, mean_of, variance_of in NORMS:
            path = name.removesuffix(variance_of)
            if parts(name)[-1] != variance_of or path + mean_of not in wide:
                continue
            scales = [n for n in (path + scale_of, name) if n in wide]
            own = [*scales, *(path + p for p in (shift_of, mean_of) if path + p in wide)]
            gamma, beta = wide.get(path + scale_of, 1.0), wide.get(path + shift_of, 0.0)
            for epsilon in EPSILONS:
                with np.errstate(divide="ignore", invalid="ignore"):
                    scale = gamma / np.sqrt(wide[name] + epsilon)
                    centre = wide[path + mean_of] * scale
                text = f"{path.rstrip('./')} (epsilon {epsilon:g})"
                sizes = np.abs(beta) + np.abs(centre)
                made = Affine(text, tuple(own), tuple(scales), scale, beta - centre, sizes)
                found.append(made)
        for scale_of, shift_of in LAYER_NORMS:
            path = name.removesuffix(scale_of)
            if parts(name)[-1] == scale_of and wide[name].ndim == 1:
                shift = wide.get(path + shift_of, np.zeros_like(wide[name]))
                own = [n for n in (name, path + shift_of) if n in wide]
                if shift.shape == wide[name].shape:
                    text, scale = path.rstrip("./"), wide[name]
                    made = Affine(text, tuple(own), (name,), scale, shift, np.abs(shift))
                    found.append(made)
    return [affine for affine in found if np.all(np.isfinite(affine.scale))]


def _given(
    formula: str,
    sources: Sequence[str],
    value: Array,
    error: Array | float = 0.0,
    guessed: bool = False,
) -> Derived:
    shape = value.shape
    return Derived(formula, tuple(sources), shape, lambda: (value, error), open=guessed)


def _sums(wide: Arrays) -> Iterator[Derived]:
    """Yield sums of two that lie side by side in one layer, such as the two biases of an LSTM."""
    by_layer: dict[tuple[str, tuple[int, ...]], list[str]] = {}
    for name, value in wide.items():
        by_layer.setdefault((layer(name), value.shape), []).append(name)
    for names in by_layer.values():
        for first, second in combinations(names[:8], 2):
            a, b = wide[first], wide[second]
            yield _given(f"{first} + {second}", (first, second), a + b)
            yield _given(f"{first} - {second}", (first, second), a - b)


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
            yield _given(f"{name} · {other} / ‖{other}‖", (name, other), weight, error)


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
                        yield _given(text, (name, path + u, path + v), weight, slack)


def _roots(wide: Arrays) -> Iterator[Derived]:
    """Yield standard deviations of variances, and exponentials of logarithms."""
    for name, value in wide.items():
        last = parts(name)[-1].lower()
        if last.endswith(("variance", "var")):
            for epsilon in EPSILONS:
                root = np.sqrt(np.maximum(value + epsilon, 0))
                slack = np.abs(root) * 2.0**-23
                yield _given(f"√({name} + {epsilon:g})", (name,), root, slack, True)
                with np.errstate(divide="ignore"):
                    inverse = 1 / root
                yield _given(
                    f"1/√({name} + {epsilon:g})", (name,), inverse, inverse * 2.0**-22, True
                )
            floor = np.maximum(np.sqrt(np.maximum(value, 0)), 1e-7)
            yield _given(f"max(√{name}, 1e-07)", (name,), floor)
        if "log" in last:
            with np.errstate(over="ignore"):
                raised = np.exp(value)
            yield _given(f"exp({name})", (name,), raised, raised * 2.0**-22)
            yield _given(f"-exp({name})", (name,), -raised, raised * 2.0**-22)
            twice = np.exp(-raised)
            yield _given(f"exp(-exp({name}))", (name,), twice, raised * twice * 2.0**-21)


def _own(affine: Affine) -> Iterator[Derived]:
    """Yield a norm as a product and a sum of their own."""
    slack = np.abs(affine.scale) * CLOSE
    yield _given(f"scale of {affine.text}", affine.scales, affine.scale, slack, True)
    slack = affine.sizes * 2 * CLOSE
    yield _given(f"shift of {affine.text}", affine.sources, affine.shift, slack, True)


def _folded(
    wide: Arrays,
    every: Arrays,
    normed: Sequence[Derived],
    norms: Sequence[Affine],
    hits: Collection[str],
) -> Iterator[Derived]:
    """Yield weights with a norm behind or before them folded in, and the biases that follow.

    Norms come first that are near in the order of the parameters, and none after the right one.
    """
    order = {name: number for number, name in enumerate(every)}
    weights: dict[str, tuple[tuple[str, ...], Array]] = {
        name: ((name,), value) for name, value in wide.items() if value.ndim >= 2
    }
    weights |= {one.formula: (one.sources, one.make()[0]) for one in normed}
    biases = {n: v.astype(np.float64) for n, v in every.items() if v.ndim == 1 and v.size > 1}
    for formula, (sources, value) in weights.items():
        near = sorted(norms, key=lambda norm: abs(order[norm.scales[0]] - order[sources[0]]))
        for affine, axis in product(near, range(value.ndim)):
            if value.shape[axis] == affine.scale.size:
                fold = _scaled(formula, sources, value, affine, axis)
                yield fold
                if fold.formula in hits:
                    yield from _biases(fold, value, affine, axis, biases)
                    break


def _scaled(
    formula: str, sources: tuple[str, ...], value: Array, affine: Affine, axis: int
) -> Derived:
    shape = [1] * value.ndim
    shape[axis] = affine.scale.size
    scale = affine.scale

    def make() -> tuple[Array, Array]:
        scaled = value * scale.reshape(shape)
        return scaled, np.abs(scaled) * 2.0**-22

    def few(places: tuple[Array, ...]) -> Array:
        return np.asarray(value[places] * scale[places[axis]])

    text = f"{formula} · scale of {affine.text}, axis {axis}"
    return Derived(text, (*sources, *affine.scales), value.shape, make, few, True, axis)


def _biases(
    fold: Derived, value: Array, affine: Affine, axis: int, biases: Arrays
) -> Iterator[Derived]:
    """Yield the bias of a layer whose weight has a norm folded in, behind it or before it."""
    scale, shift, text = affine.scale, affine.shift, affine.text
    for name, bias in biases.items():
        if bias.size == scale.size and name not in affine.sources:
            slack = (np.abs(bias * scale) + affine.sizes) * 2 * CLOSE
            folded = bias * scale + shift
            yield _given(f"{name} folded into {text}", (name, *affine.sources), folded, slack)
    shape = [1] * value.ndim
    shape[axis] = shift.size
    terms = value * shift.reshape(shape)
    for out in range(value.ndim):
        if out == axis:
            continue
        rest = tuple(a for a in range(value.ndim) if a != out)
        added, sizes = terms.sum(axis=rest), np.abs(terms).sum(axis=rest)
        sources = (*fold.sources[:1], *affine.sources)
        yield _given(f"shift of {text} · {sources[0]}", sources, added, sizes * 2 * CLOSE)
        for name, bias in biases.items():
            if bias.size == added.size and name not in affine.sources:
                slack = (sizes + np.abs(bias)) * 2 * CLOSE
                formula = f"{name} + shift of {text} · {sources[0]}"
                yield _given(formula, (name, *sources), bias + added, slack)


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
