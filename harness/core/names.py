"""Names that come from files: which may be part of a path, and how any is shown."""

from __future__ import annotations

import re

from harness.core.errors import UsageError

LONGEST = 200
"""Characters; systems allow 255 bytes in a file's name, and a temporary one is longer."""
_PART = re.compile(rf"\w[^/\\:]{{0,{LONGEST - 1}}}")


def visible(text: str) -> str:
    """Return text on one line: every character that is not printable is escaped as Python does.

    A control character from a file can fake a line of a report, or be a command to a terminal.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def is_path_part(name: str) -> bool:
    r"""Return whether a name can be one part of a path, of a cell's id and of a command.

    It begins with a letter, a digit or ``_``, is printable, has at most ``LONGEST`` characters and
    none of ``/``, ``\`` and ``:``.
    """
    return bool(_PART.fullmatch(name)) and name.isprintable()


def check_path_part(name: str, what: str) -> None:
    """Raise UsageError, which begins with ``what``, where a name ``is_path_part`` not."""
    if not is_path_part(name):
        raise UsageError(
            f"{what}: {name!r}; expected a name of at most {LONGEST} printable characters that"
            " begins with a letter, a digit or _ and has none of / \\ :"
        )


def check_printable(name: str, what: str) -> None:
    """Raise UsageError, which begins with ``what``, where a name is empty or not printable."""
    if not name or not name.isprintable():
        raise UsageError(f"{what}: {name!r}; expected a name of printable characters")
