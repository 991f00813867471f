"""harness.runtimes.tract on small graphs."""

import numpy as np
import pytest
from onnx import TensorProto
from onnx import helper as oh

from harness.core import install
from harness.core.errors import LoadError
from harness.runtimes import tract
from harness.runtimes.tract import TRACT
from tests.support import runtime_checks, small_graphs

needs_tract = pytest.mark.skipif(not TRACT.version(), reason="tract is not installed")


@needs_tract
@pytest.mark.parametrize("check", runtime_checks.CHECKS, ids=lambda check: check.__name__)
def test_it(check, tmp_path):
    check(TRACT, tmp_path)


@needs_tract
def test_int64_has_64_bits(tmp_path):
    assert runtime_checks.int64_beyond_32_bits(TRACT, tmp_path) == 2**41


@needs_tract
def test_every_batch_size_has_a_plan_and_every_length_runs_on_it(tmp_path):
    evidence = runtime_checks.has_the_evidence_of_a_report(TRACT, tmp_path)
    assert evidence["nodes_by_provider"] == {"tract": {"Add": 2, "Neg": 1}}
    assert (evidence["fixed_axes"], evidence["plans"]) == (["batch"], [1, 2])
    session = TRACT.prepare(small_graphs.mixed(tmp_path / "m.onnx"))
    for batch, steps in ((3, 4), (3, 5), (1, 6), (3, 7)):
        session.run(runtime_checks.inputs(batch, steps))
    assert session.evidence()["plans"] == [1, 3]


@needs_tract
def test_lengths_of_sequences_that_are_an_input_are_refused_at_load(tmp_path):
    with pytest.raises(LoadError, match=r"LSTM .*: Non constant seq_len is not supported$"):
        TRACT.prepare(small_graphs.lstm(tmp_path / "m.onnx", lengths=True))


@needs_tract
def test_a_panic_is_a_load_error_with_its_message(tmp_path, capfd):
    """The batch of this graph has another name, so it stays a symbol, which an LSTM panics on."""
    constants = [(n, np.ones(s, np.float32)) for n, s in (("W", (1, 8, 1)), ("R", (1, 8, 2)))]
    node = oh.make_node("LSTM", ["x", "W", "R"], ["y"], hidden_size=2)
    inputs = [("x", TensorProto.FLOAT, ["sequence", "rows", 1])]
    outputs = [("y", TensorProto.FLOAT, ["sequence", 1, "rows", 2])]
    path = small_graphs.save(tmp_path / "m.onnx", [node], inputs, outputs, constants)
    with pytest.raises(LoadError, match=r"^the process that runs it ended with signal SIGABRT: "):
        TRACT.prepare(path)
    assert TRACT.prepare(small_graphs.mixed(tmp_path / "n.onnx")).run(runtime_checks.inputs(1, 2))
    assert capfd.readouterr() == ("", "")


def test_what_installs_it_is_told(monkeypatch):
    monkeypatch.setattr(tract, "version_of", lambda name: "")
    assert TRACT.check() == f"tract is not installed: {install.line('tract')}"


def test_causes_are_joined():
    text = 'Evaluating "a"\n\nCaused by:\n    0: first\n    1: second'
    assert tract.shortened(RuntimeError(text)) == 'Evaluating "a": 0: first: 1: second'
    assert len(tract.shortened(RuntimeError("x" * 999))) == 300
