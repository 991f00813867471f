"""A stored account is held against a graph without any weights."""

import json
from dataclasses import dataclass

import msgspec
import numpy as np
import pytest

from harness.accounting import form, verify
from harness.accounting.account import account
from harness.core.errors import CheckError, UsageError
from harness.goldens.manifest import sha256
from tests.unit.accounting.test_account import (
    batch_norm,
    drawn,
    graph,
    recurrent,
    stacked,
    torch_weights,
)

PARAMETER = {"name": "w", "status": "copied", "shape": [1], "dtype": "float32", "how": ""}


@dataclass
class Told:
    weights: dict
    constants: dict
    account: form.Account

    def check(self, account=None, **changed):
        model = recurrent("GRU", {**self.constants, **changed})
        hashes = {name: sha256(value) for name, value in self.weights.items()}
        verify.check(account or self.account, model, hashes)

    def with_first(self, **changes):
        first, *others = self.account.parameters
        changed = msgspec.structs.replace(first, **changes)
        return form.Account(1, (changed, *others))


@pytest.fixture
def told():
    weights = torch_weights("GRU")
    constants = stacked("GRU", weights)
    return Told(weights, constants, account(weights, recurrent("GRU", constants)))


def test_what_was_written_is_read_as_it_was_and_holds(told, tmp_path):
    path = tmp_path / "account.json"
    path.write_text(told.account.json())
    assert form.read(path) == told.account
    told.check(form.read(path))


@pytest.mark.parametrize("name", ["W", "R", "B"])
def test_one_ulp_in_one_element_is_told_with_the_name(told, name):
    changed = told.constants[name].copy()
    changed.flat[-1] = np.nextafter(changed.flat[-1], np.float32(9))
    parameter = {"W": "weight_ih", "R": "weight_hh", "B": "bias_hh"}[name]
    with pytest.raises(CheckError, match=rf"weights: l\.{parameter}_l0 is altered: its SHA-256"):
        told.check(**{name: changed})


def test_one_ulp_in_what_the_account_has_no_use_for_is_told():
    scale = np.array([0.3, 0.7, 1.9], np.float32)
    held = {"a": scale, "b": scale, "ones": np.ones(4, np.float32)}
    made = account({"s": scale}, graph(held))
    hashes = {"s": sha256(scale)}
    verify.check(made, graph(held), hashes)
    for name, message in (("b", "s is altered at 1 of 3 elements"), ("ones", "'ones' is 1 every")):
        near = held[name].copy()
        near[1] = np.nextafter(near[1], np.float32(9))
        with pytest.raises(CheckError, match=message):
            verify.check(made, graph({**held, name: near}), hashes)


def test_a_bias_that_both_directions_have_is_held_in_each():
    weights = torch_weights("LSTM", ways=2)
    weights["l.bias_ih_l0_reverse"] = weights["l.bias_ih_l0"]
    constants = stacked("LSTM", weights, ways=2)
    made = account(weights, recurrent("LSTM", constants, ways=2))
    hashes = {name: sha256(value) for name, value in weights.items()}
    for way in range(2):
        near = constants["B"].copy()
        near[way, 7] = np.nextafter(near[way, 7], np.float32(9))
        with pytest.raises(CheckError, match=r"l\.bias_ih_l0(_reverse)? is altered"):
            verify.check(made, recurrent("LSTM", {**constants, "B": near}, ways=2), hashes)


def test_a_forged_account_lets_no_weight_pass_that_is_elsewhere(told):
    first = told.account.parameters[0]
    block = first.blocks[0]
    far = msgspec.structs.replace(block, start=2**39)
    other = msgspec.structs.replace(block, constant="nowhere")
    axes = msgspec.structs.replace(block, axes=(5, 7))
    zero = msgspec.structs.replace(block, columns=0)
    for changes, reason in (
        ({"blocks": ()}, "is copied to no place"),
        ({"blocks": (far, *first.blocks[1:])}, "is not in its order"),
        ({"blocks": (other,)}, "blocks have not"),
        ({"blocks": first.blocks[::-1]}, "is not in its order"),
        ({"axes": (1, 0)}, "its SHA-256|is not where"),
        ({"axes": (9, 9)}, "is not where"),
        ({"dtype": "no"}, "is not where"),
        ({"shape": (1, 45)}, "is not where|is altered"),
        ({"status": "altered", "how": "is altered by one ulp"}, "is altered by one ulp"),
    ):
        with pytest.raises(CheckError, match=reason):
            told.check(told.with_first(**changes))
    for bad in (axes, zero):
        with pytest.raises(CheckError):
            told.check(told.with_first(blocks=(bad, *first.blocks[1:])))
    fewer = form.Account(1, told.account.parameters[1:])
    with pytest.raises(CheckError, match=r"the account and the golden differ in 'l\.weight_ih_l0'"):
        told.check(fewer)


def test_gates_in_an_order_of_their_own_are_found_again():
    weights = torch_weights("LSTM")
    model = recurrent("LSTM", stacked("LSTM", weights, order=[3, 0, 1, 2]))
    hashes = {name: sha256(value) for name, value in weights.items()}
    verify.check(account(weights, model), model, hashes)


def test_a_constant_that_was_computed_stays_as_it_was():
    norm, weight = batch_norm(6), drawn(6, 4)
    scale = norm["n.weight"] / np.sqrt(norm["n.running_var"].astype(np.float64) + 1e-5)
    folded = (weight * scale[:, None]).astype(np.float32)
    parameters = {"c.weight": weight, **norm}
    hashes = {name: sha256(value) for name, value in parameters.items()}
    made = account(parameters, graph({"w": folded}))
    assert made.parameters[0].status == "derived"
    verify.check(made, graph({"w": folded}), hashes)
    folded[2, 1] = np.nextafter(folded[2, 1], np.float32(9))
    with pytest.raises(CheckError, match=r"c\.weight is altered"):
        verify.check(made, graph({"w": folded}), hashes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "expected 1 at schema"),
        ({"parameters": [PARAMETER | {"status": "fine"}]}, "expected copied, derived"),
        ({"more": 1}, "no place for 'more'"),
        ({"parameters": [{"name": "w"}]}, "it has no 'status' at parameters"),
        ({"parameters": "w"}, "expected 'array', got 'str' at parameters"),
        ({"without_source": [{"name": "c", "shape": [-1]}]}, ">= 0 at without_source"),
    ],
)
def test_what_is_no_account_is_told_with_its_place(tmp_path, change, message):
    path = tmp_path / "account.json"
    path.write_text(json.dumps({"schema": 1, "parameters": [], **change}))
    with pytest.raises(UsageError, match=message):
        form.read(path)


def test_a_factor_of_an_attention_that_is_off_is_told_with_and_without_weights():
    weights = {"query.weight": drawn(16, 16)}
    right = np.float32(8**-0.25)
    off = np.nextafter(right, np.float32(9))

    def scaled(number):
        return graph({"w": weights["query.weight"].T.copy(), "scale": number})

    told = account(weights, scaled(right))
    hashes = {name: sha256(value) for name, value in weights.items()}
    verify.check(told, scaled(right), hashes)
    with pytest.raises(CheckError, match=r"constant 'scale' is .*, an ULP beside 1/∜8"):
        verify.check(told, scaled(off), hashes)
    with pytest.raises(CheckError, match=r"constant 'scale' is .*, an ULP beside 1/∜8"):
        account(weights, scaled(off)).refuse()
