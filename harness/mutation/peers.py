"""The default rules of other tools, applied to the same outputs.

Each rule follows the source that its docstring names. Its reference would be the framework's own
float32 output; here it is the oracle's output rounded to float32, which is within a noise floor of
that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from harness.core.schema import Array

Named = Sequence[tuple[str, Array]]
Pairs = list[tuple[Array, Array]]

EXAMPLE = (16,)
"""Optimum's example length (``DEFAULT_DUMMY_SHAPES`` in optimum/utils/input_generators.py).

Polygraphy takes 1 for a dynamic axis by default (``DEFAULT_SHAPE_VALUE`` in its constants.py); the
other two run the inputs of their user.
"""
FOUR = (8, 33, 96, 154)
"""``VALIDATE_EXPORT_ON_SHAPES_SLOW`` in optimum's tests/exporters; its users get ``EXAMPLE``."""


@dataclass(frozen=True)
class Peer:
    """A tool's rule.

    ``lengths`` are those at which it runs a model. ``pairs`` returns the outputs that it compares,
    (actual, expected), or None where it refuses to; ``passes`` judges such a pair of equal shape.
    ``dtypes`` is set where it requires equal dtypes. All peers require equal shapes.
    """

    name: str
    lengths: tuple[int, ...]
    passes: Callable[[Array, Array], bool]
    pairs: Callable[[Named, Named], Pairs | None]
    dtypes: bool


def caught(peer: Peer, expected: Named, actual: Named) -> bool:
    """Return whether ``peer`` reports outputs that should be ``expected``, in float32."""
    pairs = peer.pairs(expected, actual)
    return pairs is None or not all(_conforms(peer, *pair) for pair in pairs)


def _conforms(peer: Peer, actual: Array, expected: Array) -> bool:
    if actual.shape != expected.shape or (peer.dtypes and actual.dtype != expected.dtype):
        return False
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        return peer.passes(actual, expected)


def by_position(expected: Named, actual: Named) -> Pairs | None:
    """Pair the first with the first, whatever their names; None where the counts differ."""
    if len(expected) != len(actual):
        return None
    return [(a, e) for (_, a), (_, e) in zip(actual, expected, strict=True)]


def by_name(expected: Named, actual: Named) -> Pairs | None:
    """Pair the same names; None where the sets of names differ.

    optimum/exporters/onnx/convert.py, ``ValidationProcess.run``; a name that comes twice counts
    once.
    """
    outputs = dict(reversed(actual))
    if outputs.keys() != dict(expected).keys():
        return None
    return [(outputs[name], value) for name, value in expected]


def by_likeness(expected: Named, actual: Named) -> Pairs | None:
    """Pair each actual output with the expected one of the same or a like name, or of its number.

    What has no partner is skipped, and so is an output of the reference that nothing resembles;
    None where nothing is left to compare. Polygraphy's comparator/compare.py,
    ``default_find_output_func`` and ``run_comparison``, with ``find_str_in_iterable`` of its
    util/util.py; the model comes first, its reference second.
    """
    outputs, references = dict(actual), dict(expected)
    partners = {name: _like(name, number, [*references]) for number, name in enumerate(outputs)}
    pairs = [
        (outputs[name], references[partner])
        for name, partner in partners.items()
        if partner is not None and (partner == name or partner not in outputs)
    ]
    return pairs or None


def _like(name: str, number: int, candidates: list[str]) -> str | None:
    if name in candidates:
        return name
    low = name.lower()
    within = (c for c in candidates if low in c.lower() or c.lower() in low)
    at_number: Iterator[str] = iter(candidates[number : number + 1])
    return next(within, None) or next(at_number, None)


def polygraphy(actual: Array, expected: Array) -> bool:
    """Return whether no element has both errors, absolute and relative, above 1e-5 or NaN.

    The relative error is of the reference's magnitude, a reference of 0 counting as 2.2e-16; the
    errors are computed in the wider of the two dtypes, float16 as float32. Two NaN or two equal
    infinities fail. Polygraphy's comparator/compare.py, ``CompareFunc.simple``.
    """
    actual, expected = (
        a.astype(np.float32) if a.dtype == np.float16 else a for a in (actual, expected)
    )
    error = np.abs(actual - expected)
    magnitude = np.abs(np.where(expected == 0, np.finfo(np.float64).eps, expected))
    relative = error / magnitude.astype(error.dtype)
    return bool(np.all((error <= 1e-5) | (relative <= 1e-5)))


def assert_close(actual: Array, expected: Array) -> bool:
    """Return whether |actual - expected| <= 1e-5 + 1.3e-6 |expected| in float32.

    Equal infinities pass, NaN does not. torch/testing/_comparison.py, ``assert_close``, with
    ``torch.isclose``.
    """
    return bool(np.isclose(actual, expected, rtol=1.3e-6, atol=1e-5).all())


def optimum(actual: Array, expected: Array) -> bool:
    """Return whether |actual - expected| <= 1e-5 + 1e-5 |actual|.

    optimum/exporters/onnx/convert.py, ``ValidationProcess.run``: ``numpy.allclose``, the two in
    that order, with ``ATOL_FOR_VALIDATION`` of base.py, 1e-5, and NumPy's relative tolerance, 1e-5.
    """
    return bool(np.allclose(expected, actual, atol=1e-5))


def backend_tests(actual: Array, expected: Array) -> bool:
    """Return whether |actual - expected| <= 1e-7 + 1e-3 |expected|.

    NaN and infinity pass in the same places. onnx/backend/test/runner/__init__.py,
    ``assert_similar_outputs``, with the tolerances of onnx/backend/test/loader/__init__.py.
    """
    return bool(np.isclose(actual, expected, rtol=1e-3, atol=1e-7, equal_nan=True).all())


PEERS: tuple[Peer, ...] = (
    Peer("polygraphy", EXAMPLE, polygraphy, by_likeness, dtypes=False),
    Peer("torch assert_close", EXAMPLE, assert_close, by_position, dtypes=True),
    Peer("optimum", FOUR, optimum, by_name, dtypes=False),
    Peer("onnx backend test", EXAMPLE, backend_tests, by_position, dtypes=True),
)
