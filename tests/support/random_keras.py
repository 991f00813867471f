"""A described net in Keras."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import tensorflow as tf
from keras import layers as kl

from harness.core.schema import Array, Arrays, Raggedness
from harness.exporters.keras.native import export
from tests.support.keras_specs import draw, spec_of
from tests.support.random_checks import COPIES, VOCABULARY, Realised, drawn_weight, embeddings
from tests.support.random_nets import After, KerasLayer, KerasNet, streams

CELLS = {"lstm": kl.LSTMCell, "gru": kl.GRUCell, "gru_before": kl.GRUCell, "rnn": kl.SimpleRNNCell}
LAYERS = {"lstm": kl.LSTM, "gru": kl.GRU, "gru_before": kl.GRU, "rnn": kl.SimpleRNN}


def realise(net: KerasNet) -> Realised:
    keras.backend.clear_session()
    single, double = _model(net, "float32"), _model(net, "float64")
    rng = np.random.default_rng(net.seed)
    for layer in single.layers:
        if isinstance(layer, kl.Embedding):
            layer.set_weights([embeddings(rng, net.features)])
        else:
            layer.set_weights([_weight(rng, variable) for variable in layer.weights])
    double.set_weights(single.get_weights())
    spec = spec_of(single, "random")
    if streams(net):
        entering = [t.name for t in spec.inputs[1:]]
        leaving = [t.name for t in spec.outputs[1:]]
        spec = replace(spec, states=dict(zip(entering, leaving, strict=True)))
    return Realised(
        spec=spec,
        export=lambda: export(single, spec, {}),
        draw=lambda rng, r: draw(spec, rng, r.rows, r.steps, Raggedness(r.padding)),
        single=lambda inputs: _outputs(single, inputs, np.float32),
        double=lambda inputs: _outputs(double, inputs, np.float64),
        lengthen=_lengthened if net.padding_is_neutral else None,
    )


def _weight(rng: np.random.Generator, variable: keras.Variable) -> Array:
    kinds = {"kernel": "kernel", "recurrent_kernel": "recurrent", "gamma": "gain"}
    shape = tuple(variable.shape)
    return drawn_weight(rng, shape, shape[0], kinds.get(variable.name, "bias"))


def _outputs(model: keras.Model, inputs: Arrays, dtype: type) -> list[Array]:
    """Eagerly: in a graph Keras runs TimeDistributed over the batch instead of the steps."""
    values = [v.astype(dtype) if v.dtype == np.float32 else v for v in inputs.values()]
    result = model([tf.convert_to_tensor(v) for v in values], training=False)
    return [np.asarray(value) for value in result.values()]


def _lengthened(inputs: Arrays, more: int) -> tuple[Arrays, Array]:
    """Steps of zeros, which are masked, after every row."""
    name = next(iter(inputs))
    x = inputs[name]
    longer = np.pad(x, [(0, 0), (0, more), (0, 0)][: x.ndim])
    return {**inputs, name: longer}, np.ones(x.shape[:2], bool)


def _model(net: KerasNet, dtype: str) -> keras.Model:
    keras.config.set_dtype_policy(dtype)
    keras.config.set_floatx(dtype)
    try:
        return _built(net)
    finally:
        keras.config.set_dtype_policy("float32")
        keras.config.set_floatx("float32")


def _built(net: KerasNet) -> keras.Model:
    if net.source.startswith("embedding"):
        source = keras.Input((None,), dtype="int32", name="ids")
        mask_zero = net.source == "embedding_masked"
        y = kl.Embedding(COPIES * VOCABULARY, net.features, mask_zero=mask_zero)(source)
    else:
        source = keras.Input((None, net.features), name="x")
        y = kl.Masking()(source) if net.source == "masking" else source
    inputs, outputs = [source], {}
    for number, layer in enumerate(net.layers):
        sequences = net.steps or number < len(net.layers) - 1
        states = _states(layer, number) if layer.state_in else []
        inputs += keras.tree.flatten(states)
        given = y
        # Keras hands the mask on by itself only to a layer that is given no other tensor.
        mask = getattr(y, "_keras_mask", None)
        kwargs = {"initial_state": states, "mask": mask} if states else {}
        y, *finals = keras.tree.flatten(_recurrent(layer, sequences)(y, **kwargs))
        outputs |= {f"state_{number}_{i}": state for i, state in enumerate(finals)}
        for after in layer.after:
            y = _after(after, y, given)
    return keras.Model(inputs, {"y": y, **outputs})


def _states(layer: KerasLayer, number: int) -> list:
    """Inputs for the initial states, nested as Keras takes them."""
    nested = []
    for direction in ("", "_back")[: 1 + (layer.direction == "bidirectional")]:
        for place, (kind, units) in enumerate(layer.cells):
            names = [f"{n}_{number}_{place}{direction}" for n in ("h", "c")[: 1 + (kind == "lstm")]]
            cell = [keras.Input((units,), name=name) for name in names]
            nested += cell if len(layer.cells) == 1 else [cell]
    return nested


def _recurrent(layer: KerasLayer, sequences: bool) -> kl.Layer:
    kwargs = {
        "return_sequences": sequences,
        "return_state": layer.state_out,
        "go_backwards": layer.direction == "backward",
        "zero_output_for_mask": layer.zero_masked,
    }
    if len(layer.cells) > 1:
        made = kl.RNN([_cell(layer, *cell, CELLS) for cell in layer.cells], **kwargs)
    else:
        made = _cell(layer, *layer.cells[0], LAYERS, **kwargs)
    if layer.direction == "bidirectional":
        return kl.Bidirectional(made, merge_mode=layer.merge)
    return made


def _cell(layer: KerasLayer, kind: str, units: int, classes: dict, **kwargs) -> kl.Layer:
    kwargs |= {"use_bias": layer.bias, "activation": layer.gates[0]}
    kwargs |= {"dropout": layer.dropout, "recurrent_dropout": layer.dropout}
    if kind != "rnn":
        kwargs["recurrent_activation"] = layer.gates[1]
    if kind.startswith("gru"):
        kwargs["reset_after"] = kind == "gru"
    return classes[kind](units, **kwargs)


def _after(after: After, y: keras.KerasTensor, given: keras.KerasTensor) -> keras.KerasTensor:
    match after.kind:
        case "dense":
            return kl.Dense(after.units, after.activation)(y)
        case "time_distributed":
            return kl.TimeDistributed(kl.Dense(after.units, after.activation))(y)
        case "residual":
            return kl.Add()([y, kl.Dense(y.shape[-1], after.activation)(given)])
        case "norm":
            return kl.LayerNormalization()(y)
        case "dropout":
            return kl.Dropout(0.5)(y)
    raise ValueError(after.kind)
