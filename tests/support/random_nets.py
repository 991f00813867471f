"""Descriptions of small random recurrent nets and of what to run them on; no framework here.

A description's text builds it again, so that one that failed can stand in a test as it was printed.
``keras_nets`` and ``torch_nets`` are strategies that draw only what the native exporters cover.
"""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import strategies as st

SIZES = st.integers(1, 6)
PADDINGS = ("none", "right", "left", "gapped", "empty")
DENSE = ("linear", "relu", "tanh", "sigmoid", "softmax", "gelu", "elu", "softplus", "silu")
# (activation, gates' activation) of Keras' cells, in pairs whose states stay bounded.
GATES = (
    ("tanh", "sigmoid"),
    ("tanh", "hard_sigmoid"),
    ("relu", "sigmoid"),
    ("softsign", "hard_sigmoid"),
    ("sigmoid", "tanh"),
    ("elu", "softsign"),
    ("leaky_relu", "hard_sigmoid"),
    ("linear", "sigmoid"),
    ("softplus", "sigmoid"),
)


@dataclass(frozen=True)
class Run:
    """One call: so many rows and steps, and where the rows' padding lies."""

    rows: int
    steps: int
    padding: str = "none"


@dataclass(frozen=True)
class After:
    """A layer that is not recurrent: dense, time_distributed, residual, norm or dropout.

    A residual one adds a dense layer of what the recurrent layer before it was given; in PyTorch
    a time_distributed one is a dense one.
    """

    kind: str
    units: int = 1
    activation: str = "linear"


@dataclass(frozen=True)
class KerasLayer:
    """A recurrent layer; several ``cells`` (kind, units) are stacked inside one ``RNN``.

    A kind is lstm, gru, gru_before (``reset_after=False``) or rnn.
    """

    cells: tuple[tuple[str, int], ...]
    direction: str = "forward"
    merge: str = "concat"
    gates: tuple[str, str] = ("tanh", "sigmoid")
    bias: bool = True
    state_in: bool = False
    state_out: bool = False
    zero_masked: bool = False
    dropout: float = 0.0
    after: tuple[After, ...] = ()


@dataclass(frozen=True)
class KerasNet:
    """Layers over ``source``: plain, masking, embedding or embedding_masked.

    With ``steps`` the last layer gives all of them, else the last one.
    """

    source: str
    features: int
    layers: tuple[KerasLayer, ...]
    steps: bool = True
    seed: int = 0

    @property
    def padding_is_neutral(self) -> bool:
        """Whether steps under the mask after a row's last change nothing before them.

        Keras leaves the mask in input order where a backward layer gives its steps in processing
        order, and zeroes the last step, when it is masked, where zeros are asked for.
        """
        last = self.layers[-1]
        steps = [*self.layers[:-1], *([last] if self.steps else [])]
        return (
            self.source in ("masking", "embedding_masked")
            and all(layer.direction != "backward" for layer in steps)
            and (self.steps or not last.zero_masked)
        )


@dataclass(frozen=True)
class TorchLayer:
    """A recurrent layer ``depth`` deep; a kind is lstm, gru, rnn_tanh or rnn_relu.

    Backward is a forward layer over flipped steps, its outputs flipped back.
    """

    kind: str
    units: int
    depth: int = 1
    direction: str = "forward"
    bias: bool = True
    projection: int = 0
    dropout: float = 0.0
    batch_first: bool = True
    state_in: bool = False
    state_out: bool = False
    after: tuple[After, ...] = ()

    @property
    def size(self) -> int:
        """Of one direction's output."""
        return self.projection or self.units

    @property
    def states(self) -> int:
        """The rows of a state: layers times directions."""
        return self.depth * (1 + (self.direction == "bidirectional"))


@dataclass(frozen=True)
class Packing:
    """How rows are packed: ``chained`` ones stay so from layer to layer; ``whole`` are padded back
    to all steps, others to the longest row."""

    enforce_sorted: bool = False
    filler: float = 0.0
    whole: bool = True
    chained: bool = False


@dataclass(frozen=True)
class TorchNet:
    """Layers over ``source`` (floats or ids), of which ``take`` is given: steps, last or final.

    ``last`` is the last step's output, ``final`` the last layer's final hidden state. ``example``
    holds the rows and steps it is exported at.
    """

    source: str
    features: int
    layers: tuple[TorchLayer, ...]
    packing: Packing | None = None
    take: str = "steps"
    example: tuple[int, int] = (2, 3)
    seed: int = 0


