"""What PyTorch's own exporters write where the recurrent layers of a model stay native."""

import numpy as np
import onnxruntime
import pytest

from harness.core.schema import ModelSpec, TensorSpec
from harness.graphs.recurrent import SEQUENCE_LENS, is_recurrent

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: E402

from harness.exporters.stock import keeping  # noqa: E402

STEPS, STATE = ("batch", "longest", 3), ("batch", 3)
SPEC = ModelSpec(
    name="net",
    summary="packed layers",
    inputs=(
        TensorSpec("x", "float32", ("batch", "time", 4)),
        TensorSpec("lengths", "int64", ("batch",)),
        TensorSpec("state", "float32", ("batch", 3)),
    ),
    outputs=(
        TensorSpec("y", "float32", STEPS),
        TensorSpec("h", "float32", STATE),
        TensorSpec("c", "float32", STATE),
    ),
    weights="net",
)


class Net(nn.Module):
    """One layer above the other; the last of them twice, and as long as the longest row."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gru = nn.GRU(4, 4, batch_first=True)
        self.rnn = nn.RNN(4, 4, nonlinearity="relu", batch_first=True)
        self.lstm = nn.LSTM(4, 3, batch_first=True)

    def forward(self, x, lengths, state):
        rows = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        rows = self.rnn(self.gru(rows)[0])[0]
        first, _ = self.lstm(rows)
        y, (h, c) = self.lstm(rows, (state[None], state[None]))
        first, y = (pad_packed_sequence(r, batch_first=True)[0] for r in (first, y))
        return first + y, h[0], c[0]


def inputs(lengths):
    rng = np.random.default_rng(len(lengths))
    batch = len(lengths)
    return {
        "x": rng.uniform(-1, 1, (batch, max(lengths) + 1, 4)).astype(np.float32),
        "lengths": np.array(lengths),
        "state": rng.uniform(-1, 1, (batch, 3)).astype(np.float32),
    }


@pytest.mark.parametrize("export", [keeping.dynamo, keeping.script])
def test_layers_of_packed_rows_are_exact_at_other_sizes(export) -> None:
    net = Net().eval()
    before = [*net.state_dict()]
    model = export(net, SPEC, inputs([3, 7, 5]), 18)
    assert [*net.state_dict()] == before
    nodes = [node for node in model.graph.node if is_recurrent(node)]
    assert sorted(node.name for node in nodes) == [
        "gru.l0_forward",
        "lstm.l0_forward",
        "lstm.l0_forward_2",
        "rnn.l0_forward",
    ]
    lengths = {n.name for n in nodes if len(n.input) > SEQUENCE_LENS and n.input[SEQUENCE_LENS]}
    assert len(lengths) == 1, "only the cell state that is an output needs the lengths"
    session = onnxruntime.InferenceSession(model.SerializeToString())
    for example in (inputs([1]), inputs([4, 9]), inputs([2, 6, 1, 6])):
        with torch.no_grad():
            expected = net(*map(torch.from_numpy, example.values()))
        for given, value in zip(session.run(None, example), expected, strict=True):
            assert given.shape == value.shape
            assert np.abs(given - value.numpy()).max() < 1e-6
