"""onnx's reference evaluator in float64, with replacements for what it gets wrong.

In onnx 1.23: LSTM, GRU and RNN ignore ``sequence_lens``, activations and clip; a Loop lets the
graph around it shadow its body's inputs and joins scan outputs along an existing axis; the value of
an omitted output becomes that of every omitted input after it; LRN normalises as many channels as
there are rows; the bodies of functions are evaluated without replacements; attributes are float32
scalars, whose products are rounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from onnx import FunctionProto
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from harness.oracle import control, linear, microsoft, precise, recurrent
from harness.oracle.operator_errors import disturbed
from harness.oracle.widen import NARROW_DTYPES, widen_function

WIDENED: dict[str, Any] = {
    "Cast": precise.cast,
    "Constant": precise.constant,
    "Erf": precise.erf,
    "LayerNormalization": precise.layer_normalization,
    "RMSNormalization": precise.rms_normalization,
    "DequantizeLinear": precise.dequantize_linear,
    "DynamicQuantizeLinear": precise.dynamic_quantize_linear,
    "LinearAttention": linear.linear_attention,
    "CausalConvWithState": linear.causal_conv,
}
CORRECTED: dict[str, Any] = {
    "LSTM": recurrent.lstm,
    "GRU": recurrent.gru,
    "RNN": recurrent.rnn,
    "LRN": precise.lrn,
    **microsoft.MAIN_OPERATORS,
}
CONTROL: dict[str, Any] = {"Loop": control.loop, "Scan": control.scan}
FLOAT32_INSIDE = ("AffineGrid", "GridSample")


def _operator(name: str, kernel: Any, needs_context: bool, domain: str = "") -> Any:
    """Return ``kernel`` as the evaluator's class of an operator."""
    body = {
        "_run": staticmethod(kernel),
        "need_context": lambda self: needs_context,
        "op_domain": domain,
        **({"op_schema": None} if domain else {}),
    }
    return type(name, (OpRun,), body)


OPERATORS = [_operator(name, kernel, False) for name, kernel in CORRECTED.items()]
OPERATORS += [_operator(name, kernel, True) for name, kernel in CONTROL.items()]
OPERATORS += [
    _operator(name, kernel, False, microsoft.DOMAIN) for name, kernel in microsoft.OPERATORS.items()
]
WIDE_OPERATORS = [*OPERATORS, *(_operator(n, kernel, False) for n, kernel in WIDENED.items())]


class Evaluator(ReferenceEvaluator):  # type: ignore[misc]
    """Evaluates a widened ModelProto; nested graphs and functions become evaluators of this class.

    NotImplementedError for an operator that is unknown or that would be computed in float32.
    """

    wide = True

    def __init__(self, proto: Any, **options: Any) -> None:
        if self.wide and isinstance(proto, FunctionProto):
            proto = widen_function(proto)
        operators = WIDE_OPERATORS if self.wide else OPERATORS
        super().__init__(proto, **{**options, "new_ops": operators})
        self._own = {n: v for n, v in self.rt_inits_.items() if n not in self.input_names}
        if not self.wide:
            return
        for node in self.rt_nodes_:
            if node.op_type in FLOAT32_INSIDE and not node.domain:
                raise NotImplementedError(f"{node.op_type} is evaluated in float32 by onnx")
            for name in node.attributes_names_:
                setattr(node, name, self.attribute(getattr(node, name)))

    def attribute(self, value: Any) -> Any:
        """Return an attribute as a node of a widened graph has it."""
        return _exact(value)

    def _load_impl(self, node: Any, input_types: Any = None) -> Any:
        """Return the class of a node; NotImplementedError names an operator of another domain."""
        try:
            return super()._load_impl(node, input_types)
        except NotImplementedError as error:
            if not node.domain:
                raise
            text = f"the oracle has no operator {node.domain}.{node.op_type}"
            raise NotImplementedError(text) from error

    def run(
        self,
        output_names: Any,
        feed_inputs: Mapping[str, Any],
        attributes: Mapping[str, Any] | None = None,
        **_: Any,
    ) -> list[Any]:
        """Return the outputs in the graph's order; RuntimeError where a node gives a narrow float.

        For a nested graph ``feed_inputs`` also hold the values around it, which its own
        initializers shadow.
        """
        values = {**self.rt_inits_, **feed_inputs, **self._own, "": None}
        for node in self.rt_nodes_:
            options: dict[str, Any] = {}
            if node.has_linked_attribute and attributes:
                options["linked_attributes"] = attributes
            if node.need_context():
                options["context"] = values
            given = [values[name] for name in node.input]
            outputs = node.run(*given, **options)
            for name, result in zip(node.output, outputs, strict=False):
                value = disturbed(node.op_type, result, *given[:1])
                if self.wide and getattr(value, "dtype", None) in NARROW_DTYPES:
                    raise RuntimeError(f"{node.op_type} gives {name!r} in {value.dtype}")
                if name:
                    values[name] = value
        return [values[name] for name in output_names or self.output_names]


class DeclaredEvaluator(Evaluator):
    """Evaluates a ModelProto in its declared types, with the same corrected operators."""

    wide = False


def _exact(value: Any) -> Any:
    """Return an attribute in float64: sums and products of float32 scalars would be rounded."""
    if isinstance(value, list):
        return [_exact(item) for item in value]
    return np.float64(value) if isinstance(value, np.float32) else value