def streams(net: KerasNet | TorchNet) -> bool:
    """Whether a sequence may be cut, each piece going on from the states before it.

    There is no padding, steps follow only from those before, every state goes in and comes out.
    """
    keras = isinstance(net, KerasNet)
    unpadded = net.source in ("plain", "embedding") if keras else net.packing is None
    return unpadded and all(
        layer.direction == "forward" and layer.state_in and layer.state_out for layer in net.layers
    )


@st.composite
def runs(draw: st.DrawFn, paddings: tuple[str, ...] = PADDINGS) -> list[Run]:
    """Three to four calls; one of a single step, one of a single row and one ragged always."""
    ragged = st.builds(Run, st.integers(2, 5), st.integers(2, 9), st.sampled_from(paddings))
    single = st.builds(Run, st.integers(1, 5), st.just(1), st.sampled_from(paddings))
    alone = st.builds(Run, st.just(1), st.integers(1, 9), st.sampled_from(paddings))
    found = [draw(ragged), draw(single), draw(alone), *draw(st.lists(ragged, max_size=1))]
    return draw(st.permutations(found))


def _afters(vector: bool, residual: bool = True) -> st.SearchStrategy[tuple[After, ...]]:
    kinds = ["dense", "norm", "dropout"]
    kinds += ["residual"] * (residual and not vector) + ["time_distributed"] * (not vector)
    after = st.builds(After, st.sampled_from(kinds), SIZES, st.sampled_from(DENSE))
    return st.lists(after, max_size=2).map(tuple)


@st.composite
def keras_nets(draw: st.DrawFn) -> KerasNet:
    source = draw(st.sampled_from(("masking", "embedding_masked", "plain", "embedding")))
    steps = draw(st.booleans())
    streaming = source in ("plain", "embedding") and draw(st.booleans())
    directions = ("forward",) if streaming else ("forward", "backward", "bidirectional")
    states = st.just(True) if streaming else st.booleans()
    count = draw(st.integers(1, 3))
    layers = []
    for number in range(count):
        kinds = st.sampled_from(("lstm", "gru", "gru_before", "rnn"))
        cells = draw(st.lists(st.tuples(kinds, SIZES), min_size=1, max_size=3))
        cells = cells if draw(st.booleans()) else cells[:1]
        layers.append(
            KerasLayer(
                cells=tuple(cells),
                direction=draw(st.sampled_from(directions)),
                merge=draw(st.sampled_from(("concat", "sum", "mul", "ave"))),
                gates=draw(st.sampled_from(GATES)),
                bias=draw(st.booleans()),
                state_in=draw(states),
                state_out=draw(states),
                zero_masked=draw(st.booleans()),
                dropout=draw(st.sampled_from((0.0, 0.5))),
                after=draw(_afters(vector=number == count - 1 and not steps)),
            )
        )
    return KerasNet(source, draw(SIZES), tuple(layers), steps, draw(st.integers(0, 2**16)))


@st.composite
def torch_nets(draw: st.DrawFn) -> TorchNet:
    packing = draw(st.none() | st.builds(Packing, **_packing()))
    chained = packing is not None and packing.chained
    streaming = packing is None and draw(st.booleans())
    directions = ("forward", "bidirectional", *(() if packing else ("backward",)))
    directions = directions[: 1 if streaming else None]
    states = st.just(True) if streaming else st.booleans()
    count = draw(st.integers(1, 3))
    layers = []
    for number in range(count):
        kind = draw(st.sampled_from(("lstm", "gru", "rnn_tanh", "rnn_relu")))
        units = draw(SIZES)
        projections = st.integers(1, units - 1) if kind == "lstm" and units > 1 else st.just(0)
        bare = chained and number < count - 1
        residual = packing is None or (packing.whole and not chained)
        layers.append(
            TorchLayer(
                kind=kind,
                units=units,
                depth=draw(st.sampled_from((1, 1, 2, 3))),
                direction=draw(st.sampled_from(directions)),
                bias=draw(st.booleans()),
                projection=draw(st.just(0) | projections),
                dropout=draw(st.sampled_from((0.0, 0.5))),
                batch_first=draw(st.booleans()),
                state_in=draw(states),
                state_out=draw(states),
                after=() if bare else draw(_afters(vector=False, residual=residual)),
            )
        )
    take = draw(st.sampled_from(("steps", "final") if packing else ("steps", "last", "final")))
    example = draw(st.tuples(st.integers(2, 9), st.integers(2, 9)))
    source = draw(st.sampled_from(("floats", "ids")))
    seed = draw(st.integers(0, 2**16))
    return TorchNet(source, draw(SIZES), tuple(layers), packing, take, example, seed)


def _packing() -> dict[str, st.SearchStrategy]:
    flag = st.booleans()
    fillers = st.sampled_from((0.0, -1.5))
    return {"enforce_sorted": flag, "filler": fillers, "whole": flag, "chained": flag}
