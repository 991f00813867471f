"""A Keras model in float64: built anew, with all that its layers hold, or known to be another."""

import numpy as np
import pytest

keras = pytest.importorskip("keras")

from harness.core.errors import UsageError  # noqa: E402
from harness.frameworks.keras_model import KerasModel  # noqa: E402
from harness.recording import copies  # noqa: E402
from harness.recording.output_axes import named  # noqa: E402
from harness.recording.probing import specification  # noqa: E402
from harness.subjects.description import ModelDescription  # noqa: E402
from tests.support.own_keras import on_frames  # noqa: E402

X = np.random.default_rng(0).uniform(-1, 1, (2, 3, 4)).astype(np.float32)
WIDE = X.astype(np.float64)


class Held(keras.layers.Layer):
    """Computes with what was set from outside, of which its configuration says nothing."""

    factor = 1.0

    def call(self, x):
        return x * self.factor


class Hidden(Held):
    """The same, in a place where nobody looks."""

    def __init__(self, **options):
        super().__init__(**options)
        self.inside = type("Inside", (), {"factor": 1.0})()

    def call(self, x):
        return x * self.inside.factor


class Limits(keras.layers.Layer):
    def call(self, x):
        limits = np.finfo(keras.backend.standardize_dtype(x.dtype))
        return keras.ops.where(x > 0, float(limits.min), x) + float(limits.eps)


def normalised():
    layer = keras.layers.Normalization()
    layer.adapt(np.random.default_rng(1).normal(0.2, 1.1, (99, 4)).astype(np.float32))
    return layer


def held(factor):
    layer = Held()
    layer.factor = factor
    return layer


def both(layer):
    """The outputs in float32 and in float64."""
    own = KerasModel(on_frames(layer))
    own.arrange(["x"])
    return [own.run({"x": X}, wide)[0][1] for wide in (False, True)]


@pytest.mark.parametrize(
    "layer",
    [
        normalised,
        lambda: held(np.array([1, 2, 3, 0.1], np.float32)),
        lambda: held(keras.ops.convert_to_tensor(np.float32(0.3))),
        lambda: held(0.3),
    ],
    ids=["an adapted mean", "an array", "a tensor", "a number"],
)
def test_what_a_layer_holds_beside_weights_is_in_its_float64_copy(layer):
    rounded, exact = both(layer())
    assert exact.dtype == np.float64
    np.testing.assert_allclose(rounded, exact, atol=1e-6)


def test_the_limits_that_a_model_reads_are_those_of_float32():
    limits = np.finfo(np.float32)
    _, exact = both(Limits())
    expected = np.where(WIDE > 0, float(limits.min), WIDE) + float(limits.eps)
    np.testing.assert_array_equal(exact, expected)


def test_a_copy_that_is_another_model_is_refused_by_the_name_of_its_layer():
    layer = Hidden(name="hidden")
    layer.inside.factor = 1.5
    own = KerasModel(on_frames(keras.layers.Dense(3), layer))
    spec = specification(own, ModelDescription(), "net", (3, 5), (1, 3))
    exact, rounded = (named(spec, own.run({"x": X}, wide)) for wide in (True, False))
    with pytest.raises(UsageError, match=r"another model: .* layer 'hidden' holds what get_config"):
        copies.check(own, spec, {"x": X}, exact, rounded)
    copies.check(own, spec, {"x": X}, rounded, rounded)
