"""Norms, and the layers behind and before which an exporter folds them in."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from harness.accounting.terms import CLOSE, EPSILONS, Derived, given, parts
from harness.core.schema import Array, Arrays

NORMS = (
    ("weight", "bias", "running_mean", "running_var"),
    ("gamma", "beta", "moving_mean", "moving_variance"),
)
"""The last parts of the names of a batch norm's scale, shift, mean and variance."""
LAYER_NORMS = (("weight", "bias"), ("gamma", "beta"))


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


def affines(wide: Arrays, even: Arrays) -> list[Affine]:
    """Return the norms among parameters: batch norms at every usual epsilon, and other norms.

    ``even`` are those of one value throughout, as an untrained batch norm's: any constant of that
    value is a copy of them, whether they are folded or not.
    """
    found = []
    every = wide | even
    for name in every:
        for scale_of, shift_of, mean_of, variance_of in NORMS:
            path = name.removesuffix(variance_of)
            if parts(name)[-1] != variance_of or path + mean_of not in every:
                continue
            scales = [n for n in (path + scale_of, name) if n in every]
            own = [*scales, *(path + p for p in (shift_of, mean_of) if path + p in every)]
            gamma, beta = every.get(path + scale_of, 1.0), every.get(path + shift_of, 0.0)
            for epsilon in EPSILONS:
                with np.errstate(divide="ignore", invalid="ignore"):
                    scale = gamma / np.sqrt(every[name] + epsilon)
                    centre = every[path + mean_of] * scale
                text = f"{path.rstrip('./')} (epsilon {epsilon:g})"
                sizes = np.abs(beta) + np.abs(centre)
                made = Affine(text, tuple(own), tuple(scales), scale, beta - centre, sizes)
                found.append(made)
        for scale_of, shift_of in LAYER_NORMS:
            path = name.removesuffix(scale_of)
            if name in wide and parts(name)[-1] == scale_of and wide[name].ndim == 1:
                shift = wide.get(path + shift_of, np.zeros_like(wide[name]))
                own = [n for n in (name, path + shift_of) if n in wide]
                if shift.shape == wide[name].shape:
                    text, scale = path.rstrip("./"), wide[name]
                    made = Affine(text, tuple(own), (name,), scale, shift, np.abs(shift))
                    found.append(made)
    return [affine for affine in found if np.all(np.isfinite(affine.scale))]


def alone(affine: Affine) -> Iterator[Derived]:
    """Yield a norm as a product and a sum of their own."""
    slack = np.abs(affine.scale) * CLOSE
    yield given(f"scale of {affine.text}", affine.scales, affine.scale, slack, True)
    slack = affine.sizes * 2 * CLOSE
    yield given(f"shift of {affine.text}", affine.sources, affine.shift, slack, True)


def folded(
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
            yield given(f"{name} folded into {text}", (name, *affine.sources), folded, slack)
    shape = [1] * value.ndim
    shape[axis] = shift.size
    terms = value * shift.reshape(shape)
    for out in range(value.ndim):
        if out == axis:
            continue
        rest = tuple(a for a in range(value.ndim) if a != out)
        added, sizes = terms.sum(axis=rest), np.abs(terms).sum(axis=rest)
        sources = (*fold.sources[:1], *affine.sources)
        yield given(f"shift of {text} · {sources[0]}", sources, added, sizes * 2 * CLOSE)
        for name, bias in biases.items():
            if bias.size == added.size and name not in affine.sources:
                slack = (sizes + np.abs(bias)) * 2 * CLOSE
                formula = f"{name} + shift of {text} · {sources[0]}"
                yield given(formula, (name, *sources), bias + added, slack)
