"""Relations of models whose padding is any value, or is told by a mask or by lengths."""

from dataclasses import replace

import numpy as np
import pytest

from harness.core.axis_rules import AxisRule
from harness.core.results import Status
from harness.core.schema import Case, Raggedness, TensorSpec
from harness.goldens import store
from harness.relations import RELATIONS, judge, padding
from harness.runtimes.ort import CPU
from tests.support import padded_mean

PADDED = [like for like in padded_mean.LIKE if padded_mean.spec(like).padded]
LOOKED_UP = [like for like in PADDED if like != "frames"]


@pytest.fixture
def statuses(tmp_path):
    """The statuses of a relation's cases, by relation, for those that apply."""

    def run(like, every_step=False):
        path = padded_mean.record(tmp_path, like, every_step)
        stored, session = store.read(tmp_path / "golden"), CPU.prepare(str(path))
        results = [
            result
            for name in RELATIONS
            for result in judge.judge(name, stored, stored.cases, path, CPU.row, CPU, session)
        ]
        by_relation = {result.relation: set() for result in results}
        for result in results:
            by_relation[result.relation].add(result.status)
        return by_relation

    return run


@pytest.mark.parametrize("like", padded_mean.LIKE)
def test_every_relation_that_applies_holds(statuses, like):
    applying = {"batch-rows", "fresh-session", "run-twice"}
    applying |= {"padding"} if like in PADDED else set()
    applying |= {"poison"} if like in LOOKED_UP else set()
    assert statuses(like) == {name: {Status.PASS} for name in applying}


@pytest.mark.parametrize("like", PADDED)
def test_a_mean_over_every_step_is_noticed(statuses, like):
    by_relation = statuses(like, every_step=True)
    failing = {name for name, values in by_relation.items() if Status.FAIL in values}
    assert failing == ({"padding", "poison"} if like in LOOKED_UP else {"padding"})


@pytest.mark.parametrize(
    ("like", "changes", "told"),
    [
        ("zero", {"unchanged": ()}, "the model itself gives other values at valid steps"),
        ("zero", {"padded": None}, "no input is described with padding, as a mask or as lengths"),
        ("mask", {}, "no input is described with padding"),
        ("mask", {"unchanged": (Raggedness.LEFT,)}, {"left"}),
        ("lengths", {"unchanged": (Raggedness.RIGHT,)}, {"right"}),
        ("zero", {"unchanged": (Raggedness.RIGHT, Raggedness.GAPPED)}, {"right", "gapped"}),
        ("zero", {}, {"right", "left", "gapped"}),
    ],
)
def test_the_padding_that_a_model_claims_is_tried_and_no_other(tmp_path, like, changes, told):
    path = padded_mean.record(tmp_path, like)
    stored, session = store.read(tmp_path / "golden"), CPU.prepare(str(path))
    stored, notes = replace(stored, spec=replace(stored.spec, **changes)), []
    tried = set()
    pairs = padding.pairs

    def seen(spec, case, inputs, ways, run):
        tried.update(way.value for way in ways)
        return pairs(spec, case, inputs, ways, run)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(padding, "pairs", seen)
        judged = judge.judge(
            "padding", stored, stored.cases, path, CPU.row, CPU, session, notes.append
        )
        assert {result.status for result in judged} <= {Status.PASS}
    assert tried == (told if isinstance(told, set) else set())
    assert isinstance(told, set) != bool(notes)
    assert all(note.startswith(told) for note in notes)


@pytest.mark.parametrize(
    "rule", [AxisRule(2), AxisRule(1, 2, 9), AxisRule(2, 2, 8), AxisRule(terms={"other": 2})]
)
def test_rows_and_their_padding_follow_the_rule_of_their_axis(tmp_path, rule):
    path = padded_mean.record(tmp_path, "zero")
    stored, session = store.read(tmp_path / "golden"), CPU.prepare(str(path))
    spec = replace(stored.spec, rules={"sequence": rule})
    if rule.terms:
        assert padding.inapplicable(spec) == "the length of sequence follows from others"
        return
    assert padding.inapplicable(spec) == ""
    widths, compared = set(), 0

    def run(inputs, case):
        steps = next(iter(inputs.values())).shape[1]
        assert steps == case.lengths["sequence"]
        widths.add(steps)
        return dict(session.run(inputs))

    for case in stored.cases:
        golden = stored.load(case)
        compared += len(list(padding.pairs(spec, case, golden.inputs, padding.WAYS, run)))
    assert compared
    assert all(map(rule.holds, widths)), widths


@pytest.mark.parametrize("unchanged", [None, (Raggedness.RIGHT,), ()])
def test_what_rests_on_the_padding_at_a_padded_step_alone_is_no_poison(tmp_path, unchanged):
    """The steps of this graph are those of the table, padded ones, too; its mean is of them all."""
    path = padded_mean.record(tmp_path, "zero", every_step=True)
    stored, session, notes = store.read(tmp_path / "golden"), CPU.prepare(str(path)), []
    stored = replace(stored, spec=replace(stored.spec, unchanged=unchanged))
    results = list(
        judge.judge("poison", stored, stored.cases, path, CPU.row, CPU, session, notes.append)
    )
    failing = {o.name for result in results for o in result.outputs if o.reason}
    kinds = {result.case.raggedness.value for result in results}
    expected = {
        None: ({"mean", "y"}, {"right", "left", "gapped", "empty"}),
        (Raggedness.RIGHT,): ({"mean"}, {"right"}),
        (): (set(), set()),
    }
    assert (failing, kinds) == expected[unchanged]
    assert len(notes) == (unchanged == ())


def test_inputs_beside_the_padded_one_keep_to_their_range():
    """A tag has no 0; where the tokens are padded with 49, tags go on as they were."""
    tags = TensorSpec("tags", "int64", padded_mean.STEPS, 1, 4)
    spec = padded_mean.spec("last id")
    spec = replace(spec, inputs=(*spec.inputs, tags))
    ran = []

    def run(inputs, case):
        ran.append(inputs)
        shape = (case.batch, case.lengths["sequence"], padded_mean.WIDTH)
        return {"mean": np.zeros((case.batch, padded_mean.WIDTH)), "y": np.zeros(shape)}

    ids = np.array([[4, 5, 6], [7, 49, 49]])
    inputs = {"ids": ids, "tags": np.array([[1, 2, 3], [3, 1, 1]])}
    case = Case({"sequence": 3}, 2)
    assert len(list(padding.pairs(spec, case, inputs, [Raggedness.LEFT], run))) == 2
    assert ran[-1]["ids"].tolist() == [[49, 49, 49, 4, 5, 6], [49, 49, 49, 49, 49, 7]]
    assert ran[-1]["tags"].min() >= 1
    assert ran[-1]["tags"][:, 3:].tolist() == [[1, 2, 3], [3, 3, 3]]
