"""How a specification's inputs and outputs map to a Keras model's own: by name, else by place."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from harness.errors import ExportError
from harness.exporters.tf_to_onnx import Tensor
from harness.schema import TensorSpec


def bind_inputs(
    model: keras.Model, specs: Sequence[TensorSpec], tensors: Sequence[Tensor]
) -> tuple[list[Any], dict[str, Any]]:
    """Positional and keyword arguments for the model's call."""
    given = dict(zip((t.name for t in specs), tensors, strict=True))
    if isinstance(model, keras.Sequential) or hasattr(model, "_inputs_struct"):
        return [_fill(model, model._inputs_struct, given)], {}
    return _bind_call(model, given)
