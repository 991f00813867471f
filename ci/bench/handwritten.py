"""The reference models as ONNX graphs written by hand: what an exporter has to measure up to.

Every recurrent layer is a native LSTM or GRU node that runs forward over time-major data. Masks may
be any: each row's valid steps are brought to the front by their ids, before the embedding, and
the outputs are read back by how many valid steps have been seen. ``sequence_lens`` serves only an
LSTM's final cell state, which no output holds.

Shapes: B batch, T steps, F features, H units. A value is known by its name in the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from harness.core.schema import Array, Arrays, ModelSpec, PaddedSteps, TensorSpec
from reference_models.fixed_length_autoencoder.spec import STEPS

OPSET = 18
IR_VERSION = 8
_LSTM_GATES = (0, 3, 1, 2)
"""ONNX's i o f c among the i f g o of ``reference_models.numerics``; a GRU's order is the same."""

State = tuple[str, str]


@dataclass(frozen=True)
class Valid:
    """The valid steps of ids [B, T]; ``visible``, ``order`` are in the order of processing."""

    mask: str
    """[B, T] int64, 1 where valid."""
    visible: str
    """[B, T]: how many valid steps up to and including this one."""
    order: str
    """[B, T]: the valid steps' positions first, then any others."""
    count: str
    """[B, 1]: how many valid steps the row has."""


