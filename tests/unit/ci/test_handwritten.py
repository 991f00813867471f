from pathlib import Path

import numpy as np
import pytest

from ci.bench import handwritten
from harness.goldens import store
from harness.runtimes.ort import CPU
from reference_models import catalog, numerics

ROOT = Path(__file__).parents[3]
GOLDENS = [
    folder
    for folder in sorted(store.goldens(ROOT / "golden"))
    if folder.parent.name in handwritten.MODELS
]
NOISE_FLOORS = 8


def named(folder):
    return f"{folder.parent.name}/{folder.name}"


def session(source, tmp_path):
    spec = source.spec
    padded = spec.padded_steps.get(source.framework, "repeat")
    path = tmp_path / "model.onnx"
    model = handwritten.build(spec, source.parameters(), padded)
    path.write_bytes(model.SerializeToString())
    return CPU.prepare(str(path))


def test_what_is_written_by_hand_is_a_reference_model():
    assert set(handwritten.MODELS) <= set(catalog.MODELS)


@pytest.mark.parametrize("folder", GOLDENS, ids=named)
def test_a_handwritten_graph_agrees_with_the_golden(folder, tmp_path):
    source = store.read(folder)
    hand = session(source, tmp_path)
    short = [case for case in source.cases if max(case.lengths.values()) <= 33]
    assert {case.raggedness for case in source.cases} == {case.raggedness for case in short}
    for case in short:
        expected = source.load(case)
        outputs = dict(hand.run(expected.inputs))
        assert set(outputs) == set(expected.outputs)
        for name, value in expected.outputs.items():
            axis = source.spec.output(name).step_axis
            output = outputs[name]
            if expected.steps is not None and axis is not None:
                output = np.take(output, expected.steps, axis)
            scale = np.spacing(np.float32(np.abs(value).max()))
            allowed = NOISE_FLOORS * max(expected.noise_floor[name], scale)
            np.testing.assert_allclose(output, value, rtol=0, atol=allowed, err_msg=case.id)


@pytest.mark.parametrize("padded", ["repeat", "zero"])
@pytest.mark.parametrize("backwards", [False, True])
def test_the_mask_is_exact_in_both_directions(padded, backwards, tmp_path):
    spec = catalog.load("dialog_act_tagger")
    source = store.read(ROOT / "golden/dialog_act_tagger/keras")
    params = source.parameters()
    words = np.array([[1, 0, 2, 3, 0, 4], [0, 0, 5, 6, 7, 8], [0] * 6, [9, 8, 7, 0, 0, 0]], "i4")

    graph = handwritten.Graph(spec, params, padded)
    valid = graph.valid("words", backwards)
    [x] = graph.lstm("lstm", graph.embedding("embedding", "words", valid), outputs=1)
    spread = graph.spread(graph.frames(x), valid)
    graph.output("acts", graph.dense("acts", spread, "Sigmoid"))
    path = tmp_path / "model.onnx"
    path.write_bytes(graph.model().SerializeToString())
    [(_, actual)] = CPU.prepare(str(path)).run({"words": words})

    ordered = words[:, ::-1] if backwards else words
    y, _ = numerics.lstm(
        params,
        "lstm",
        numerics.embedding(params, "embedding", ordered),
        valid=ordered != 0,
        padded=padded,
    )
    expected = numerics.sigmoid(numerics.dense(params, "acts", y))
    np.testing.assert_allclose(actual, expected[:, ::-1] if backwards else expected, atol=2e-6)
