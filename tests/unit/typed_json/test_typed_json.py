from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType

import msgspec
import numpy as np
import pytest

from harness.core.errors import UsageError
from harness.core.results import Status
from harness.core.schema import Stage
from harness.typed_json import form, plain, typed


@dataclass(frozen=True)
class Point:
    at: tuple[int, ...]
    status: Status = Status.PASS


def test_everything_is_as_json_has_it():
    value = {
        "point": Point((1, 2)),
        "counts": Counter("aab"),
        "view": MappingProxyType({1: np.float32(0.5)}),
        Stage.RUN: [np.int64(3), np.bool_(True), None],
    }
    assert plain(value) == {
        "point": {"at": (1, 2), "status": "pass"},
        "counts": {"a": 2, "b": 1},
        "view": {"1": 0.5},
        "run": [3, True, None],
    }
    with pytest.raises(TypeError):
        plain({"odd": object()})


KIND = form("Kind", {"one": Stage | None, "each": dict[str, list[Status]], "few": int}, few=3)


def test_only_what_may_be_missing_may():
    read = typed({"one": None, "each": {"a": ["pass"]}}, KIND, "it")
    assert (read.one, read.each, read.few) == (None, {"a": [Status.PASS]}, 3)
    with pytest.raises(UsageError, match=r"^it: it has no 'each'$"):
        typed({"one": "run"}, KIND, "it")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"one": "walk", "each": {}}, "expected export, check, load, run, compare at one"),
        ({"one": None, "each": {"a": ["pass", "no"]}}, "'no', expected pass, fail, xfail, "),
        ({"one": None, "each": {}, "few": 3.0}, "expected 'int', got 'float' at few"),
        ({"one": None, "each": {}, "new\nline": 1}, "it has no place for 'new line'"),
        ({"one": None, "each": {}, "x" * 999: 1}, "…"),
        ([], "expected 'object', got 'array'"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(data, message):
    with pytest.raises(UsageError) as caught:
        typed(data, KIND, "it")
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_struct_of_its_own_is_a_kind_too():
    class Own(msgspec.Struct):
        name: str

    assert typed({"name": "x", "more": 1}, Own, "it") == Own("x")