class Graph:
    """Nodes and constants as they are added; equal constants are kept once."""

    def __init__(self, spec: ModelSpec, params: Arrays, padded: PaddedSteps) -> None:
        self.spec, self.params, self.padded = spec, params, padded
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def op(self, op: str, *inputs: str, outputs: int = 1, **attributes: Any) -> list[str]:
        """Add a node; return all its outputs."""
        name = f"{op.lower()}_{len(self.nodes)}"
        names = [name] if outputs == 1 else [f"{name}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op, inputs, names, name=name, **attributes))
        return names

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        return self.op(op, *inputs, **attributes)[0]

    def constant(self, value: Array) -> str:
        name = f"constant_{len(self.constants)}"
        tensor = numpy_helper.from_array(np.ascontiguousarray(value), name)
        key = f"{value.dtype}{value.shape}{value.tobytes().hex()}"
        return str(self.constants.setdefault(key, tensor).name)

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def output(self, name: str, value: str) -> None:
        """Make ``value`` the output called ``name``."""
        self.nodes.append(helper.make_node("Identity", [value], [name], name=f"output_{name}"))

    def model(self) -> onnx.ModelProto:
        def value(tensor: TensorSpec) -> onnx.ValueInfoProto:
            element = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
            return helper.make_tensor_value_info(tensor.name, element, tensor.axes)

        graph = helper.make_graph(
            self.nodes,
            self.spec.name,
            [value(tensor) for tensor in self.spec.inputs],
            [value(tensor) for tensor in self.spec.outputs],
            list(self.constants.values()),
        )
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model

    def embedding(self, layer: str, ids: str, valid: Valid | None = None) -> str:
        """Look up ids [B, T] as [T, B, F], the valid steps of each row first."""
        if valid is not None:
            ids = self.node("GatherElements", ids, valid.order, axis=1)
        table = self.constant(self.params[f"{layer}.table"])
        return self.node("Gather", table, self.node("Transpose", ids, perm=[1, 0]))

    def dense(self, layer: str, x: str, activation: str | None = None) -> str:
        """Add a dense layer from […, F] to […, units]."""
        kernel, bias = (self.constant(self.params[f"{layer}.{p}"]) for p in ("kernel", "bias"))
        y = self.node("Add", self.node("MatMul", x, kernel), bias)
        if activation is None:
            return y
        return self.node(activation, y, **({"axis": -1} if activation == "Softmax" else {}))

    def valid(self, ids: str, backwards: bool = False) -> Valid:
        """Find where ids [B, T] are not zero."""
        mask = self.node("Cast", self.node("Cast", ids, to=TensorProto.BOOL), to=TensorProto.INT64)
        axis = self.constant(np.array(1, np.int64))
        visible, left = (
            self.node("CumSum", mask, axis, reverse=int(r)) for r in (backwards, not backwards)
        )
        steps = self.node("Shape", ids, start=1, end=2)
        ranked = self.node("Mul", mask, left)
        _, order = self.op("TopK", ranked, steps, axis=1, sorted=1, outputs=2)
        count = self.node("ReduceMax", visible, self.ints(1), keepdims=1)
        return Valid(mask, visible, order, count)

    def lstm(
        self, layer: str, x: str, state: State | None = None, lens: str = "", outputs: int = 3
    ) -> list[str]:
        """Add an LSTM over [T, B, F]: every step [T, B, H], then the final h and c, each [B, H]."""
        initial = [self.node("Unsqueeze", s, self.ints(0)) for s in state or ()]
        return self._recurrent("LSTM", layer, x, [lens, *initial], _LSTM_GATES, outputs)

    def gru(self, layer: str, x: str, reset_after: bool) -> str:
        """Add a GRU over [T, B, F]: every step [T, B, H]."""
        order = (0, 1, 2)
        after = int(reset_after)
        return self._recurrent("GRU", layer, x, [], order, 1, linear_before_reset=after)[0]

    def _recurrent(
        self,
        op: str,
        layer: str,
        x: str,
        more_inputs: Sequence[str],
        order: Sequence[int],
        outputs: int,
        **attributes: int,
    ) -> list[str]:
        def gates(name: str) -> Array:
            blocks = np.split(self.params[f"{layer}.{name}"].T, len(order))
            return np.concatenate([blocks[k] for k in order])[None]

        w, r, bias = gates("kernel"), gates("recurrent_kernel"), gates("bias")
        second = f"{layer}.recurrent_bias" in self.params
        b = np.concatenate([bias, gates("recurrent_bias") if second else 0 * bias], axis=1)
        weights = [self.constant(value) for value in (w, r, b)]
        attributes["hidden_size"] = r.shape[-1]
        results = self.op(op, x, *weights, *more_inputs, outputs=outputs, **attributes)
        return [self.node("Squeeze", y, self.ints(int(i == 0))) for i, y in enumerate(results)]

    def batch_major(self, y: str) -> str:
        """Turn [T, B, H] into [B, T, H]."""
        return self.node("Transpose", y, perm=[1, 0, 2])

    def frames(self, y: str) -> str:
        """Turn [T, B, H] into [B, 1 + T, H]: zeros, for no valid step yet, before the outputs."""
        return self.batch_major(self.node("Pad", y, self.ints(1, 0, 0, 0, 0, 0)))

    def spread(self, frames: str, valid: Valid) -> str:
        """Return outputs [B, T, H] at their steps; a padded one repeats the last or is zero."""
        visible = valid.visible
        if self.padded == "zero":
            visible = self.node("Mul", visible, valid.mask)
        index = self.node("Unsqueeze", visible, self.ints(2))
        return self.node("GatherND", frames, index, batch_dims=1)

    def last(self, frames: str, valid: Valid) -> str:
        """Return the output [B, H] at each row's last valid step; zero for a row without one."""
        return self.node("GatherND", frames, valid.count, batch_dims=1)

    def final(self, frames: str, c: str, valid: Valid, initial: State | None) -> State:
        """Return h and c, each [B, H], after the last valid step; an empty row's initial ones."""
        any_valid = self.node("Cast", valid.count, to=TensorProto.BOOL)
        zero = self.constant(np.zeros((), np.float32))
        h0, c0 = initial or (zero, zero)
        h = self.last(frames, valid)
        return self.node("Where", any_valid, h, h0), self.node("Where", any_valid, c, c0)

    def lengths(self, valid: Valid) -> str:
        """Count the valid steps per row, [B] int32, at least 1."""
        count = self.node("Squeeze", self.node("Max", valid.count, self.ints(1)), self.ints(1))
        return self.node("Cast", count, to=TensorProto.INT32)

    def repeat(self, x: str, steps: str) -> str:
        """Repeat [B, F] as [T, B, F] for ``steps``, [1] int64, that holds T."""
        shape = self.node("Concat", steps, self.ints(1, 1), axis=0)
        return self.node("Expand", self.node("Unsqueeze", x, self.ints(0)), shape)


def build(spec: ModelSpec, params: Arrays, padded: PaddedSteps = "repeat") -> onnx.ModelProto:
    """Build the model of ``spec`` by hand, from the parameters of ``reference_models.numerics``."""
    graph = Graph(spec, params, padded)
    MODELS[spec.name](graph)
    return graph.model()


def _two_input_qa(g: Graph) -> None:
    ends = [
        g.lstm(f"{part}_lstm", g.embedding(f"{part}_embedding", part), outputs=2)[1]
        for part in ("text", "question")
    ]
    g.output("answer", g.dense("answer", g.node("Concat", *ends, axis=-1), "Softmax"))


def _stacked_classifier(g: Graph) -> None:
    [x] = g.lstm("lstm_1", g.node("Transpose", "features", perm=[1, 0, 2]), outputs=1)
    _, h = g.lstm("lstm_2", x, outputs=2)
    g.output("label", g.dense("label", h, "Softmax"))


def _streaming_classifier(g: Graph) -> None:
    x = g.node("Transpose", "features", perm=[1, 0, 2])
    for layer in ("1", "2"):
        x, h, c = g.lstm(f"lstm_{layer}", x, (f"h0_{layer}", f"c0_{layer}"))
        g.output(f"h_{layer}", h)
        g.output(f"c_{layer}", c)
    g.output("label", g.dense("label", h, "Softmax"))


def _sequence_autoencoder(g: Graph) -> None:
    _, code = g.lstm("encoder_lstm", g.embedding("embedding", "tokens"), outputs=2)
    _decode(g, code, g.node("Shape", "tokens", start=1, end=2))


def _sequence_encoder(g: Graph) -> None:
    _, code = g.lstm("encoder_lstm", g.embedding("embedding", "tokens"), outputs=2)
    g.output("code", code)


def _sequence_decoder(g: Graph) -> None:
    length = g.node("Cast", "length", to=TensorProto.INT64)
    _decode(g, "code", g.node("Unsqueeze", length, g.ints(0)))


def _decode(g: Graph, code: str, steps: str) -> None:
    [x] = g.lstm("decoder_lstm", g.repeat(code, steps), outputs=1)
    g.output("probabilities", g.dense("probabilities", g.batch_major(x), "Softmax"))


def _fixed_length_autoencoder(g: Graph) -> None:
    valid = g.valid("tokens")
    [x] = g.lstm("encoder", g.embedding("embedding", "tokens", valid), outputs=1)
    code = g.last(g.frames(x), valid)
    [x] = g.lstm("decoder", g.repeat(code, g.ints(STEPS)), outputs=1)
    g.output("probabilities", g.dense("probabilities", g.batch_major(x), "Softmax"))


def _language_model(g: Graph) -> None:
    valid = g.valid("tokens")
    lens = g.lengths(valid)
    x = g.embedding("embedding", "tokens", valid)
    for layer in ("1", "2"):
        state = f"h0_{layer}", f"c0_{layer}"
        x, _, c = g.lstm(f"lstm_{layer}", x, state, lens)
        frames = g.frames(x)
        h, c = g.final(frames, c, valid, state)
        g.output(f"h_{layer}", h)
        g.output(f"c_{layer}", c)
    g.output("logits", g.dense("logits", g.spread(frames, valid)))


def _dialog_act_tagger(g: Graph) -> None:
    valid = g.valid("words")
    [x] = g.lstm("lstm", g.embedding("embedding", "words", valid), outputs=1)
    g.output("acts", g.dense("acts", g.spread(g.frames(x), valid), "Sigmoid"))


def _dialog_act_classifier(g: Graph) -> None:
    valid = g.valid("words")
    [x] = g.lstm("lstm", g.embedding("embedding", "words", valid), outputs=1)
    g.output("acts", g.dense("acts", g.last(g.frames(x), valid), "Sigmoid"))


def _bidirectional_tagger(g: Graph) -> None:
    sides = []
    for direction, backwards in (("forward", False), ("backward", True)):
        valid = g.valid("tokens", backwards)
        [x] = g.lstm(f"lstm_{direction}", g.embedding("embedding", "tokens", valid), outputs=1)
        sides.append(g.spread(g.frames(x), valid))
    both = g.node("Concat", *sides, axis=-1)
    g.output("probabilities", g.dense("probabilities", both, "Softmax"))


def _gru_tagger(g: Graph) -> None:
    valid = g.valid("tokens")
    after = g.spec.name == "gru_tagger"
    x = g.gru("gru", g.embedding("embedding", "tokens", valid), after)
    g.output("probabilities", g.dense("probabilities", g.spread(g.frames(x), valid), "Softmax"))


def _encoder_decoder(g: Graph) -> None:
    valid = g.valid("source")
    source = g.embedding("source_embedding", "source", valid)
    x, _, c = g.lstm("encoder", source, lens=g.lengths(valid))
    state = g.final(g.frames(x), c, valid, None)
    [y] = g.lstm("decoder", g.embedding("target_embedding", "target"), state, outputs=1)
    g.output("logits", g.dense("logits", g.batch_major(y)))


MODELS = {
    "two_input_qa": _two_input_qa,
    "stacked_classifier": _stacked_classifier,
    "streaming_classifier": _streaming_classifier,
    "sequence_autoencoder": _sequence_autoencoder,
    "sequence_encoder": _sequence_encoder,
    "sequence_decoder": _sequence_decoder,
    "fixed_length_autoencoder": _fixed_length_autoencoder,
    "language_model": _language_model,
    "dialog_act_tagger": _dialog_act_tagger,
    "dialog_act_classifier": _dialog_act_classifier,
    "bidirectional_tagger": _bidirectional_tagger,
    "gru_tagger": _gru_tagger,
    "gru_tagger_reset_before": _gru_tagger,
    "encoder_decoder": _encoder_decoder,
}
