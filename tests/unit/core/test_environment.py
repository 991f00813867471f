import re

import pytest

from harness.core.environment import now


@pytest.mark.parametrize(
    ("stated", "told"),
    [
        ("0", "1970-01-01T00:00:00Z"),
        ("1767323045", "2026-01-02T03:04:05Z"),
        ("", r"2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
        ("-1", r"2\d{3}-.*Z"),
        ("9" * 30, r"2\d{3}-.*Z"),
        ("٣", "1970-01-01T00:00:03Z"),
    ],
)
def test_the_date_is_that_of_the_clock_or_of_the_source(monkeypatch, stated, told):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", stated)
    assert re.fullmatch(told, now())
