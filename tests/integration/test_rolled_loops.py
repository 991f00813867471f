"""Python loops over a dynamic length are exported as a scan that is right at every length."""

from __future__ import annotations

import pytest

from harness.core.schema import TensorSpec

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from harness.exporters.torch.rolled.unrolled import unrolled  # noqa: E402
from tests.support.torch_grid import (  # noqa: E402
    F,
    H,
    N,
    X,
    same_at_every_length,
)


class Own(nn.Module):
    """A cell of one's own: every step's state."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.h = nn.Linear(F, H), nn.Linear(H, H, bias=False)

    def forward(self, x):
        h, steps = x.new_zeros(x.shape[0], H), []
        for step in x.split(1, dim=1):
            h = torch.tanh(self.x(step.squeeze(1)) + self.h(h))
            steps.append(h)
        return torch.stack(steps, 1)


class Cells(nn.Module):
    """An LSTM cell over the steps."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(F, H)

    def forward(self, x):
        h = c = x.new_zeros(x.shape[0], H)
        steps = []
        for t in range(x.shape[1]):
            h, c = self.cell(x[:, t], (h, c))
            steps.append(h)
        return torch.stack(steps, 1)


class FromNothing(nn.Module):
    """The last state of a cell whose first step is given none."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(F, H)

    def forward(self, x):
        state = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
        return state[0]


class Future(nn.Module):
    """Split steps, then five of the model's own outputs, and a projection that the loop reads."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.cell, self.out = nn.Linear(F, F), nn.GRUCell(F, H), nn.Linear(H, F)

    def forward(self, x):
        h, steps = x.new_zeros(x.shape[0], H), []
        for step in self.inner(x).split(1, dim=1):
            h = self.cell(step.squeeze(1), h)
            steps.append(self.out(h))
        for _ in range(5):
            h = self.cell(steps[-1], h)
            steps.append(self.out(h))
        return torch.stack(steps, 1)


class Path(nn.Module):
    """The best way through the steps, read backwards from its end."""

    def __init__(self) -> None:
        super().__init__()
        self.change = nn.Parameter(torch.randn(F, F))

    def forward(self, x):
        score, history = x[:, 0], []
        for t in range(1, x.size(1)):
            score, best = (score[:, :, None] + self.change + x[:, t, None]).max(1)
            history.append(best)
        score, tag = score.max(1)
        path = [tag]
        for best in reversed(history):
            tag = best.gather(1, tag[:, None]).squeeze(1)
            path.append(tag)
        return torch.stack(path[::-1], 1).to(x.dtype)


class Last(nn.Module):
    """What is made of the last state and of the last step's input."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.LSTMCell(F, H), nn.Linear(H, 1)

    def forward(self, x):
        state = None
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
            y = self.out(state[0]) * x[:, t] + x[:, t : t + 1].squeeze(1)
        return y


class EveryAndLast(nn.Module):
    """Every step's output, and the last once more, from a state that starts as nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRUCell(F, H), nn.Linear(H, H)

    def forward(self, x):
        h, steps = None, []
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
            steps.append(self.out(h) * x[:, t, :1])
        return torch.stack(steps, 1) + steps[-1][:, None]


class Parts(nn.Module):
    """A loop that reads parts of one tensor, which share its memory."""

    def __init__(self) -> None:
        super().__init__()
        self.gates = nn.Linear(F, 3 * H)

    def forward(self, x):
        z, f, o = self.gates(x).chunk(3, -1)
        c, steps = torch.zeros_like(z[:, 0]), []
        for t in range(x.shape[1]):
            c = torch.sigmoid(f[:, t]) * c + torch.tanh(z[:, t])
            steps.append(torch.sigmoid(o[:, t]) * c)
        return torch.stack(steps, 1)


STEPS = TensorSpec("y", "float32", ("batch", "sequence", H))
KINDS = {
    Own: STEPS,
    Parts: STEPS,
    EveryAndLast: STEPS,
    Path: TensorSpec("y", "float32", ("batch", "sequence")),
}


class Backward(nn.Module):
    """A cell that goes backwards from a state of the model's own, in the order of its steps."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.start = nn.GRUCell(F, H, bias=False), nn.Parameter(torch.randn(H))

    def forward(self, x):
        h, steps = self.start.expand(x.shape[0], H), []
        for t in range(x.shape[1] - 1, -1, -1):
            h = self.cell(x[:, t], h)
            steps.append(h)
        return torch.stack(steps, 1)


class TimeMajor(nn.Module):
    """A cell of ONNX's ``Relu`` over the steps of a tensor that has them first."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.RNNCell(F, H, nonlinearity="relu")

    def forward(self, x):
        h, steps = None, []
        for step in x.transpose(0, 1):
            h = self.cell(step, h)
            steps.append(h)
        return torch.stack(steps).transpose(0, 1)


