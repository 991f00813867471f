"""Arguments that are tuples or dictionaries, from their parts and back."""

import pytest

from harness.core.errors import UsageError
from harness.frameworks.torch_arguments import arranged, nested

OWN = ["x", "state", "cache"]


def test_parts_are_arranged_as_the_arguments_and_their_places():
    names = ["state.1", "state.0", "cache.key", "x", "state.2.0"]
    assert arranged(names, OWN) == ["x", "state.0", "state.1", "state.2.0", "cache.key"]


def test_arguments_are_made_of_their_parts():
    values = {"x": 1, "state.0": 2, "state.1.0": 3, "state.1.1": 4, "cache.key": 5}
    expected = {"x": 1, "state": (2, (3, 4)), "cache": {"key": 5}}
    assert nested(values, OWN) == expected


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["state.0", "state.2"], "the parts of 'state' are 0, 2; expected state.0, state.1"),
        (["state.0", "state.h"], "expected state.0, state.1"),
        (["state", "state.0"], "'state' is described whole and in parts"),
    ],
)
def test_parts_that_make_no_argument_are_told(names, message):
    with pytest.raises(UsageError) as error:
        arranged(names, OWN)
    assert message in str(error.value)
