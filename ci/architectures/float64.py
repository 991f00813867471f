"""A net as its framework computes it in float64 and in float32, for ``eager.py``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np

from ci.architectures.eager import Model, Outputs
from ci.architectures.eager_inputs import Array, Arrays
from harness.subjects.description import InputDescription

EAGER = 50
"""Of so many calls of a Keras model one is made eagerly too."""


def of(framework: str, net: Any, make: Callable[[], Any]) -> Model:
    """Return a net that ``make`` gave, made again in float64, with its weights."""
    return (_torch if framework == "torch" else _keras)(net, make)


def _torch(net: Any, make: Callable[[], Any]) -> Model:
    import torch

    narrow, wide = make(), make()
    for again in (narrow, wide):
        again.load_state_dict(net.state_dict())
    for part in wide.double().modules():
        if isinstance(part, torch.nn.RMSNorm) and part.eps is None:
            part.eps = torch.finfo(torch.float32).eps
    return Model(
        exact=partial(_run_torch, wide, True),
        narrow=partial(_run_torch, narrow, False),
        said=lambda name, dtype: InputDescription(name),
    )


def _run_torch(net: Any, wide: bool, inputs: Arrays) -> Outputs:
    """Return what a module gives; a fill of the least number is that of float32, as in a graph."""
    import torch

    given = {name: torch.from_numpy(value) for name, value in inputs.items()}
    if wide:
        given = {n: v.double() if v.is_floating_point() else v for n, v in given.items()}
    default = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64 if wide else torch.float32)
    try:
        limits = torch.finfo(torch.float32)
        eager = torch.compiler.set_stance("force_eager")
        with torch.inference_mode(), eager, patch.object(torch, "finfo", lambda *_: limits):
            result = net(**_arguments(given))
    finally:
        torch.set_default_dtype(default)
    if isinstance(result, Mapping):
        named = [(str(name), value) for name, value in result.items()]
    else:
        named = [("", value) for value in torch.utils._pytree.tree_leaves(result)]
    outputs = [(name, value.numpy()) for name, value in named if value is not None]
    if wide and any(value.dtype == np.float32 for _, value in outputs):
        raise TypeError("the model gives float32 in float64")
    return outputs


def _arguments(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments by name; the parts h.0 and h.1 make a tuple, h.x a dictionary."""
    result: dict[str, Any] = {}
    for name, value in values.items():
        first, _, rest = name.partition(".")
        if rest:
            result.setdefault(first, {})[rest] = value
        else:
            result[first] = value
    for name, value in result.items():
        if isinstance(value, dict):
            parts = _arguments(value)
            tupled = all(key.isdecimal() for key in parts)
            result[name] = tuple(parts[str(n)] for n in range(len(parts))) if tupled else parts
    return result


def _keras(net: Any, make: Callable[[], Any]) -> Model:
    import keras

    with _floats(keras):
        wide = make()
        wide.set_weights(net.get_weights())
    layers = list(net._flatten_layers())
    embeddings = [one for one in layers if isinstance(one, keras.layers.Embedding)]
    masks = any(one.mask_zero for one in embeddings)
    frames = any(isinstance(one, keras.layers.Masking) for one in layers)

    def said(name: str, dtype: str) -> InputDescription:
        """Return an input of words by the smallest table, and which value is masked."""
        if dtype.startswith("float"):
            return InputDescription(name, padding=0.0 if frames else None)
        high = min((one.input_dim for one in embeddings), default=2) - 1
        return InputDescription(name, low=0.0, high=float(high), padding=0.0 if masks else None)

    names = [value.name for value in net.inputs]

    def ordered(inputs: Arrays) -> list[Array]:
        """Return inputs in the model's order; that of a graph where Keras numbered its names."""
        known = {*names} <= {*inputs}
        return [inputs[name] for name in (names if known else inputs)]

    exact, narrow = _KerasRun(wide, "float64"), _KerasRun(net, "float32")
    return Model(lambda i: exact(ordered(i)), lambda i: narrow(ordered(i)), said)


class _KerasRun:
    """Calls a Keras model in a function that is traced once: eagerly its loops take minutes.

    Some calls are made eagerly too; AssertionError where the two differ. All are so where a layer
    is ``TimeDistributed``, which takes rows for steps where neither are known as it is traced.
    """

    def __init__(self, net: Any, dtype: str) -> None:
        self.net, self.dtype, self.calls = net, dtype, 0
        kinds = [type(layer).__name__ for layer in net._flatten_layers()]
        self.eager, self.traced = "TimeDistributed" in kinds, None

    def __call__(self, inputs: Sequence[Array]) -> Outputs:
        import keras
        import tensorflow as tf

        values = [v.astype(self.dtype) if v.dtype.kind == "f" else v for v in inputs]
        with _floats(keras, self.dtype):
            if self.eager:
                return _outputs(self._run(values))
            if self.traced is None:
                kinds = [tf.TensorSpec([None] * v.ndim, v.dtype) for v in values]
                self.traced = tf.function(self._run, [kinds])
            outputs = _outputs(self.traced(values))
            if self.calls % EAGER == 0:
                near = 1e-5 if self.dtype == "float32" else 1e-10
                for (_, one), (_, other) in zip(outputs, _outputs(self._run(values)), strict=True):
                    np.testing.assert_allclose(one, other, near, near)
        self.calls += 1
        return outputs

    def _run(self, values: list[Any]) -> Any:
        import keras

        for value, own in zip(values, self.net.inputs, strict=True):
            if hasattr(value, "set_shape"):
                value.set_shape(own.shape)
        if isinstance(self.net, keras.Sequential):
            return self.net(values[0], training=False)
        given = keras.tree.pack_sequence_as(self.net._inputs_struct, values)
        return self.net(given, training=False)


def _outputs(result: Any) -> Outputs:
    import keras

    names = sorted(result) if isinstance(result, dict) else None
    values = [np.asarray(value) for value in keras.tree.flatten(result)]
    return list(zip(names or [""] * len(values), values, strict=True))


@contextmanager
def _floats(keras: Any, dtype: str = "float64") -> Iterator[None]:
    """Let layers that are made or run within compute in a dtype."""
    before = keras.config.floatx(), keras.config.dtype_policy()
    keras.config.set_floatx(dtype)
    keras.config.set_dtype_policy(dtype)
    try:
        yield
    finally:
        keras.config.set_floatx(before[0])
        keras.config.set_dtype_policy(before[1])
