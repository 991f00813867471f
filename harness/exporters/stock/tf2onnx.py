"""tf2onnx, through a ``tf.function`` with an input signature."""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from typing import Any

import onnx
import tensorflow as tf

from harness.core.errors import ExportError, clipped
from harness.core.schema import Arrays, ModelSpec
from harness.exporters.stock.quiet import tensorflow_message


class _Errors(logging.Handler):
    """Collects what tf2onnx logs as an error: it goes on after one."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(" ".join(record.getMessage().split()))


def export(model: Any, spec: ModelSpec, example: Arrays, opset: int) -> onnx.ModelProto:
    """The Keras model at ``opset`` (18 at most); every named axis has an unknown size.

    Outputs are matched by name, since TensorFlow sorts them; ``example`` is not needed.
    """
    signature = {
        t.name: tf.TensorSpec([a if isinstance(a, int) else None for a in t.axes], t.dtype, t.name)
        for t in spec.inputs
    }
    names = [t.name for t in spec.outputs]

    def forward(inputs: Any) -> dict[str, Any]:
        outputs = model(inputs, training=False)
        return {name: outputs[name] for name in names}

    log = logging.getLogger("tf2onnx")
    errors = _Errors()
    before = log.level, log.propagate
    log.addHandler(errors)
    log.propagate = False
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            import tf2onnx

            log.setLevel(logging.ERROR)
            proto, _ = tf2onnx.convert.from_function(
                tf.function(forward), input_signature=[signature], opset=opset
            )
    except Exception as error:
        raise ExportError(f"tf2onnx: {tensorflow_message(error)}") from error
    finally:
        log.removeHandler(errors)
        log.setLevel(before[0])
        log.propagate = before[1]
    if errors.messages:
        raise ExportError(f"tf2onnx: {clipped(errors.messages[0])}")
    assert isinstance(proto, onnx.ModelProto)
    return proto
