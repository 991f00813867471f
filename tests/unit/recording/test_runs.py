"""A user model at every case: which cases are kept, refused by the model, or mean nothing."""

import numpy as np

from harness.core.schema import Case, ModelSpec, TensorSpec
from harness.recording import runs

X = TensorSpec("x", "float32", ("batch", "time"))
Y = TensorSpec("y", "float32", ("batch", "time"))
SPEC = ModelSpec("net", "", (X,), (Y,), "net")


class Net:
    """Doubles its input; refuses length 2, and from length 9 on float32 is far off."""

    class_name = "Net"
    framework = "test"

    def move(self, change):
        self.changed = change

    def run(self, inputs, wide):
        x = inputs["x"].astype(np.float64 if wide else np.float32)
        if x.shape[1] == 2:
            raise ValueError("too short")
        return [("y", 2 * x if wide or x.shape[1] < 9 else 2 * x + np.float32(1))]


def test_what_the_model_refuses_is_no_lack_and_what_means_nothing_is_one():
    plan = [Case({"time": n}, 3) for n in (1, 2, 3, 9, 10)]
    judged, lines, uncompared = runs.measure(Net(), SPEC, plan, lambda text: None)
    assert [result.case.lengths["time"] for result in judged] == [1, 3]
    assert [case.lengths["time"] for case in uncompared] == [9, 10]
    assert "time=2, batch=3: ValueError: too short (in float64)" in lines
    assert any("time=9, batch=3" in line and "mean nothing" in line for line in lines)
