"""Every refusal of a user's model says what, where and how to go on, in plain words."""

import inspect
import re

import pytest

import harness
from harness.core.errors import UsageError
from tests.support import refused_nets as nets

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

RAW = re.compile(
    r"\b[suz]\d+\b|\b(?:Eq|Ne|Mod|FloorDiv)\(|Sym(?:Int|Bool|Float)|torch\._|_dynamo|L\[|Guard"
    r"|FakeTensor|OpOverload|Traceback|0x[0-9a-f]{6}|\bfct=|<function|example's \d|only at the"
)
WAYS = (
    *("use ", "write ", "describe", "choose", "return ", "give ", "keep ", "take ", "make "),
    *("expected", "save ", "export float32", "do the same"),
)
"""The words with which a way on begins."""
PLACE = re.compile(r" at (?:[\w./]+/)?refused_nets\.py:(\d+) \('(.+?)'\)")
SIZES = {"lengths": [1, 2, 5, 9], "batch": [1, 2]}


def refusal(model, tmp_path, capfd, **options):
    with pytest.raises(UsageError) as caught:
        harness.export(model, tmp_path / "bundle", **SIZES, **options)
    said = str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert capfd.readouterr() == ("", "")
    assert not RAW.search(said), said
    assert said.isprintable(), said
    assert len(said) < 1000, said
    assert any(f"{mark} {way}" in said for way in WAYS for mark in (";", ":", ",")), said
    return said


def lines_of(function):
    lines, first = inspect.getsourcelines(function)
    return range(first, first + len(lines))


@pytest.mark.slow
@pytest.mark.parametrize("name", nets.TORCH)
def test_a_refusal_of_pytorch(name, tmp_path, capfd):
    body, inner, words = nets.TORCH[name]
    torch.manual_seed(0)
    model = nets.Net(body, inner and inner())
    said = refusal(model, tmp_path, capfd, inputs="x: float32[batch, time, 4]")
    assert re.search(words, said), said
    assert re.search("Net|inner", said), said
    if name not in nets.OF_OUTPUTS:
        place = PLACE.search(said)
        assert place, said
        where = nets.Deeper if inner is nets.Deeper else body
        assert int(place[1]) in [*lines_of(where), *lines_of(nets.Net.forward)], said
        assert place[2].rstrip("…") in inspect.getsource(nets), said


@pytest.mark.slow
@pytest.mark.parametrize("name", nets.KERAS)
def test_a_refusal_of_keras(name, tmp_path, capfd):
    make, words = nets.KERAS[name]
    keras.utils.set_random_seed(0)
    model = make()
    inputs = "x: float32[batch, time, 4]"
    said = refusal(model, tmp_path, capfd, inputs=inputs)
    assert re.search(words, said), said
    if name not in ("an activation", "half"):
        assert PLACE.search(said), said
