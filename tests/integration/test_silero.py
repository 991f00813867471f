"""The case study of silero-vad: its own files where the package is there, and a small net like it.

Both run the commands and the files that docs/case_studies/silero_vad.md prints.
"""

import importlib.util
import json
import re
import runpy
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.commands.run import ended
from harness.export import main

pytestmark = pytest.mark.slow

STUDY = Path(__file__).parents[2] / "docs" / "case_studies" / "silero_vad.md"
FILES = {
    name: text
    for _, name, text in re.findall(r"```(python|toml)\n# (\S+)\n(.*?)```", STUDY.read_text(), re.S)
}
PACKAGE = importlib.util.find_spec("silero_vad")
needs_package = pytest.mark.skipif(
    PACKAGE is None, reason="silero-vad is not installed: pip install --no-deps silero-vad"
)
UNITS, SAMPLES = 4, 6
STATES = "\n[states]\nstate = 'next'\n"
DESCRIBED = f"""
batch = ["1,2,3"]
[inputs]
frame = "float32[batch, {SAMPLES}] in -1..1"
state = "float32[2, batch, {UNITS}] in -1..1"
rate = "int64[] in RATE..RATE"
{STATES}"""
WHOLE = f"""
lengths = ["1,2,33"]
batch = ["1,3"]
[inputs]
frame_all = "float32[steps, batch, {SAMPLES}] in -1..1"
state_first = "float32[2, batch, {UNITS}] in -1..1"
rate = "int64[] in 16..16"
[states]
state_first = "next_last"
"""
TWIN = f"""
import numpy as np
import torch
from torch import nn

class Cell(nn.Module):
    def __init__(self, seed: int):
        super().__init__()
        self.rnn = nn.LSTMCell({SAMPLES}, {UNITS})
        draw = np.random.default_rng(seed)
        for value in self.rnn.parameters():
            value.data = torch.from_numpy(draw.normal(size=value.shape).astype(np.float32))

    def forward(self, frame, state):
        if frame.dim() != 2:
            raise ValueError("expected a batch of frames")
        h, c = self.rnn(frame, (state[0], state[1]))
        return torch.sigmoid(h.to(torch.float32).mean(1, keepdim=True)), torch.stack([h, c])

class Step(nn.Module):
    def __init__(self):
        super().__init__()
        self.fast, self.slow = (torch.jit.script(Cell(seed)) for seed in (16, 8))

    def forward(self, frame, state, rate):
        score, after = (self.fast if int(rate) == 16 else self.slow)(frame, state)
        return {{"score": score, "next": after}}
"""


@pytest.fixture
def export(tmp_path, capsys, monkeypatch):
    """``export`` in an empty folder that holds the study's files: its exit code and its report."""
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        Path(name).write_text(text)

    def run(*flags):
        flags = [*map(str, flags), "-o", "bundle", "--json"]
        code = ended(main, flags)
        out, err = capsys.readouterr()
        return code, json.loads(out)["results"] if out else [], err

    return run


def step(fast=16, slow=8):
    """An LSTM's step whose weights an If chooses by ``rate``, with outputs of undeclared sizes."""
    graph = helper.make_graph(
        [
            helper.make_node("Constant", [], ["sixteen"], value_int=16),
            helper.make_node("Equal", ["rate", "sixteen"], ["is_fast"]),
            helper.make_node(
                "If",
                ["is_fast"],
                ["score", "next"],
                then_branch=branch("fast", fast),
                else_branch=branch("slow", slow),
            ),
        ],
        "step",
        [
            helper.make_tensor_value_info("frame", TensorProto.FLOAT, [None, SAMPLES]),
            helper.make_tensor_value_info("state", TensorProto.FLOAT, [2, None, UNITS]),
            helper.make_tensor_value_info("rate", TensorProto.INT64, []),
        ],
        [
            helper.make_tensor_value_info("score", TensorProto.FLOAT, [None, 1]),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [None, None, "dim_2"]),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


def branch(name, seed):
    """``Cell(seed)`` of the twin: its gates are in the order i f g o, ONNX has i o f g."""
    draw = np.random.default_rng(seed)
    sizes = (4 * UNITS, SAMPLES), (4 * UNITS, UNITS), (4 * UNITS,), (4 * UNITS,)
    w, r, *biases = (draw.normal(size=size).astype(np.float32) for size in sizes)
    order = np.r_[0:UNITS, 3 * UNITS : 4 * UNITS, UNITS : 3 * UNITS]
    values = {
        "w": w[order][None],
        "r": r[order][None],
        "b": np.concatenate([bias[order] for bias in biases])[None],
        "first": np.array([0]),
        "parts": np.array([1, 1]),
        "rows": np.array([1]),
    }

    def own(*names):
        return [f"{name}_{text}" for text in names]

    nodes = [
        helper.make_node("Unsqueeze", ["frame", *own("first")], own("x")),
        helper.make_node("Split", ["state", *own("parts")], own("h0", "c0"), axis=0),
        helper.make_node(
            "LSTM",
            [*own("x", "w", "r", "b"), "", *own("h0", "c0")],
            ["", *own("h", "c")],
            hidden_size=UNITS,
        ),
        helper.make_node("Concat", own("h", "c"), own("next"), axis=0),
        helper.make_node("Squeeze", own("h", "first"), own("rows_h")),
        helper.make_node("ReduceMean", own("rows_h", "rows"), own("mean")),
        helper.make_node("Sigmoid", own("mean"), own("score")),
    ]
    made = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in own("score", "next")]
    stored = [numpy_helper.from_array(v, f"{name}_{n}") for n, v in values.items()]
    return helper.make_graph(nodes, name, [], made, stored)


