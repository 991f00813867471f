"""The native Keras exporter: every layer that it covers, against Keras at float32 and float64."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import onnx
import onnxruntime as ort
import pytest
import tensorflow as tf
from keras import layers as kl
from onnx.reference import ReferenceEvaluator

from harness.core.errors import ExportError
from harness.core.schema import Raggedness, TensorSpec
from harness.exporters.finish import OPSETS
from harness.exporters.keras.native import export
from harness.frameworks.keras_model import KerasModel
from tests.support.keras_refused import REFUSED
from tests.support.keras_rows import FEATURES, ROWS, UNITS, TwoParts
from tests.support.keras_specs import MASKS, draw, model_spec, randomise, spec_of, tensor

K = 8.0
CONTROL_FLOW = {"Loop", "Scan", "If"}
UNNAMED = {
    "subclassed": model_spec(
        "subclassed",
        [tensor("x", (None, None, FEATURES), "float32")],
        [
            tensor("y", (None, None, 3), "float32"),
            tensor("h", (None, UNITS), "float32"),
            tensor("c", (None, UNITS), "float32"),
        ],
    ),
    "subclassed-two_parameters": model_spec(
        "two_parameters",
        [
            tensor("b", (None, None, FEATURES), "float32", "b_length"),
            tensor("a", (None, None, FEATURES), "float32", "a_length"),
        ],
        [tensor("sum", (None, UNITS), "float32")],
    ),
}


def build(row, dtype, weights=None):
    keras.config.set_dtype_policy(dtype)
    keras.config.set_floatx(dtype)
    try:
        keras.utils.set_random_seed(1)
        model = ROWS[row]()
        if weights is None:
            # Unbounded gates need small weights, or the state grows without end.
            scale = 0.1 if row.endswith("activations") else 0.3
            randomise(model, np.random.default_rng(len(row)), scale)
        else:
            model.set_weights(weights)
    finally:
        keras.config.set_dtype_policy("float32")
        keras.config.set_floatx("float32")
    return model


def eager(model, inputs, dtype="float32"):
    """Keras' own outputs for inputs by name, flat; a dict's in the order it is written."""
    return [np.asarray(value) for value in forward(model, cast(inputs, dtype))]


def compiled(model, inputs, dtype="float32"):
    """As ``eager``, many steps faster: traced once for all lengths and batches."""
    tensors = cast(inputs, dtype)
    if not hasattr(model, "_compiled"):
        signature = {
            name: tf.TensorSpec([None, *([None] * (len(t.shape) > 1)), *t.shape[2:]], t.dtype)
            if len(t.shape) > 2 or t.dtype == tf.int32
            else tf.TensorSpec([None, *t.shape[1:]], t.dtype)
            for name, t in tensors.items()
        }
        model._compiled = tf.function(
            lambda given: forward(model, given), input_signature=[signature], autograph=False
        )
    return [value.numpy() for value in model._compiled(tensors)]


def cast(inputs, dtype):
    floats = {n: v.astype(dtype) if v.dtype == np.float32 else v for n, v in inputs.items()}
    return {n: tf.convert_to_tensor(v) for n, v in floats.items()}


def forward(model, tensors):
    if isinstance(model, TwoParts):
        result = model(**tensors)
    elif set(tensors) == {"a", "b"}:
        result = model(tensors)
    else:
        values = list(tensors.values())
        result = model(values if len(values) > 1 else values[0], training=False)
    return list(result.values()) if isinstance(result, dict) else keras.tree.flatten(result)


def session(graph):
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def excess(got, near, exact):
    """Error over tolerance: K times what rounding explains, measured against float64."""
    assert len(got) == len(near) == len(exact)
    worst = 0.0
    for g, n, e in zip(got, near, exact, strict=True):
        assert g.shape == e.shape
        assert g.dtype == n.dtype
        assert np.array_equal(np.isnan(g), np.isnan(e))
        scale = np.abs(e[np.isfinite(e)]).max(initial=0.0)
        floor = max(np.nanmax(np.abs(n - e)), np.spacing(np.float32(scale)))
        worst = max(worst, float(np.nanmax(np.abs(g - e)) / (K * floor)))
    return worst


def cases(row, longest):
    rng = np.random.default_rng(sum(map(ord, row)))
    lengths = [1, *rng.integers(2, min(34, longest), len(MASKS) - 1)]
    for index, (mask, steps) in enumerate(zip(MASKS, lengths, strict=True)):
        yield rng, (1, 2, 5)[index % 3], int(steps), mask
    yield rng, 2, 3, Raggedness.GAPPED
    yield rng, 1, longest, Raggedness.RIGHT


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS)
def test_every_layer_computes_what_keras_does(row):
    model = build(row, "float32")
    exact = build(row, "float64", model.get_weights())
    spec = UNNAMED.get(row) or spec_of(model)
    graph = export(model, spec, {}, 18)
    assert not {node.op_type for node in graph.graph.node} & CONTROL_FLOW
    runner = session(graph)
    # Keras' graph mode runs TimeDistributed over the batch instead of the steps.
    fast, longest = (eager, 12) if row.startswith("time_distributed") else (compiled, 300)
    worst = 0.0
    for rng, batch, steps, mask in cases(row, longest):
        inputs = draw(spec, rng, batch, steps, mask)
        near = (eager if steps < 4 else fast)(model, inputs)
        worst = max(worst, excess(runner.run(None, inputs), near, fast(exact, inputs, "float64")))
    print(f"{row}: {worst:.3f} of its tolerance")
    assert worst <= 1


def test_a_spectrogram_is_a_convolution():
    def made(dtype):
        x = keras.Input((None,), name="x", dtype=dtype)
        sizes = {"fft_length": 32, "sequence_length": 24, "sequence_stride": 10}
        layer = kl.MelSpectrogram(
            **sizes, num_mel_bins=6, sampling_rate=8000, min_freq=20, max_freq=4000, dtype=dtype
        )
        return keras.Model(x, layer(x), name="mel")

    model = made("float32")
    spec = model_spec(
        "mel",
        [tensor("x", (None, None), "float32")],
        [TensorSpec("y", "float32", ("batch", 6, "frames"))],
    )
    graph = export(model, spec, {}, 18)
    exact = KerasModel(model)
    exact.arrange(["x"])
    runner = session(graph)
    for batch, samples in ((1, 17), (3, 160), (2, 401)):
        inputs = {"x": np.random.default_rng(samples).normal(size=(batch, samples))}
        inputs = {"x": inputs["x"].astype(np.float32)}
        wide = [value for _, value in exact.run(inputs, wide=True)]
        assert wide[0].dtype == np.float64
        assert excess(runner.run(None, inputs), eager(model, inputs), wide) <= 1


STRUCTURED = ("shared-dicts", "rnn_of-cells-initial_state", "bidirectional-unmasked")


@pytest.fixture(scope="module")
def structured():
    return {row: build(row, "float32") for row in STRUCTURED}


@pytest.mark.slow
@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset_gives_the_same_native_graph(opset, structured):
    for row, model in structured.items():
        spec = spec_of(model, row)
        graph = export(model, spec, {}, opset)
        assert [(i.domain, i.version) for i in graph.opset_import] == [("", opset)]
        assert graph.ir_version == onnx.helper.find_min_ir_version_for(graph.opset_import)
        onnx.checker.check_model(graph, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(graph, strict_mode=True, data_prop=True)
        for declared, values in (
            (spec.inputs, inferred.graph.input),
            (spec.outputs, inferred.graph.output),
        ):
            assert [(t.name, t.axes) for t in declared] == [(v.name, axes(v)) for v in values]
        ops = {node.op_type for node in graph.graph.node}
        assert ops & {"LSTM", "GRU", "RNN"}
        assert not ops & CONTROL_FLOW
        properties = {p.key: p.value for p in graph.metadata_props}
        assert properties["exporter"] == "native/keras"
        assert properties["model"] == row
        runner = session(graph)
        rng = np.random.default_rng(opset)
        for batch, steps in ((3, 13), (1, 1)):
            inputs = draw(spec, rng, batch, steps, Raggedness.GAPPED)
            for got, wanted in zip(runner.run(None, inputs), compiled(model, inputs), strict=True):
                np.testing.assert_allclose(got, wanted, atol=2e-6)


def axes(value):
    dims = value.type.tensor_type.shape.dim
    return tuple(d.dim_value if d.HasField("dim_value") else d.dim_param for d in dims)


def test_other_opsets_are_refused():
    model = build("lstm-last", "float32")
    for opset in (17, OPSETS[-1] + 1):
        with pytest.raises(ExportError, match="expected 18 to"):
            export(model, spec_of(model), {}, opset)


@pytest.mark.slow
@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("row", ["gru-back_steps_state", "rnn-steps_state", "lstm-steps_state"])
def test_masks_hold_where_a_runtime_ignores_lengths(row, mask):
    model = build(row, "float32")
    spec = spec_of(model)
    evaluator = ReferenceEvaluator(export(model, spec, {}, 18))
    inputs = draw(spec, np.random.default_rng(0), 3, 9, mask)
    got, wanted = evaluator.run(None, inputs), compiled(model, inputs)
    # An LSTM's last cell state needs the lengths, which onnx.reference does not read.
    judged = 2 if row.startswith("lstm") and mask is not Raggedness.NONE else len(wanted)
    for g, w in list(zip(got, wanted, strict=True))[:judged]:
        np.testing.assert_allclose(g, w, atol=2e-6)


def stateful_model():
    x = keras.Input(batch_shape=(2, None, FEATURES), name="x")
    y = kl.Bidirectional(kl.LSTM(UNITS, stateful=True, return_sequences=True))(kl.Masking()(x))
    model = keras.Model(x, {"y": kl.GRU(3, stateful=True)(y)})
    randomise(model, np.random.default_rng(3), 0.3)
    return model


def state_specs(suffix=""):
    units = dict.fromkeys(["h_ahead", "c_ahead", "h_back", "c_back"], UNITS) | {"h_last": 3}
    return [TensorSpec(n + suffix, "float32", ("batch", u)) for n, u in units.items()]


def test_a_stateful_layers_state_is_an_input_and_an_output():
    model = stateful_model()
    spec = model_spec(
        "stateful",
        [TensorSpec("x", "float32", ("batch", "sequence", FEATURES)), *state_specs()],
        [TensorSpec("y", "float32", ("batch", 3)), *state_specs("_next")],
    )
    before = [v.numpy() for v in model.variables]
    runner = session(export(model, spec, {}, 18))
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.variables, strict=True))
    rng = np.random.default_rng(4)
    states = [np.zeros(t.shape(2, {}), np.float32) for t in state_specs()]
    for steps in (5, 1, 8):
        x = rng.normal(0, 1, (2, steps, FEATURES)).astype(np.float32)
        x[1, steps // 2 :] = 0
        names = [t.name for t in spec.inputs]
        y, *states = runner.run(None, dict(zip(names, [x, *states], strict=True)))
        np.testing.assert_allclose(y, model(x)["y"], atol=2e-6)
    layers = [layer for layer in model._flatten_layers() if isinstance(layer, kl.RNN)]
    kept = [variable for layer in layers for variable in layer.states]
    for state, variable in zip(states, kept, strict=True):
        np.testing.assert_allclose(state, variable, atol=2e-6)


def test_an_unrolled_layer_is_one_node_at_any_length():
    x = keras.Input((6, FEATURES), name="x")
    model = keras.Model(x, kl.LSTM(UNITS, unroll=True)(kl.Masking()(x)))
    randomise(model, np.random.default_rng(5), 0.3)
    spec = model_spec(
        "unrolled",
        [TensorSpec("x", "float32", ("batch", "sequence", FEATURES))],
        [TensorSpec("y", "float32", ("batch", UNITS))],
    )
    graph = export(model, spec, {}, 18)
    assert [node.op_type for node in graph.graph.node].count("LSTM") == 1
    inputs = draw(spec, np.random.default_rng(6), 3, 6, Raggedness.GAPPED)
    np.testing.assert_allclose(session(graph).run(None, inputs)[0], model(inputs["x"]), atol=2e-6)


def test_nothing_stays_patched_and_nothing_is_printed(capfd):
    originals = [kind.call for kind in (kl.RNN, kl.Bidirectional, kl.TimeDistributed, kl.Dense)]
    model = build("sequential", "float32")
    weights = [v.numpy() for v in model.variables]
    export(model, spec_of(model), {}, 20)
    broken = REFUSED["activation"][0]()
    with pytest.raises(ExportError):
        export(broken, spec_of(broken), {}, 18)
    after = [kind.call for kind in (kl.RNN, kl.Bidirectional, kl.TimeDistributed, kl.Dense)]
    assert after == originals
    assert keras.config.is_traceback_filtering_enabled()
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(weights, model.variables, strict=True))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("construct", REFUSED)
def test_what_has_no_exact_form_is_refused_in_one_line(construct):
    make, words = REFUSED[construct]
    model = make()
    with pytest.raises(ExportError, match=words) as raised:
        export(model, spec_of(model), {}, 18)
    print(raised.value)
    assert "\n" not in str(raised.value)


def test_unused_inputs_and_repeated_outputs_keep_their_names():
    x, unused = keras.Input((None, FEATURES), name="x"), keras.Input((4,), name="unused")
    y = kl.GRU(3)(x)
    model = keras.Model([x, unused], {"y": y, "again": y, "copy": x})
    spec = spec_of(model)
    runner = session(export(model, spec, {}, 18))
    inputs = draw(spec, np.random.default_rng(7), 2, 5, Raggedness.NONE)
    assert [value.name for value in runner.get_inputs()] == ["x", "unused"]
    assert [value.name for value in runner.get_outputs()] == ["y", "again", "copy"]
    got = runner.run(None, inputs)
    np.testing.assert_allclose(got[0], eager(model, inputs)[0], atol=2e-6)
    np.testing.assert_array_equal(got[0], got[1])
    np.testing.assert_array_equal(got[2], inputs["x"])


def test_names_that_the_model_does_not_have_are_refused():
    model = build("shared-dicts", "float32")
    spec = spec_of(model)
    renamed = model_spec(
        "shared", spec.inputs, [spec.outputs[0], tensor("q", (None, 8), "float32")]
    )
    with pytest.raises(ExportError, match="outputs are z, a_first; its specification has z, q"):
        export(model, renamed, {}, 18)
