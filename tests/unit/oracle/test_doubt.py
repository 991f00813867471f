"""What float32 attributes and derived constants took from a right graph is not held against it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.core.results import Status
from harness.goldens import store
from harness.graphs.rounded import constants_beyond, exact
from harness.oracle.doubt import Doubt
from harness.oracle.precise import layer_normalization
from harness.runtimes import load
from tests.support import doubler
from tests.support.jobs import judged, ready

TOTAL = helper.make_node("ReduceSum", ["y", "axis"], ["total"], keepdims=0)


def doubled(alpha=0.1):
    """Twice x by way of a tenth, an attribute that float32 does not hold."""
    node = helper.make_node
    return doubler.graph(
        [
            node("Abs", ["x"], ["size"]),
            node("Neg", ["size"], ["below"]),
            node("LeakyRelu", ["below"], ["tenth"], alpha=alpha),
            node("Sign", ["x"], ["sign"]),
            node("Mul", ["tenth", "sign"], ["part"]),
            node("Mul", ["part", "minus_twenty"], ["y"]),
            TOTAL,
        ],
        constants={"minus_twenty": np.float32(-20)},
    )


def by_thirds(third):
    node = helper.make_node
    nodes = [node("Mul", ["x", "third"], ["part"]), node("Mul", ["part", "six"], ["y"]), TOTAL]
    return doubler.graph(nodes, constants={"third": np.float32(third), "six": np.float32(6)})


@pytest.mark.parametrize(
    ("graph", "rounded", "status"),
    [
        (doubled(), [], Status.PASS),
        (doubled(0.1 * (1 + 1e-5)), [], Status.FAIL),
        (by_thirds(1 / 3), ["third"], Status.PASS),
        (by_thirds(1 / 3), [], Status.FAIL),
        (by_thirds(1 / 3 * (1 + 1e-5)), ["third"], Status.FAIL),
        (doubler.graph(constants={"two": np.float32(2 + 2**-22)}), ["axis"], Status.FAIL),
    ],
)
def test_the_oracle_allows_for_what_went_through_float32_alone(tmp_path, graph, rounded, status):
    source = store.read(doubler.record(tmp_path / "golden"))
    onnx.save(graph, tmp_path / "model.onnx")
    job = ready(source, tmp_path / "model.onnx", load("oracle"), rounded=rounded)
    assert judged(job).status is status


def test_an_epsilon_is_doubted_about_as_far_as_it_was_rounded(tmp_path):
    x = np.random.default_rng(0).uniform(-0.05, 0.05, (3, 8)).astype(np.float32)
    ones = np.ones(8, np.float32)
    node = helper.make_node("LayerNormalization", ["x", "ones"], ["y"], epsilon=1e-5)
    rows = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8]) for name in "xy"]
    weights = [numpy_helper.from_array(ones, "ones")]
    graph = helper.make_graph([node], "normalised", rows[:1], rows[1:], weights)
    onnx.save(helper.make_model(graph, ir_version=8), tmp_path / "m.onnx")
    (doubt,) = Doubt(tmp_path / "m.onnx", ()).of({"x": x}).values()
    wide = x.astype(np.float64)
    meant, held = (
        layer_normalization(wide, ones, None, -1, e)[0] for e in (1e-5, np.float32(1e-5))
    )
    apart = np.abs(meant - held).max()
    assert 1e-10 < apart <= doubt < 20 * apart


def test_constants_that_no_parameter_holds():
    rng = np.random.default_rng(1)
    gates = [rng.normal(size=(4, 3)).astype(np.float32) for _ in range(2)]
    large = rng.normal(size=5000).astype(np.float32)
    scale = rng.normal(size=(4, 1)).astype(np.float32)
    constants = {
        "stacked": np.stack([*gates, np.zeros((4, 3), np.float32)]),
        "turned": gates[0].T[::-1],
        "much": np.concatenate([large, -large]),
        "much, derived": large * np.float32(1.1),
        "folded": gates[1] * scale,
        "fill": np.array([-1e9, 0.5, np.finfo(np.float32).min], np.float32),
        "scale": np.float32(1 / np.sqrt(8)),
        "count": np.array([7]),
    }
    model = doubler.graph(constants=constants)
    body = helper.make_node("Constant", [], ["inner"], value_float=0.1)
    model.graph.node.append(body)
    parameters = {"a": gates[0], "b": gates[1], "n": np.arange(3), "c": large, "d": -large}
    names = ["much, derived", "folded", "scale", "inner"]
    assert constants_beyond(model, parameters) == names


def test_exact_values():
    values = np.array([0.75, -3, 1e9, np.inf, 0.1, 1 / 3], np.float32)
    assert exact(values).tolist() == [True, True, True, True, False, False]
