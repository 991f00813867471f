"""What is wrong with how a try of a command ended, whatever it was given."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn
from xml.etree import ElementTree

from tries import Ended

SCRIPTS = 4
"""In a page, beside its data."""
_LOGGED = re.compile(r"\d{4}-\d\d-\d\d |[IWE]\d{4} |WARNING: All log|\S*I tensorflow|^$")
"""Lines that libraries in C++ log, whatever happens."""
_SAID = re.compile(r"error: |.* is none of the cells of this run$")
_FRAME = re.compile(r'File "([^"]+)", line (\d+)')


def of(ended: Ended, folder: Path | None = None) -> list[str]:
    """Return what is wrong with how a try ended, whatever it was given; each with its place.

    ``folder`` is the one that it was to write to, whose reports have to be readable.
    """
    if ended.status is None:
        return [f"hang: over {ended.seconds:.0f} s at {place(ended.err)}"]
    found = [f"written: {ended.written[0]}"] if ended.written else []
    if ended.status < 0:
        found.append(f"signal {signal.Signals(-ended.status).name} at {place(ended.err)}")
    elif ended.status > 4:
        found.append(f"exit code {ended.status}")
    for text, where in ((ended.err, ""), (ended.out, ""), (ended.inner, " in a child")):
        if re.search(r"(?m)^\s*::\w", text):
            found.append("a line that is a command to a CI system")
        if "Traceback (most recent" in text and "MemoryError" not in (where and text):
            found.append(f"traceback{where}: {_raised(text)} at {place(text)}")
    if found:
        return sorted(set(found))
    lines = [line for line in ended.err.split("\n") if not _LOGGED.match(line)]
    if stray := [line for line in lines if not _SAID.match(line)]:
        found.append(f"no error in one line: {_general(stray[0])}")
    if ended.status == 2 and not lines:
        found.append("exit code 2 without an error")
    for stream, text in (("output", ended.out), ("errors", ended.err)):
        if control := [c for c in text if not (c.isprintable() or c in "\n\t")]:
            found.append(f"control character {control[0]!r} in the {stream}")
    if long := [line for line in lines if len(line) > 4000]:
        found.append(f"an error of {len(long[0])} characters: {_general(long[0])}")
    return found + ([] if folder is None else list(_unreadable(folder)))


def place(text: str) -> str:
    """Return the innermost place in the project of a traceback, else its innermost place."""
    frames = _FRAME.findall(text)
    if "most recent call first" in text:
        frames = _FRAME.findall(text.partition("most recent call first")[2])[::-1]
    own = [frame for frame in frames if "/harness/" in frame[0] or "/reference_models/" in frame[0]]
    for path, line in reversed(own or frames):
        return f"{re.sub(r'^.*/(?=harness/|reference_models/)', '', path)}:{line}"
    return "an unknown place"


def _raised(text: str) -> str:
    """Return the type of what was raised: it stands after the last frame of a traceback."""
    lines = text.splitlines()
    last = max((n for n, line in enumerate(lines) if _FRAME.search(line)), default=0)
    after = (line for line in lines[last + 1 :] if line and not line.startswith(" "))
    return next(after, "an exception").partition(":")[0]


def _general(text: str) -> str:
    """Return a line without what differs between two faults of one cause."""
    text = re.sub(r"[\w./~-]*/(in|out)/\S*", "PATH", text)
    text = re.sub(r"'[^']*'|\"[^\"]*\"|b'[^']*'", "'…'", text)
    return re.sub(r"-?\d[\d.e+,]*", "N", text)[:100]


def _unreadable(folder: Path) -> Iterator[str]:
    """Yield which of the reports in ``folder`` cannot be parsed."""
    for path in folder.rglob("junit.xml"):
        try:
            ElementTree.parse(path)
        except (ElementTree.ParseError, ValueError) as error:
            yield f"junit.xml cannot be parsed: {_general(str(error))}"
    for path in folder.rglob("*.md"):
        shown = re.sub(r"(?ms)^(```+)\w*$.*?^\1$", "", path.read_text("utf-8"))  # no code blocks
        if "<script" in shown:
            yield f"{path.name} has markup"
    for path in folder.rglob("report.html"):
        first, *others = path.read_text("utf-8").split("<script")[1:]
        if len(others) != SCRIPTS:
            yield f"report.html has {len(others)} scripts, not {SCRIPTS}"
        try:
            json.loads(first.partition(">")[2].partition("<")[0], parse_constant=_refuse)
        except ValueError as error:
            yield f"report.html has data that cannot be parsed: {_general(str(error))}"
    for path in folder.rglob("report.json"):
        try:
            json.loads(path.read_text("utf-8"), parse_constant=_refuse)
        except ValueError as error:
            yield f"report.json cannot be parsed: {_general(str(error))}"


def _refuse(text: str) -> NoReturn:
    raise ValueError(f"{text} is not JSON")
