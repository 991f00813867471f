"""A cell's account of weights in one line."""

from __future__ import annotations

from typing import Any

from harness.core.summary import count


def line(account: Any) -> str:
    """Return how many weights were found, and how; empty for what is no account in evidence."""
    numbers = ("parameters", "copied", "derived", "unused", "elements", "elements_proved")
    if not isinstance(account, dict) or not all(type(account.get(n)) is int for n in numbers):
        return ""
    found = account["copied"] + account["derived"]
    parts = [
        f"{account[name]:,} {text}"
        for name, text in (("derived", "derived, to one ulp"), ("unused", "unused"))
        if account[name]
    ]
    for name, text in (("unproven", "not proved"), ("without_source", "")):
        listed = account.get(name)
        if isinstance(listed, list) and listed:
            parts.append(f"{len(listed):,} {text}" if text else _constants(len(listed)))
    more = f" ({'; '.join(parts)})" if parts else ""
    return (
        f"weights: {found:,} of {count(account['parameters'], 'parameter')},"
        f" {account['elements_proved']:,} of {account['elements']:,} elements, to the bit{more}"
    )


def _constants(number: int) -> str:
    return f"{count(number, 'constant')} of no weight"
