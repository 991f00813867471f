"""Keras' recurrent wrappers traced as native nodes; nothing stays patched afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from keras.src.layers.rnn.conv_lstm import ConvLSTM

from harness.core import places
from harness.core.errors import ExportError
from harness.core.places import at
from harness.exporters.keras.cells import AS_A_LOOP, recurrent_node, unpack
from harness.exporters.keras.mask import ValidSteps
from harness.exporters.keras.rowwise import ROWWISE
from harness.exporters.keras.tf_graph import LOOP, Tensor, node

_TRAINING = "layer {name!r}: called with training=True; only inference can be exported"
States = dict[int, list[Tensor]]
_RECURRENT = (layers.RNN, layers.LSTM, layers.GRU, layers.SimpleRNN)


@contextmanager
def native_layers(carried: States) -> Iterator[None]:
    """Trace recurrent layers and those of ``ROWWISE`` as native ONNX nodes in this block.

    ONNX has no node for a convolutional recurrence, which stays the ``Loop`` that Keras has.

    ``carried`` holds the flat state of each stateful layer by ``id(layer)``: a call starts from it
    and replaces it by the final state.
    """
    replacements: dict[type, Callable[..., Any]] = {
        layers.RNN: _rnn_call(carried),
        layers.Bidirectional: _bidirectional_call(carried),
        **ROWWISE,
    }
    originals = {kind: kind.call for kind in replacements}  # type: ignore[attr-defined]
    try:
        for kind, call in replacements.items():
            kind.call = call  # type: ignore[attr-defined]
        yield
    finally:
        for kind, call in originals.items():
            kind.call = call  # type: ignore[attr-defined]


def _rnn_call(carried: States) -> Callable[..., Any]:
    keras_own = layers.RNN.call

    def call(
        self: layers.RNN,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Any = None,
        training: Any = False,
    ) -> Any:
        if isinstance(self, ConvLSTM) and not self.stateful:
            if training:
                raise ExportError(_TRAINING.format(name=self.name))
            # Keras draws masks of dropout that inference does not read
            drawing = patch.object(layers.RNN, "_maybe_config_dropout_masks", lambda *_: None)
            with tf.name_scope(LOOP), drawing:
                return keras_own(self, sequences, initial_state, mask, training)
        output, states = _run(self, sequences, initial_state, mask, training, carried)
        return (output, *states) if self.return_state else output

    return call


def _bidirectional_call(carried: States) -> Callable[..., Any]:
    keras_own = layers.Bidirectional.call

    def call(
        self: layers.Bidirectional,
        sequences: Tensor,
        initial_state: Any = None,
        mask: Any = None,
        training: Any = None,
    ) -> Any:
        directions = (self.forward_layer, self.backward_layer)
        if isinstance(self.forward_layer, ConvLSTM):
            return keras_own(self, sequences, initial_state, mask, training)
        for layer in directions:
            if not isinstance(layer, layers.RNN) or _definer(layer, "call") not in _RECURRENT:
                raise ExportError(
                    f"layer {self.name!r}: Bidirectional of a custom {type(layer).__name__} "
                    f"cannot be exported{at(places.of_class(type(layer)))}; expected one of: "
                    + ", ".join(kind.__name__ for kind in _RECURRENT)
                    + f"; {AS_A_LOOP}"
                )
        half = [None, None]
        if initial_state is not None:
            middle = len(initial_state) // 2
            half = [initial_state[:middle], initial_state[middle:]]
        (y, states), (y_back, states_back) = (
            _run(layer, sequences, state, mask, training, carried, flip=flip)
            for layer, state, flip in zip(
                directions, half, (False, self.return_sequences), strict=True
            )
        )
        merged = _MERGES[self.merge_mode](y, y_back)
        if not self.return_state:
            return merged
        return (*(merged if self.merge_mode is None else (merged,)), *states, *states_back)

    return call


_MERGES: dict[str | None, Callable[[Tensor, Tensor], Any]] = {
    "concat": lambda a, b: tf.concat([a, b], axis=-1),
    "sum": lambda a, b: a + b,
    "ave": lambda a, b: (a + b) / 2,
    "mul": lambda a, b: a * b,
    None: lambda a, b: (a, b),
}


def _run(
    layer: layers.RNN,
    x: Tensor,
    initial_state: Any,
    mask: Any,
    training: Any,
    carried: States,
    flip: bool = False,
) -> tuple[Tensor, list[Any]]:
    """Return the layer's output and its final states, nested as Keras does.

    Outputs over time are in processing order, as Keras has them, or with ``flip`` in the reverse.
    """
    mask = _checked(layer, x, mask, training)
    if layer.stateful and id(layer) not in carried:
        raise ExportError(f"layer {layer.name!r}: stateful, but not among the model's own layers")
    start = carried[id(layer)] if layer.stateful and initial_state is None else initial_state
    steps = None if mask is None else ValidSteps(mask, layer.go_backwards)
    y, finals = _recur(layer, x, _nested(layer, start), steps)
    flat = [state for final in finals for state in final]
    if layer.stateful:
        carried[id(layer)] = flat
    zero = bool(layer.zero_output_for_mask)
    if not layer.return_sequences:
        output = finals[-1][0] if steps is None else steps.last(y, zero)
    else:
        output = y if steps is None else steps.spread(y, zero)
        if layer.go_backwards != flip:
            output = _reversed(output)
    if initial_state is not None:
        initial = list(initial_state) if keras.tree.is_nested(initial_state) else [initial_state]
        return output, keras.tree.pack_sequence_as(initial, flat)
    return output, finals if type(layer.cell) is layers.StackedRNNCells else finals[0]


def _recur(
    layer: layers.RNN, x: Tensor, nested: list[list[Tensor | None]], steps: ValidSteps | None
) -> tuple[Tensor, list[list[Tensor]]]:
    """Return the last cell's outputs, batch first, and each cell's final states.

    Without a mask the outputs are at their own steps; with one they are ``ValidSteps.frames``.
    """
    direction = "reverse" if layer.go_backwards and steps is None else "forward"
    # Only an LSTM's final cell state needs the lengths: it is in no output.
    lengths = steps.lengths if steps and (layer.return_state or layer.stateful) else None
    y = node("Transpose", x if steps is None else steps.to_front(x), perm=[1, 0, 2])
    frames, finals = y, []
    for cell, initial in zip(unpack(layer), nested, strict=True):
        states = [None if s is None else node("Unsqueeze", s, np.array([0])) for s in initial]
        y, *final = recurrent_node(cell, y, states, direction, lengths if states[1:] else None)
        y = node("Squeeze", y, np.array([1]))
        final = [node("Squeeze", state, np.array([0])) for state in final]
        if steps is None:
            frames = node("Transpose", y, perm=[1, 0, 2])
        else:
            frames = steps.frames(y)
            cell_state = [steps.kept(c, i) for c, i in zip(final[1:], initial[1:], strict=True)]
            final = [steps.final(frames, initial[0]), *cell_state]
        finals.append(final)
    return frames, finals


def _checked(layer: layers.RNN, x: Any, mask: Any, training: Any) -> Tensor | None:
    """Return the mask as a boolean [batch, steps]; ExportError where no native form is exact."""
    where = f"layer {layer.name!r}"
    for method in ("inner_loop", "get_initial_state"):
        if _definer(layer, method) not in _RECURRENT:
            place = at(places.of_class(type(layer)))
            raise ExportError(
                f"{where}: {type(layer).__name__} overrides {method}{place}; {AS_A_LOOP}"
            )
    if not keras.tree.is_nested(x) and len(x.shape) > 3:
        raise ExportError(
            f"{where}: {type(layer).__name__} over {x.shape} is no LSTM, GRU or RNN node; "
            f"{AS_A_LOOP}"
        )
    if keras.tree.is_nested(x) or len(x.shape) != 3:
        shape = "several tensors" if keras.tree.is_nested(x) else x.shape
        raise ExportError(f"{where}: expected one input [batch, steps, features], got {shape}")
    if training:
        raise ExportError(_TRAINING.format(name=layer.name))
    if keras.tree.is_nested(mask):
        mask = keras.tree.flatten(mask)[0]
    if mask is None:
        return None
    if len(mask.shape) != 2:
        raise ExportError(f"{where}: expected a mask [batch, steps], got {mask.shape}")
    return tf.cast(mask, tf.bool)


def _nested(layer: layers.RNN, state: Any) -> list[list[Tensor | None]]:
    """Return the initial state as one list per cell: [h], or [h, c] for an LSTM; None for zeros."""
    counts = [2 if type(c) is layers.LSTMCell else 1 for c in unpack(layer)]
    flat = [None] * sum(counts) if state is None else keras.tree.flatten(state)
    if len(flat) != sum(counts):
        raise ExportError(
            f"layer {layer.name!r}: expected {sum(counts)} initial states, got {len(flat)}"
        )
    remaining = iter(flat)
    return [[next(remaining) for _ in range(count)] for count in counts]


def _reversed(x: Tensor) -> Tensor:
    start, end = np.array([-1]), np.array([np.iinfo(np.int64).min])
    return node("Slice", x, start, end, np.array([1]), np.array([-1]))


def _definer(layer: Any, method: str) -> type:
    """Return the class that defines a layer's method."""
    return next(kind for kind in type(layer).__mro__ if method in vars(kind))
