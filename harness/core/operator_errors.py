"""Errors of a runtime's own operators, beyond rounding: absolute, whatever the size of the result.

ONNX Runtime's Sigmoid is good to 1e-7 of 1, not of its result: where the exact one is 1e-9 it may
give 1e-7. No export can mend that. Each is the largest error of at least 8 ulps of the result over
the operator's range, as ``ci/operator_errors.py`` measures it, rounded up.
"""

from __future__ import annotations

from collections.abc import Mapping

Errors = Mapping[str, float]
OfLargest = Mapping[str, tuple[float, float]]
"""A factor and a power: as a part of the largest result, ``factor * length**power * 2**-24``."""
REDUCTIONS = ("ReduceMean", "ReduceSum")
"""Their length is the number of values that each result is made of."""
SUMS: OfLargest = {"CumSum": (1.0, 0.5), **dict.fromkeys(REDUCTIONS, (4.0, 0.5))}
"""Runtimes sum one after the other in float32, which frameworks need not.

Where all terms are alike, as those of rows that repeat, each addition rounds to the same side.
"""
SLOW_DFT: OfLargest = {**SUMS, "DFT": (4.0, 1.0)}
"""At lengths that are no powers of two: float32 angles, whose error grows with the length."""
ORT_CPU: Errors = {
    "Sigmoid": 1.5e-7,
    "Gelu": 1e-7,
    "HardSigmoid": 2e-8,
    "HardSwish": 5e-8,
    "Elu": 6e-8,
    "Celu": 6e-8,
    "Selu": 1e-7,
}
OPENVINO: Errors = {
    "Erf": 5e-7,
    "Gelu": 1e-6,
    "Softplus": 4e-6,
    "Mish": 1.1e-6,
    "HardSigmoid": 2e-8,
    "HardSwish": 5e-8,
    "Elu": 1e-7,
    "Celu": 1e-7,
    "Selu": 6e-8,
}
TRACT: Errors = {
    "Sigmoid": 5e-7,
    "Tanh": 6e-7,
    "Erf": 2e-6,
    "Gelu": 6e-7,
    "Softplus": 7e-8,
    "Mish": 1e-5,
    "HardSigmoid": 2e-8,
    "HardSwish": 5e-8,
    "Elu": 3e-8,
    "Celu": 3e-8,
    "Selu": 3e-5,
}
ONNX_REFERENCE: Errors = {"Gelu": 1e-7, "HardSigmoid": 2e-8, "HardSwish": 5e-8}
