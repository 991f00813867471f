"""tf2onnx, through a ``tf.function`` with an input signature."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import onnx
import tensorflow as tf

from harness.core.errors import ExportError, clipped
from harness.core.schema import Arrays, ModelSpec
from harness.exporters.keras.signature import bind_inputs, flat_outputs, tensor_specs
from harness.exporters.quiet import tf2onnx_errors
from harness.exporters.stock.quiet import tensorflow_message


def export(model: Any, spec: ModelSpec, example: Arrays, opset: int) -> onnx.ModelProto:
    """Export a Keras model at ``opset`` (18 at most); every named axis has an unknown size.

    Outputs are named here, since TensorFlow sorts them; ``example`` is not needed.
    """
    signature = {tensor.name: tensor for tensor in tensor_specs(spec.inputs)}

    def forward(inputs: dict[str, Any]) -> dict[str, Any]:
        tensors = [inputs[t.name] for t in spec.inputs]
        arguments, keywords = bind_inputs(model, spec.inputs, tensors)
        outputs = flat_outputs(model(*arguments, training=False, **keywords), spec.outputs)
        return {t.name: value for t, value in zip(spec.outputs, outputs, strict=True)}

    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            tf2onnx_errors() as errors,
        ):
            warnings.simplefilter("ignore")
            import tf2onnx

            proto, _ = tf2onnx.convert.from_function(
                tf.function(forward), input_signature=[signature], opset=opset
            )
    except Exception as error:
        raise ExportError(f"tf2onnx: {tensorflow_message(error)}") from error
    if errors:
        raise ExportError(f"tf2onnx: {clipped(' '.join(errors[0].split()))}")
    assert isinstance(proto, onnx.ModelProto)
    return proto