class EveryCellState(nn.Module):
    """The cell state at every step, which an ONNX ``LSTM`` has of the last alone."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(F, H)

    def forward(self, x):
        state, steps = None, []
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
            steps.append(state[1])
        return torch.stack(steps, 1)


class Stacked(nn.Module):
    """Two cells, of which the second reads the first's states, and an output of every step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.top = nn.LSTMCell(F, H), nn.GRUCell(H, H)

    def forward(self, x):
        state, h, steps = None, None, []
        for t in range(x.shape[1]):
            state = self.cell(x[:, t], state)
            h = self.top(state[0], h)
            steps.append(torch.sigmoid(h) * x[:, t, :1])
        return torch.stack(steps, 1)


class Projected(nn.Module):
    """Every state of a cell, projected."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.out = nn.GRUCell(F, H), nn.Linear(H, H)

    def forward(self, x):
        h, steps = None, []
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
            steps.append(torch.tanh(self.out(h)))
        return torch.stack(steps, 1)


CELLS = {
    Future: (TensorSpec("y", "float32", ("batch", "more", F)), "GRU"),
    Projected: (STEPS, "GRU"),
    Stacked: (STEPS, "LSTM GRU Scan"),
    Cells: (STEPS, "LSTM"),
    FromNothing: (TensorSpec("y", "float32", ("batch", H)), "LSTM"),
    Last: (TensorSpec("y", "float32", ("batch", F)), "LSTM"),
    Backward: (STEPS, "GRU"),
    TimeMajor: (STEPS, "RNN"),
    EveryCellState: (STEPS, "Scan"),
}


@pytest.mark.parametrize("kind", CELLS)
def test_a_loop_that_is_a_cell_is_a_recurrent_node(kind) -> None:
    torch.manual_seed(4)
    output, operator = CELLS[kind]
    made = same_at_every_length(kind().eval(), (X,), output)
    recurrent = [n for n in made.graph.node if n.op_type in ("LSTM", "GRU", "RNN", "Scan")]
    assert [node.op_type for node in recurrent] == operator.split()
    if operator != "Scan":
        assert recurrent[0].name == "cell.l0_forward"


@pytest.mark.parametrize(("kind", "output"), KINDS.items())
def test_a_loop_is_a_scan_at_every_length(kind, output) -> None:
    torch.manual_seed(3)
    made = same_at_every_length(kind().eval(), (X,), output)
    scans = [node.op_type for node in made.graph.node].count("Scan")
    assert scans == (2 if kind is Path else 1)


class Decoder(nn.Module):
    """A loop over the steps, then as many steps of the model's own as it is told."""

    def __init__(self, own) -> None:
        super().__init__()
        self.own, self.cell, self.next = own, nn.GRUCell(F, H), nn.Linear(H, H)

    def forward(self, x):
        h, steps = x.new_zeros(x.shape[0], H), []
        for t in range(x.shape[1]):
            h = self.cell(x[:, t], h)
        for _ in self.own:
            h = torch.tanh(self.next(h))
            steps.append(h)
        return torch.stack(steps, 1)


@pytest.mark.parametrize("own", [range(5), range(7), [0] * 5, [0] * 7, [0] * 16])
def test_a_loop_of_a_fixed_number_of_steps_is_none_over_a_length(own) -> None:
    """The number is the example's length, near it, or that of the longer one it is checked at."""
    torch.manual_seed(5)
    output = TensorSpec("y", "float32", ("batch", len(own), H))
    made = same_at_every_length(Decoder(own).eval(), (X,), output, example=(5, 7))
    kinds = [node.op_type for node in made.graph.node]
    assert (kinds.count("GRU"), kinds.count("Scan")) == (1, 0)


class Longest(nn.Module):
    """The mean over each row's own steps, of as many as the longest row has."""

    def forward(self, x, lengths):
        most = int(lengths.max().item())
        x = x[:, :most]
        mask = (torch.arange(most)[None] < lengths[:, None])[..., None]
        return (x * mask.to(x.dtype)).sum(1) / lengths[:, None].to(x.dtype)


class ThreeFactors(nn.Module):
    """A sum of products of three tensors, whose order PyTorch may choose by their sizes."""

    def forward(self, x):
        return torch.einsum("bif,bjf,bjh->bih", x, x, torch.tanh(x))


def test_a_size_that_is_read_from_data_stays_a_size() -> None:
    same_at_every_length(Longest(), (X, N), TensorSpec("y", "float32", ("batch", F)))


def test_products_of_three_tensors_fix_no_size() -> None:
    same_at_every_length(ThreeFactors(), (X,), TensorSpec("y", "float32", ("batch", "sequence", F)))


def test_tensors_are_no_sequences_afterwards() -> None:
    with unrolled(Longest()):
        pass
    assert torch.tensor([torch.tensor(3)]).tolist() == [3]
