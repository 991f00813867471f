"""PyTorch models that native layers alone do not take: other ways, masks, ranges of lengths."""

import json

import pytest

import harness
from harness.core.errors import UsageError
from harness.export import main
from harness.goldens import store
from harness.graphs.recurrent import is_recurrent

torch = pytest.importorskip("torch")
import onnx  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence  # noqa: E402

FRAMES = "x: float32[batch, time, 4]"
SIZES = {"lengths": [1, 2, 3, 5, 9], "batch": [1, 3]}


class Net(nn.Module):
    def __init__(self, function):
        super().__init__()
        torch.manual_seed(0)
        self.linear, self.function = nn.Linear(4, 4), function

    def forward(self, x):
        return self.function(self.linear(x))


class Loops(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        h = x[:, 0] * 0
        for t in range(x.size(1)):
            h = torch.tanh(self.linear(x[:, t]) + (h if t % 2 == 0 else -h))
        return h


def conditional():
    def chosen(y):
        return torch.cond(y.sum() > 0, lambda v: v * 2, lambda v: v - 1, (y,))

    return Net(chosen)


def scripted():
    return torch.jit.script(Loops())


WAYS = {
    "torch-dynamo": (conditional, "Net: cond is control flow"),
    "torch-script": (scripted, "RecursiveScriptModule is TorchScript"),
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_a_stock_exporter_takes_what_the_native_one_refuses(tmp_path, way):
    make, why = WAYS[way]
    assert harness.export(make(), tmp_path / "bundle", inputs=FRAMES, **SIZES).conforms
    manifest = json.loads((tmp_path / "bundle/manifest.json").read_text())
    assert manifest["exporter"] == way
    assert manifest["instead"].startswith(why)
    with pytest.raises(UsageError, match=why):
        harness.export(make(), tmp_path / "strict", inputs=FRAMES, strict=True, **SIZES)
    assert not (tmp_path / "strict").exists()


PADDED = [FRAMES, "lengths: int64[batch], lengths of time"]


class Beside(nn.Module):
    """Recurrent layers over padded rows, after a part that the native exporter refuses."""

    def __init__(self, part, layer, states=0):
        super().__init__()
        torch.manual_seed(0)
        self.part, self.layer, self.states = part, layer(4, 5, batch_first=True), states
        self.table = nn.Embedding(700, 4)

    def forward(self, x, lengths):
        x = self.part(self, x)
        rows = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        h = x.new_ones(self.states, x.shape[0], 5) if self.states else None
        y, last = self.layer(rows, h)
        steps, _ = pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])
        return steps, (last[0] if isinstance(last, tuple) else last).transpose(0, 1)


def chosen(net, x):
    return torch.cond(x[0, 0, 0] > 0, lambda v: v * 2, lambda v: v - 1, (x,))


def shifted(net, x):
    """Attention by relative positions, shifted by a view of the memory."""
    batch, steps, _ = x.shape
    scores = x @ net.table(300 + torch.arange(1 - steps, steps)).T
    row, step, place = scores.stride()
    strides = (row, step - place, place)
    scores = scores.as_strided((batch, steps, steps), strides, storage_offset=place * (steps - 1))
    return torch.softmax(scores, -1) @ x


def single(net, x):
    return x.sin() if x.shape[1] > 1 else x.sin() * 1.0


def uneven(net, x):
    return _uneven(x)


@torch.jit.script
def _uneven(x: torch.Tensor) -> torch.Tensor:
    h, steps = x[:, 0] * 0, []
    for t in range(x.size(1)):
        h = torch.tanh(h * 0.5 + x[:, t]) * (0.5 if t % 2 == 0 else 1.0)
        steps.append(h)
    return torch.stack(steps, 1)


def bidirectional(*sizes, **options):
    return nn.LSTM(*sizes, bidirectional=True, **options)


def two_layers(*sizes, **options):
    return nn.GRU(*sizes, num_layers=2, **options)


def projected(*sizes, **options):
    return nn.LSTM(*sizes, num_layers=2, proj_size=3, **options)


KEPT = {
    "a condition, an LSTM in both directions": ((chosen, bidirectional), "torch-dynamo", "LSTM"),
    "a view of memory, two GRUs with states": ((shifted, two_layers, 2), "torch-dynamo", "GRU"),
    "a branch on one step, an RNN": ((single, nn.RNN), "torch-dynamo", "RNN"),
    "a script, two projected LSTMs": ((uneven, projected), "torch-script", "LSTM"),
}
NODES = {bidirectional: 2, two_layers: 2, nn.RNN: 1, projected: 2}


@pytest.mark.slow
@pytest.mark.parametrize("what", KEPT)
def test_recurrent_layers_stay_native_beside_what_is_refused(tmp_path, what):
    made, way, kind = KEPT[what]
    assert harness.export(Beside(*made), tmp_path / "bundle", inputs=PADDED, **SIZES).conforms
    manifest = json.loads((tmp_path / "bundle/manifest.json").read_text())
    assert (manifest["exporter"], manifest["recurrent_nodes"]) == (way, "native")
    assert f"`{way}` with native recurrent nodes" in (tmp_path / "bundle/MODEL.md").read_text()
    found = [n for n in onnx.load(tmp_path / "bundle/model.onnx").graph.node if is_recurrent(n)]
    assert [node.op_type for node in found] == [kind] * NODES[made[1]]
    assert all(node.name.startswith("layer.l") for node in found)
    assert not any(len(node.input) > 4 and node.input[4] for node in found)
    assert {c.padding for c in store.read(tmp_path / "bundle/golden").cases} > {"none"}
    with pytest.raises(UsageError):
        harness.export(Beside(*made), tmp_path / "pure", inputs=PADDED, exporter=way, **SIZES)


