"""The activation functions of ONNX's recurrent operators, in the dtype of their argument.

Formulas and the order in which alpha and beta are consumed:
https://onnx.ai/onnx/operators/onnx__LSTM.html. Only a function that has an alpha consumes one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from harness.core.schema import Array
from harness.graphs.recurrent import parameters
from harness.oracle.operator_errors import disturbed

Activation = Callable[[Array], Array]


def sigmoid(x: Array) -> Array:
    """Return ``1 / (1 + e^-x)``; 0 where ``e^-x`` overflows."""
    return np.asarray(1 / (1 + np.exp(-x)))


def _elu(x: Array, alpha: float) -> Array:
    return np.where(x >= 0, x, alpha * np.expm1(np.minimum(x, 0)))


def _thresholded(x: Array, alpha: float) -> Array:
    return np.where(x >= alpha, x, 0.0)


def _hard_sigmoid(x: Array, alpha: float, beta: float) -> Array:
    return np.clip(alpha * x + beta, 0.0, 1.0)


FUNCTIONS: dict[str, Callable[..., Array]] = {
    "Relu": lambda x: np.maximum(x, 0),
    "Tanh": np.tanh,
    "Sigmoid": sigmoid,
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "Softplus": lambda x: np.logaddexp(0, x),
    "LeakyRelu": lambda x, alpha: np.where(x >= 0, x, alpha * x),
    "ThresholdedRelu": _thresholded,
    "Elu": _elu,
    "Affine": lambda x, alpha, beta: alpha * x + beta,
    "ScaledTanh": lambda x, alpha, beta: alpha * np.tanh(beta * x),
    "HardSigmoid": _hard_sigmoid,
}


def resolved(
    names: Sequence[str] | None,
    alphas: Sequence[float] | None,
    betas: Sequence[float] | None,
    default: Sequence[str],
    directions: int,
) -> list[list[Activation]]:
    """Return the functions of each direction.

    ValueError for a wrong number, an unknown name, or an alpha or beta that is missing.
    """
    names, size = list(names or [*default] * directions), len(default)
    if len(names) != size * directions:
        raise ValueError(
            f"{len(names)} activations for {directions} direction(s); expected {size} for each"
        )
    alpha, beta = iter(alphas or ()), iter(betas or ())
    functions = [_activation(name, alpha, beta) for name in names]
    return [functions[d * size : (d + 1) * size] for d in range(directions)]


def _activation(name: str, alpha: Iterator[float], beta: Iterator[float]) -> Activation:
    function = next((f for key, f in FUNCTIONS.items() if key.lower() == name.lower()), None)
    if function is None:
        raise ValueError(f"unknown activation {name!r}; choose from: {', '.join(FUNCTIONS)}")
    sources = zip((alpha, beta), parameters(name), strict=False)
    values = [next(source, default) for source, default in sources]
    if None in values:
        raise ValueError(f"{name} needs a value for each of alpha and beta; ONNX has no default")
    operator = next(key for key in FUNCTIONS if key.lower() == name.lower())
    return lambda x: np.asarray(disturbed(operator, function(x, *values)))
