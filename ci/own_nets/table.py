"""Every own net: its kind, its inputs as a user describes them, and the exporters that take it."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from harness.subjects import describe
from harness.subjects.description import ModelDescription

X = "x: float32[batch, time, 6]"
MASK = "mask: float32[batch, time], mask of time"
FRAMES = (X,)
MASKED = (X, MASK)
STATES = {"h": "next_h", "c": "next_c"}
TORCH = ("native", "torch-dynamo", "torch-script")
KERAS = ("native", "tf2onnx", "keras-export")


@dataclass(frozen=True)
class Net:
    """``name`` is its factory in the framework's module; ``kind`` says what makes it hard."""

    framework: str
    name: str
    kind: str
    inputs: tuple[str, ...] = FRAMES
    states: Mapping[str, str] = field(default_factory=dict)

    @property
    def exporters(self) -> tuple[str, ...]:
        return TORCH if self.framework == "torch" else KERAS

    @property
    def id(self) -> str:
        return f"{self.framework}/{self.name}"

    @property
    def description(self) -> ModelDescription:
        return ModelDescription(tuple(map(describe.line, self.inputs)), states=self.states)

    def make(self) -> Any:
        """Return the live model; ModuleNotFoundError where its framework is not installed."""
        nets = importlib.import_module(f"ci.own_nets.{self.framework}_nets")
        return getattr(nets, self.name)()


def _torch_states() -> tuple[str, ...]:
    return (X, *(f"{name}: float32[2, batch, 8]" for name in "hc"))


NETS = (
    Net("torch", "conv_lstm", "convolution front end, batch norm"),
    Net("torch", "norms", "group, batch and layer norm"),
    Net("torch", "crnn", "2D convolution, batch norm", ("image: float32[batch, time, 8]",)),
    Net("torch", "tcn", "dilated convolutions, weight norm"),
    Net("torch", "attention", "attention with a mask", MASKED),
    Net("torch", "pointer", "fill of -1e9 in the output", MASKED),
    Net("torch", "log_pointer", "log-softmax of a fill", MASKED),
    Net("torch", "lowest_fill", "fill of finfo.min", MASKED),
    Net(
        *("torch", "encoder", "Transformer encoder, padding mask"),
        ("tokens: int64[batch, time] in 1..39, padding 0, right",),
    ),
    Net("torch", "states", "states in and out", _torch_states(), STATES),
    Net(
        *("torch", "two_inputs", "two inputs"),
        ("source: float32[batch, source, 6]", "target: float32[batch, target, 3]"),
    ),
    Net("torch", "argmax", "integer output"),
    Net("torch", "levels", "uint8 output, a class"),
    Net("torch", "shades", "uint8 output, a brightness cut to an integer"),
    Net("torch", "log_softmax", "log-softmax"),
    Net(
        *("torch", "words", "embedding of 50,000 rows"),
        ("tokens: int64[batch, time] in 1..49999, padding 0",),
    ),
    Net(
        *("torch", "decoder", "decoder loop of five steps"), ("source: float32[batch, source, 6]",)
    ),
    Net(
        *("torch", "beams", "greedy loop of seven steps, gathered beams"),
        ("source: int64[batch, time] in 1..19",),
    ),
    Net("torch", "channels", "small channels beside large ones"),
    Net("torch", "focal", "rare classes, prior bias -7"),
    Net("torch", "rare_events", "rare events, logits of -14"),
    Net("torch", "rare_classes", "rare classes of a softmax"),
    Net("torch", "chrono", "chrono-initialised LSTM"),
    Net("torch", "running_sum", "running sum"),
    Net("torch", "fft", "spectrum of each frame", ("frames: float32[batch, time, 16]",)),
    Net("torch", "fnet", "spectrum over time", ("x: float32[batch, time, 8]",)),
    Net("keras", "conv_lstm", "convolution front end, batch norm"),
    Net("keras", "norms", "batch, layer and group norm"),
    Net("keras", "adapted", "adapted Normalization", ("x: float32[batch, time, 3] in -3..3",)),
    Net("keras", "tcn", "dilated convolutions, layer norm"),
    Net("keras", "attention", "attention with a mask", MASKED),
    Net("keras", "pointer", "fill of -1e9 in the output", MASKED),
    Net("keras", "log_pointer", "log-softmax of a fill", MASKED),
    Net("keras", "states", "states in and out", (X,), STATES),
    Net(
        *("keras", "two_inputs", "two inputs"),
        ("source: float32[batch, source, 6]", "target: float32[batch, target, 3]"),
    ),
    Net("keras", "argmax", "integer output"),
    Net("keras", "levels", "uint8 output, a class"),
    Net("keras", "shades", "uint8 output, a brightness cut to an integer"),
    Net("keras", "log_softmax", "both directions, log-softmax"),
    Net("keras", "words", "embedding of 50,000 rows", ()),
    Net("keras", "tagger", "masked, both directions", ()),
    Net("keras", "decoder", "decoder of five steps", ("source: float32[batch, source, 6]",)),
    Net("keras", "channels", "small channels beside large ones"),
    Net("keras", "focal", "rare classes, prior bias -7"),
    Net("keras", "rare_events", "rare events, logits of -14"),
    Net("keras", "rare_classes", "rare classes of a softmax"),
    Net("keras", "chrono", "chrono-initialised LSTM"),
    Net("keras", "running_sum", "running sum"),
    Net("keras", "fft", "spectrum of each frame", ("frames: float32[batch, time, 16]",)),
)