@pytest.mark.slow
def test_strict_on_the_command_line_ends_in_one_line(tmp_path, capfd):
    (tmp_path / "net.py").write_text(
        "from tests.integration.test_own_torch_ways import conditional as make\n"
    )
    call = [f"{tmp_path}/net.py:make", "-o", f"{tmp_path}/out", "--input", FRAMES, "--strict"]
    with pytest.raises(UsageError, match="Net: cond is control flow") as caught:
        main(call)
    assert "torch-dynamo ends" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_strict_is_for_a_model_of_ones_own(tmp_path):
    with pytest.raises(UsageError, match="strict is for a model of your own; gru_tagger is ours"):
        harness.export("gru_tagger", tmp_path / "bundle", strict=True)


class Attends(nn.Module):
    """A Transformer under a causal mask, as PyTorch's documentation has it."""

    def __init__(self, kind, causal=True):
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.causal = kind, causal
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        if kind == "encoder and decoder":
            self.net = nn.Transformer(8, 2, 1, 1, 16, batch_first=True)
        else:
            self.net = nn.TransformerEncoder(layer, 2)
        self.table = nn.Embedding(12, 8)

    def forward(self, tokens):
        x, steps = self.table(tokens), tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(steps)
        if self.kind == "of truths":
            mask = mask != 0
        mask = mask if self.causal else torch.zeros_like(mask)
        if self.kind == "encoder and decoder":
            return self.net(x, x, src_mask=mask, tgt_mask=mask)
        return self.net(x, mask=mask, is_causal=self.causal and self.kind == "told of")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["of numbers", "of truths", "told of", "encoder and decoder"])
def test_a_causal_mask_is_in_the_graph(tmp_path, kind):
    options = {"inputs": "tokens: int64[batch, time] in 0..11", **SIZES}
    assert harness.export(Attends(kind), tmp_path / "bundle", **options).conforms
    assert json.loads((tmp_path / "bundle/manifest.json").read_text())["exporter"] == "native"
    theirs = tmp_path / "bundle/model.onnx"
    seeing = Attends(kind, causal=False)
    assert not harness.export(seeing, tmp_path / "other", onnx=theirs, **options).conforms


def pairs(y):
    batch, steps = y.shape[0], y.shape[1]
    return y.reshape(batch, steps // 4, 16)


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.table, self.window = nn.Parameter(torch.randn(20, 4)), nn.Conv1d(4, 3, 8)

    def forward(self, x):
        y = x + self.table[: x.shape[1]]
        return self.window(y.transpose(1, 2)).transpose(1, 2)


RANGES = {
    "multiple of 4": (lambda: Net(pairs), [4, 8, 12, 20], lambda n: n % 4 == 0),
    "8..20": (Positions, [8, 9, 13, 20], lambda n: 8 <= n <= 20),
    "multiple of 4, 8..20": (lambda: Net(pairs), [8, 12, 20], lambda n: n in (8, 12, 16, 20)),
}


@pytest.mark.slow
@pytest.mark.parametrize("exporter", ["native", "torch-dynamo", "torch-script"])
@pytest.mark.parametrize("rule", RANGES)
def test_an_axis_with_a_rule_is_proved_within_it(tmp_path, rule, exporter):
    make, lengths, allowed = RANGES[rule]
    inputs = {"x": "float32[batch, time, 4]", "time": rule}
    report = harness.export(
        make(), tmp_path / "bundle", inputs=inputs, lengths=lengths, batch=[1, 3], exporter=exporter
    )
    assert report.conforms, report
    recorded = {case.lengths["time"] for case in store.read(tmp_path / "bundle/golden").cases}
    assert recorded >= {*lengths}
    assert all(map(allowed, recorded)), recorded


@pytest.mark.parametrize(
    ("rule", "lengths", "told"),
    [
        ("8..20", [4, 9], r"has 4, .*time: 8\.\.20, which has 8 nearby"),
        ("8..20", [9, 21], r"has 21, .*time: 8\.\.20, which has 20 nearby"),
        ("multiple of 4", [8, 9], r"has 9, .*time: multiple of 4, which has 8 and 12 nearby"),
        ("multiple of 4, 8..20", [24], r"has 24, .*multiple of 4, 8\.\.20, which has 20 nearby"),
    ],
)
def test_lengths_that_are_not_as_described_are_refused(tmp_path, rule, lengths, told):
    inputs = {"x": "float32[batch, time, 4]", "time": rule}
    with pytest.raises(UsageError, match=f"--lengths {told}$") as caught:
        harness.export(Positions(), tmp_path / "bundle", inputs=inputs, lengths=lengths)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "bundle").exists()
