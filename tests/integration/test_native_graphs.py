"""Every native graph of every reference model, looked at from the inside, at several opsets."""

from itertools import chain
from pathlib import Path

import onnx
import pytest

from harness.exporters import OPSETS
from harness.exporting import cache
from harness.goldens import store
from harness.graphs import interface
from harness.runtimes.ort import CPU
from reference_models import catalog

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
CHECKED = (18, 20, 22, OPSETS[-1])
TWINS = [(name, f) for name in catalog.MODELS for f in catalog.load(name).frameworks]
CONTROL_FLOW = {"Loop", "Scan", "If", "SequenceMap"}
RECURRENT = {"LSTM", "GRU", "RNN"}


@pytest.fixture(scope="session")
def exported(tmp_path_factory):
    """Bundles by model, framework and opset: each framework's in one child process."""
    folder = tmp_path_factory.mktemp("graphs")
    jobs = [
        cache.ExportJob(
            *(name, framework, "native", "fp32", opset),
            str(ROOT / "golden" / name / framework),
            str(folder / name / framework / str(opset)),
        )
        for name, framework in TWINS
        for opset in CHECKED
    ]
    results = {}
    for opset in CHECKED:
        chosen = [job for job in jobs if job.opset == opset]
        stored = cache.ensure(chosen, lambda text: None)
        results |= {(j.model, j.framework, opset): stored[j.name] for j in chosen}
    return results


def whole_numbers(model):
    """Every whole number in a constant or an attribute, and every size of a constant.

    The type that a Cast casts to is a number too, and no size.
    """
    attributes = list(chain.from_iterable(node.attribute for node in model.graph.node))
    attributes = [attribute for attribute in attributes if attribute.name != "to"]
    constants = [*model.graph.initializer, *(a.t for a in attributes if a.HasField("t"))]
    for constant in constants:
        array = onnx.numpy_helper.to_array(constant)
        yield from array.shape
        if array.dtype.kind in "iu":
            yield from array.ravel().tolist()
    for attribute in attributes:
        yield from (attribute.i, *attribute.ints)


@pytest.mark.xdist_group("native_graphs")
@pytest.mark.parametrize("opset", CHECKED)
@pytest.mark.parametrize(("name", "framework"), TWINS, ids=lambda value: value)
def test_the_graph_is_what_one_would_write_by_hand(exported, name, framework, opset):
    stored = exported[name, framework, opset]
    assert stored.failure is None, stored.failure
    model = onnx.load(stored.model)
    spec = store.read(ROOT / "golden" / name / framework).spec
    example = stored.manifest["example"]
    interface.check(model, spec, example)
    ops = {node.op_type for node in model.graph.node}
    assert not ops & CONTROL_FLOW
    nodes = [node for node in model.graph.node if node.op_type in RECURRENT]
    oracle_layers = {
        "two_input_qa": 2,
        **dict.fromkeys(("transformer_encoder", "causal_decoder"), 0),
        "sequence_encoder": 1,
        "sequence_decoder": 1,
        **dict.fromkeys(("dialog_act_tagger", "dialog_act_classifier"), 1),
        **dict.fromkeys(("gru_tagger", "gru_tagger_reset_before"), 1),
    }.get(name, 2)
    both = [any(a.s == b"bidirectional" for a in node.attribute) for node in nodes]
    directions = [1 + both_ways for both_ways in both]
    assert sum(directions) == oracle_layers
    assert not set(example.values()) & set(whole_numbers(model))
    declared = [*model.graph.input, *model.graph.output]
    dims = [[d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in declared]
    assert dims == [list(t.axes) for t in spec.inputs + spec.outputs]
    assert [v.name for v in declared] == [t.name for t in spec.inputs + spec.outputs]
    assert [(o.domain, o.version) for o in model.opset_import] == [("", opset)]
    assert model.ir_version == onnx.helper.find_min_ir_version_for(model.opset_import)
    props = {prop.key: prop.value for prop in model.metadata_props}
    assert framework in props["exporter"]
    assert framework in props
    CPU.prepare(str(stored.model))
