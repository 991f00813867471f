"""Lines of a sequence axis: ``multiple of 4``, ``8..512``, ``4 * tokens``, ``past + time``."""

from __future__ import annotations

import re

from harness.core.axis_rules import AxisRule
from harness.core.errors import UsageError

LARGEST = 2**31
WORDS = "multiple of N, A..B, = N * AXIS, = AXIS + AXIS"
_MULTIPLE = re.compile(r"multiple\s+of\s+(\d+)$")
_RANGE = re.compile(r"(\d+)\s*\.\.\s*(\d+)$")
_TERM = re.compile(r"(?:(?P<factor>\d+)\s*\*\s*)?(?P<axis>[A-Za-z_]\w*)$|(?P<plus>\d+)$")


def rule(axis: str, text: str) -> AxisRule | None:
    """Return what a text says of an axis; None where it is no text of one.

    UsageError where nothing is left of the range, or a term is not understood.
    """
    text = text.strip()
    if text.startswith("="):
        return of_terms(axis, text[1:])
    words = [word.strip() for word in text.split(",")]
    if all(_MULTIPLE.match(word) or _RANGE.match(word) for word in words):
        multiple, least, most = 1, 1, None
        for word in words:
            if match := _MULTIPLE.match(word):
                multiple = _size(axis, match[1])
            elif match := _RANGE.match(word):
                least, most = _size(axis, match[1]), _size(axis, match[2])
        found = AxisRule(multiple, least, most)
        first, last = found.bounds
        if last is not None and last < first:
            raise UsageError(f"axis {axis!r}: no multiple of {multiple} lies in {least}..{most}")
        return found
    return of_terms(axis, text) if is_sum(text) else None


def is_sum(text: str) -> bool:
    """Return whether a text is a sum of axes or a multiple of one."""
    terms = [_TERM.match(term.strip()) for term in text.split("+")]
    return all(terms) and (len(terms) > 1 or "*" in text)


def of_terms(axis: str, text: str) -> AxisRule:
    """Return the rule of an axis that is a sum; UsageError where a term is not understood."""
    terms: dict[str, int] = {}
    plus = 0
    for term in text.split("+"):
        match = _TERM.match(term.strip())
        if match is None:
            raise UsageError(
                f"axis {axis!r}: {text.strip()!r} is not understood; expected: {WORDS}"
            )
        if match["plus"]:
            plus += _size(axis, match["plus"])
        else:
            terms[match["axis"]] = terms.get(match["axis"], 0) + _size(axis, match["factor"] or "1")
    if not terms or axis in terms:
        raise UsageError(f"axis {axis!r}: {text.strip()!r} names no other axis; expected: {WORDS}")
    return AxisRule(terms=terms, plus=plus)


def name_of(text: str) -> str:
    """Return a name for a sum: its axes, then its numbers."""
    parts = re.findall(r"[A-Za-z_]\w*|\d+", text)
    return "_".join(sorted(parts, key=str.isdecimal))


def _size(axis: str, text: str) -> int:
    if not 0 < int(text) < LARGEST:
        raise UsageError(f"axis {axis!r}: {text} is no size; expected 1 to {LARGEST - 1:,}")
    return int(text)
