"""Small graphs in which defects are planted, and ONNX Runtime to run them."""

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from harness.core.schema import ModelSpec, TensorSpec
from harness.mutation.defects.defect import Specimen

STEPS = ("batch", "steps", 5)
IDS = np.array([[1, 2, 3, 4], [5, 4, 0, 0], [0, 0, 0, 0]], np.int32)
"""Ids of three rows, the last of which is all padding."""


class Loaded:
    """A model in ONNX Runtime, without its optimisations."""

    def __init__(self, model):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        basic = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.graph_optimization_level = basic
        self.session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )

    def run(self, inputs):
        names = [value.name for value in self.session.get_outputs()]
        return list(zip(names, self.session.run(None, inputs), strict=True))

    def evidence(self):
        return {"version": "1"}


class Echo:
    """A session without a model: its outputs are its inputs under the outputs' names."""

    def __init__(self, **named):
        self.named = named

    def run(self, inputs):
        return [(output, inputs[name]) for output, name in self.named.items()]

    def evidence(self):
        return {"version": "1"}


def spec(inputs, outputs, **rest):
    return ModelSpec("small", "", tuple(inputs), tuple(outputs), "small", **rest)


def subject(nodes, weights, described, unit=None):
    """Nodes and weights as a model whose inputs and outputs are the specification's."""

    def declared(tensor):
        dtype = helper.np_dtype_to_tensor_dtype(np.dtype(tensor.dtype))
        return helper.make_tensor_value_info(tensor.name, dtype, tensor.axes)

    graph = helper.make_graph(
        nodes,
        "small",
        [declared(tensor) for tensor in described.inputs],
        [declared(tensor) for tensor in described.outputs],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return Specimen(model, described, unit)


def pointwise(op, weights=None, **attributes):
    """One node from ``x`` to ``y``, (batch, steps, 5) both; ``weights`` are its other inputs."""
    described = spec([TensorSpec("x", "float32", STEPS)], [TensorSpec("y", "float32", STEPS)])
    weights = weights or {}
    return subject([helper.make_node(op, ["x", *weights], ["y"], **attributes)], weights, described)


def tagger():
    """Embedding of 6 ids in 4, LSTM(3), dense to 5, softmax at every step."""
    draw = np.random.default_rng(0)

    def normal(*shape):
        return draw.normal(size=shape).astype(np.float32)

    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["rows"]),
        helper.make_node("Transpose", ["rows"], ["steps"], perm=[1, 0, 2]),
        helper.make_node("LSTM", ["steps", "W", "R", "B"], ["all"], hidden_size=3),
        helper.make_node("Squeeze", ["all", "axis"], ["states"]),
        helper.make_node("Transpose", ["states"], ["features"], perm=[1, 0, 2]),
        helper.make_node("MatMul", ["features", "kernel"], ["product"]),
        helper.make_node("Add", ["product", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"], axis=-1),
    ]
    weights = {
        "table": normal(6, 4),
        "W": normal(1, 12, 4),
        "R": normal(1, 12, 3),
        "B": normal(1, 24),
        "axis": np.array([1], np.int64),
        "kernel": normal(3, 5),
        "bias": normal(5),
    }
    ids = TensorSpec("ids", "int32", ("batch", "steps"), 1, 6)
    described = spec([ids], [TensorSpec("y", "float32", STEPS)], padded="ids")
    return subject(nodes, weights, described)


def pair():
    """Two states in, each a little changed out, and ``count``, a length, as a range."""
    nodes = [
        helper.make_node("Add", ["a", "one"], ["p"]),
        helper.make_node("Mul", ["b", "two"], ["q"]),
        helper.make_node("Range", ["zero", "count", "step"], ["r"]),
    ]
    weights = {"one": np.ones(2, np.float32), "two": np.full(2, 2, np.float32)}
    weights |= {"zero": np.array(0, np.int32), "step": np.array(1, np.int32)}
    states = [TensorSpec(name, "float32", ("batch", 2)) for name in "abpq"]
    count = TensorSpec("count", "int32", ())
    described = spec(
        [*states[:2], count],
        [*states[2:], TensorSpec("r", "int32", ("steps",))],
        lengths={"count": "steps"},
    )
    return subject(nodes, weights, described)


def run(model, inputs):
    """The outputs by name, in order."""
    return dict(Loaded(model).run(inputs))


def planted(defect, where):
    """The mutants by place, or by place and size where they have one; their graphs are valid."""
    mutants = list(defect(where))
    for mutant in mutants:
        assert (mutant.model is None) != (mutant.wrap is None)
        if mutant.model is not None:
            onnx.checker.check_model(mutant.model)
    named = {(m.place, m.size) if m.size is not None else m.place: m for m in mutants}
    assert len(named) == len(mutants)
    return named
