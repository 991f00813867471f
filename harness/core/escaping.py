"""Text that comes from files, for a terminal and for Markdown: it is read, never obeyed."""

from __future__ import annotations

import re

from harness.core.names import visible

_MARKS = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        **{mark: f"\\{mark}" for mark in "\\|`[]*"},
    }
)
_EMPHASIS = re.compile(r"(?<![^\W_])_|_(?![^\W_])")
_COMMAND = re.compile(r"##(?=\w*\[)")


def line(text: str) -> str:
    """Return text as one line of a terminal that is no command to what reads it.

    Continuous integration obeys a line that begins with ``::`` after its blanks, and a ``##[``,
    ``##vso[`` or the like anywhere.
    """
    text = _COMMAND.sub(r"\\x23#", visible(text))
    rest = text.lstrip()
    return text[: -len(rest)] + rf"\x3a{rest[1:]}" if rest.startswith("::") else text


def markdown(text: str) -> str:
    """Return text as one line of Markdown, in a paragraph, a list or a table, that shows as it is.

    An underscore inside a word marks nothing and stays.
    """
    return _EMPHASIS.sub(r"\\_", visible(text).translate(_MARKS))


def code(text: str) -> str:
    """Return text as a code span of Markdown, outside a table."""
    text = visible(text)
    fence = _fence(text, 1)
    space = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{space}{text}{space}{fence}" if text else ""


def table_code(text: str) -> str:
    """Return text as a code span in a cell of a table, where a bar would end the cell."""
    return code(text).replace("|", "\\|")


def block(text: str, language: str = "") -> str:
    """Return lines as a block of code that no line in it ends."""
    fence = _fence(text, 3)
    return f"{fence}{language}\n{text}\n{fence}"


def _fence(text: str, least: int) -> str:
    """Return more backticks than stand together anywhere in text."""
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))