def described(rate):
    Path("step.toml").write_text(DESCRIBED.replace("RATE", str(rate)))
    return "step.toml"


def of(cells, name):
    """The largest error of an output in any case."""
    found = [o for cell in cells for case in cell["cases"] for o in case["outputs"]]
    return max(output["max_abs"] for output in found if output["name"] == name)


@pytest.mark.parametrize("rate", [16, 8])
def test_a_step_with_a_state_and_an_if_is_proved_by_the_oracle_of_its_own_graph(export, rate):
    onnx.save(step(), "step.onnx")
    code, (cell,), _ = export("step.onnx", "--inputs", described(rate), "--runtime", "ort-cpu")
    assert (code, cell["status"]) == (0, "pass")
    assert {case["batch"] for case in cell["cases"]} == {1, 2, 3}
    shipped = onnx.load("bundle/model.onnx").graph.output[1].type.tensor_type.shape.dim
    assert [d.dim_param or d.dim_value for d in shipped] == [2, "batch", UNITS]


def test_a_script_is_the_reference_and_shows_which_branch_holds_another_net(export):
    Path("twin.py").write_text(TWIN)
    onnx.save(step(slow=9), "step.onnx")
    flags = "twin.py:Step", "--onnx", "step.onnx", "--runtime", "ort-cpu", "--inputs"
    code, (cell,), _ = export(*flags, described(16))
    assert (code, cell["status"]) == (0, "pass")
    code, (cell,), _ = export(*flags, described(8))
    assert (code, cell["status"], cell["stage"]) == (1, "fail", "compare")
    assert of([cell], "next") > 0.1
    assert not Path("bundle/model.onnx").exists()
    Path("step.toml").write_text(DESCRIBED.replace("RATE", "16").replace(f" {SAMPLES}]", "]"))
    code, _, told = export(*flags, "step.toml")
    assert code == 2
    assert "expected a batch of frames" in told
    assert "TorchScript interpreter" not in told


def test_a_recording_is_the_step_in_a_scan(export):
    whole = runpy.run_path("recording.py")["whole"]
    onnx.save(whole(step(), "frame", "state", "next"), "whole.onnx")
    Path("whole.toml").write_text(WHOLE)
    code, (cell,), _ = export("whole.onnx", "--runtime", "ort-cpu")
    assert (code, cell["status"]) == (0, "pass")
    assert {case["lengths"]["steps"] for case in cell["cases"]} == {1, 2, 33}


def data(name):
    assert PACKAGE is not None
    (folder,) = PACKAGE.submodule_search_locations
    return Path(folder) / "data" / name


@needs_package
@pytest.mark.parametrize(
    ("file", "inputs", "conforms"),
    [
        ("silero_vad.onnx", "step16.toml", True),
        ("silero_vad.onnx", "step8.toml", True),
        ("silero_vad_16k_op15.onnx", "step16.toml", True),
        ("silero_vad_op18_ifless.onnx", "step16.toml", True),
        ("silero_vad_op18_ifless.onnx", "step8.toml", False),
        ("silero_vad_half.onnx", "half.toml", False),
    ],
)
def test_a_variant_computes_what_the_script_does_or_does_not(export, file, inputs, conforms):
    flags = "--onnx", data(file), "--inputs", inputs, "--runtime", "ort-cpu", "--batch", "1,2"
    code, (cell,), _ = export("silero.py:Step", *flags)
    assert (code, cell["status"]) == ((0, "pass") if conforms else (1, "fail"))
    assert (of([cell], "output") < 1e-6) is conforms
