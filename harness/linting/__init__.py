"""Rules of the static lint: a graph in, findings out, related rules in one file.

A rule takes ``harness.graphs.inference.Facts`` and yields ``Finding``s that bear its name. The
first line of its docstring is its description in ``python -m harness.lint --list``.
"""

RULES: dict[str, str] = {
    "invalid-onnx": "harness.linting.operators:invalid_onnx",
    "baked-length": "harness.linting.baked:baked_length",
    "baked-batch": "harness.linting.baked:baked_batch",
    "shape-contradiction": "harness.linting.axes:shape_contradiction",
    "unnamed-axis": "harness.linting.axes:unnamed_axis",
    "control-flow": "harness.linting.control_flow:control_flow",
    "recurrent-opset": "harness.linting.recurrent:recurrent_opset",
    "recurrent-on-cpu": "harness.linting.recurrent:recurrent_on_cpu",
    "sequence-lens": "harness.linting.recurrent:sequence_lens",
    "recurrent-layout": "harness.linting.recurrent:recurrent_layout",
    "training-node": "harness.linting.training:training_node",
    "random-node": "harness.linting.training:random_node",
    "wide-dtype": "harness.linting.dtypes:wide_dtype",
    "reduced-dtype": "harness.linting.dtypes:reduced_dtype",
    "external-data": "harness.linting.storage:external_data",
    "unused": "harness.linting.storage:unused",
    "deprecated-op": "harness.linting.operators:deprecated_op",
    "custom-op": "harness.linting.operators:custom_op",
}
