"""Relations of models whose padding is any value, or is told by a mask or by lengths."""

import pytest

from harness.core.results import Status
from harness.goldens import store
from harness.relations import RELATIONS, judge
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
