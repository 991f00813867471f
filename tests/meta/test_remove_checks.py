"""The checks that ci/remove_checks.py takes out are where it looks for them."""

import pytest

from ci.remove_checks import CHECKS, ROOT


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_check_to_remove_is_there_once(check):
    assert (ROOT / check.file).read_text().count(check.source) == 1
