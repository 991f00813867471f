"""What every runtime must do with small graphs; a file of tests calls each with its runtime."""

import numpy as np
import pytest

from harness.core.errors import LoadError, RunError
from harness.runtimes.ort import CPU
from tests.support import small_graphs


def inputs(batch, steps, seed=0):
    rng = np.random.default_rng(seed)
    n = rng.integers(-(2**30), 2**30, (batch, steps))
    return {"x": rng.normal(size=(batch, steps)).astype(np.float32), "n": n}


def keeps_order_names_dtypes_and_shapes(runtime, folder):
    """At several shapes on one session; the arrays stay the caller's."""
    session = runtime.prepare(small_graphs.mixed(folder / "m.onnx"))
    kept = []
    for batch, steps in ((2, 3), (1, 5), (3, 1), (2, 3)):
        given = inputs(batch, steps, steps)
        kept.append((given, session.run(given)))
    for given, outputs in kept:
        assert [name for name, _ in outputs] == ["doubled", "sum", "a"]
        expected = [2 * given["n"], 2 * given["x"], -given["x"]]
        for (_, actual), wanted in zip(outputs, expected, strict=True):
            assert actual.dtype == wanted.dtype
            np.testing.assert_array_equal(actual, wanted)


def int64_beyond_32_bits(runtime, folder):
    """What ``n + n`` is for ``n`` of 2**40."""
    session = runtime.prepare(small_graphs.mixed(folder / "m.onnx"))
    given = {"n": np.array([[2**40]]), "x": np.ones((1, 1), np.float32)}
    return int(session.run(given)[0][1].item())


NEAR = {"f32": 2e-6, "f16": 4e-3, "bf16": 4e-2}
"""How far an output near 1 may lie from float32's, by the precision that a session says it has."""


def runs_an_lstm_at_any_length(runtime, folder):
    path = small_graphs.lstm(folder / "m.onnx")
    session, truth = runtime.prepare(path), CPU.prepare(path)
    near = NEAR[session.evidence().get("inference_precision", "f32")]
    rng = np.random.default_rng(1)
    for steps, batch in ((7, 3), (1, 1), (33, 2), (7, 3)):
        x = {"x": rng.normal(size=(steps, batch, small_graphs.FEATURES)).astype(np.float32)}
        for (name, actual), (wanted_name, wanted) in zip(session.run(x), truth.run(x), strict=True):
            assert name == wanted_name
            np.testing.assert_allclose(actual, wanted, rtol=0, atol=near)


def tells_in_one_line_what_cannot_be_loaded(runtime, folder):
    junk = folder / "junk.onnx"
    junk.write_bytes(b"junkjunk")
    unknown = small_graphs.mixed(folder / "op.onnx", "NoSuchOp")
    for path in (str(junk), str(folder / "none.onnx"), unknown):
        with pytest.raises(LoadError) as caught:
            runtime.prepare(path)
        assert "\n" not in str(caught.value)
        assert 0 < len(str(caught.value)) <= 310


def tells_in_one_line_what_cannot_be_run(runtime, folder, dtypes=True):
    session = runtime.prepare(small_graphs.mixed(folder / "m.onnx"))
    good = inputs(2, 3)
    wrong = [{**good, "x": good["x"][0]}]
    if dtypes:
        wrong += [{**good, "x": good["x"].astype(np.float64)}]
    for given in wrong:
        with pytest.raises(RunError) as caught:
            session.run(given)
        assert "\n" not in str(caught.value)
    for given in ({"x": good["x"]}, {**good, "z": good["x"]}):
        with pytest.raises(RunError, match=r"^inputs given: .*; the model takes: n, x$"):
            session.run(given)
    assert session.run(good)[0][0] == "doubled"


def has_the_evidence_of_a_report(runtime, folder):
    session = runtime.prepare(small_graphs.mixed(folder / "m.onnx"))
    session.run(inputs(2, 3))
    evidence = session.evidence()
    assert set(evidence) >= {"providers", "nodes_by_provider", "tf32", "optimization", "version"}
    assert evidence["version"] == runtime.version() != ""
    assert evidence["tf32"] is False
    return evidence


CHECKS = (
    keeps_order_names_dtypes_and_shapes,
    runs_an_lstm_at_any_length,
    tells_in_one_line_what_cannot_be_loaded,
    tells_in_one_line_what_cannot_be_run,
)
