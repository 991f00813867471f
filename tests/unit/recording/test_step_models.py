"""Models of one step, whose state goes in and out and whose sequence is one of calls."""

import numpy as np
import pytest

from harness.core.errors import RunError, UsageError
from harness.core.schema import Case, Lengths, ModelSpec, TensorSpec, lengths_text
from harness.goldens.noise_floor import Usual
from harness.recording import cases
from harness.recording.output_axes import outputs
from harness.recording.probing import RefusedError, run, specification
from harness.recording.runs import measure
from harness.recording.user_model import _not_varied
from harness.subjects.describe import line
from harness.subjects.description import ModelDescription

FRAME = "frame: float32[batch, 6] in -1..1"
STATE = "state: float32[2, batch, 4] in -1..1"


class Cell:
    """A step of a recurrent net: ``state`` [2, batch, 4] and a frame of 6 samples."""

    framework, class_name = "torch", "Cell"

    def __init__(self, *lines):
        self.lines = lines

    def inputs(self):
        return [line(text) for text in self.lines]

    def arrange(self, names):
        return list(names)

    def run(self, inputs, wide):
        kind = np.float64 if wide else np.float32
        values = [inputs[name].astype(kind) for name in ("frame", "state")]
        new = np.tanh(values[1] * kind(0.5) + values[0].mean(-1)[None, :, None])
        return [("score", new[0].mean(-1, keepdims=True)), ("next", new)]

    def move(self, change):
        change({})


def spec(*tensors):
    return ModelSpec("step", "", tensors, (), "step")


def test_a_step_with_a_state_needs_no_sequence_axis():
    described = ModelDescription(states={"state": "next"})
    step = specification(Cell(FRAME, STATE), described, "cell", (7,), (1,))
    assert step.axes == ()
    assert [t.axes for t in step.outputs] == [("batch", 1), (2, "batch", 4)]
    assert step.states == {"state": "next"}


def test_without_an_axis_that_varies_a_model_is_refused():
    fixed = Cell("frame: float32[3, 6]", "state: float32[2, 3, 4]")
    with pytest.raises(UsageError, match=r"no input has an axis that varies.*\[states\]"):
        specification(fixed, ModelDescription(), "cell", (7,), (1,))


def test_a_window_of_a_fixed_number_of_steps_is_judged_at_its_batches():
    window = specification(Cell(FRAME, STATE), ModelDescription(), "cell", (7,), (1,))
    assert window.axes == ()
    (line, *others) = _not_varied(Cell(FRAME, STATE), window)
    assert line.startswith("other lengths: no input has steps that vary, frame[batch, 6], state")
    assert line.endswith("where 'next' is the next 'state', say so under [states]")
    assert not others


def test_a_step_is_measured_at_every_batch():
    described = ModelDescription(states={"state": "next"})
    model = Cell(FRAME, STATE)
    step = specification(model, described, "cell", (7,), (1,))
    results, refused, _ = measure(model, step, cases.plan(step, (7,), (1, 3, 2)), lambda text: None)
    assert {result.case.batch for result in results} == {1, 3, 2}
    assert [result.case.id for result in results][2:4] == ["step-b2-none", "step-b1-none-draw1"]
    assert not refused


def test_a_case_of_one_step_has_a_length_of_one():
    assert Case({}, 3).longest == 1
    assert lengths_text({}) == "one step"
    assert Case({"time": 5, "text": 8}, 3).longest == 8


def test_what_is_usual_for_a_step_is_that_of_all_its_cases():
    empty: Lengths = {}
    usual = Usual([empty] * 3, {"next": [1.0, 3.0, 2.0]}, {"next": [5.0, 4.0, 6.0]})
    assert usual.noise_floor("next", empty) == 3.0
    assert usual.scale("next", empty) == 6.0


def test_fewer_lengths_than_batches_are_each_tried_with_every_batch():
    step = spec(TensorSpec("frame", "float32", ("batch", "samples")))
    sizes = [(c.lengths["samples"], c.batch) for c in cases.plan(step, (576,), (1, 3, 2))]
    assert set(sizes) == {(576, 1), (576, 3), (576, 2), (576, 16)}


def test_an_output_of_size_one_is_no_batch_where_there_is_none():
    frames = [Case({"frames": n}, 1) for n in (7, 13)]
    runs = [(case, [("hn", np.zeros((1, 1, case.lengths["frames"])))]) for case in frames]
    (output,) = outputs(runs[0], runs[1], (), ())
    assert output.axes == (1, 1, "frames")


def test_sizes_at_which_the_oracle_cannot_run_a_graph_are_refused_like_any_model_s():
    class Failing(Cell):
        def run(self, inputs, wide):
            raise RunError("node 'lstm': the state has 3 rows, the input 7")

    with pytest.raises(RefusedError, match="the state has 3 rows"):
        run(Failing(), {}, wide=True)
    with pytest.raises(UsageError, match=r"does not run at frame_length=13.*the state has 3 rows"):
        specification(
            Failing("frame: float32[batch, ?] in -1..1", STATE),
            ModelDescription(),
            "cell",
            (7,),
            (1,),
        )


def test_a_state_between_calls_is_found_though_another_batch_resets_it():
    class Hidden(Cell):
        kept = np.zeros(0)

        def run(self, inputs, wide):
            if len(self.kept) != len(inputs["frame"]):
                self.kept = np.zeros(len(inputs["frame"]))
            self.kept = self.kept + inputs["frame"].sum(-1)
            return [("score", self.kept.astype(np.float64 if wide else np.float32))]

    model = Hidden("frame: float32[batch, samples] in -1..1")
    step = specification(model, ModelDescription(), "cell", (7,), (1,))
    with pytest.raises(UsageError, match="keeps a state between calls"):
        measure(model, step, cases.plan(step, (7,), (1, 3, 2)), lambda text: None)
