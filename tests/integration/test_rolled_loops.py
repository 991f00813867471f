"""Python loops over a dynamic length are exported as a scan that is right at every length."""

from __future__ import annotations

import numpy as np
import pytest

from harness.core.schema import TensorSpec

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from harness.exporters.torch.native import export  # noqa: E402
from tests.support.torch_grid import F, H, X, draw, spec  # noqa: E402


class Own(nn.Module):
    """A cell of one's own: every step's state."""

    def __init__(self) -> None:
        super().__init__()
        self.x, self.h = nn.Linear(F, H), nn.Linear(H, H, bias=False)

    def forward(self, x):
        h, steps = x.new_zeros(x.shape[0], H), []
        for t in range(x.shape[1]):
            h = torch.tanh(self.x(x[:, t]) + self.h(h))
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


@pytest.mark.parametrize("kind", [Own, Cells, FromNothing])
def test_a_loop_is_a_scan_at_every_length(kind) -> None:
    import onnxruntime

    torch.manual_seed(3)
    model = kind().eval()
    axes = ("batch", H) if kind is FromNothing else ("batch", "sequence", H)
    wanted = spec((X,), (TensorSpec("y", "float32", axes),))
    made = export(model, wanted, draw(wanted, 11, 13))
    assert [node.op_type for node in made.graph.node].count("Scan") == 1
    session = onnxruntime.InferenceSession(made.SerializeToString())
    wide = kind().double()
    wide.load_state_dict(model.state_dict())
    for batch, length in ((1, 1), (3, 2), (2, 5), (4, 40)):
        x = np.random.default_rng(length).uniform(-1, 1, (batch, length, F)).astype(np.float32)
        expected = wide(torch.from_numpy(x).double()).detach().numpy()
        np.testing.assert_allclose(session.run(None, {"x": x})[0], expected, atol=1e-5)
