"""What the documents name exists: files, folders, modules, commands, and each other."""

import re
from pkgutil import resolve_name

import pytest

from harness.__main__ import COMMANDS
from tests.support import ROOT

DOCUMENTS = sorted(
    [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")],
)
ENTRY_POINTS = {"harness.models", "harness.exporters", "harness.runtimes", "harness.reports"}
ELSEWHERE = ("harness/golden/", "harness/bundle/")
"""Folders that ``convert`` writes."""
each_document = pytest.mark.parametrize(
    "path", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS]
)


def importable(name):
    """Whether ``name`` is a module, or an attribute of one."""
    try:
        resolve_name(name)
    except (ImportError, AttributeError):
        return False
    return True


@each_document
def test_links_lead_somewhere(path):
    prose = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(([^)#\s]+)", prose)
    local = [link for link in links if "://" not in link]
    assert not [link for link in local if not (path.parent / link).exists()]


@each_document
def test_no_placeholder_is_left(path):
    prose = re.sub(r"^```.*?^```|`[^`]*`", "", path.read_text(), flags=re.DOTALL | re.MULTILINE)
    assert not re.findall(r"\{\w*\}", prose)


@each_document
def test_files_and_folders_are_there(path):
    named = re.findall(
        r"(?<![\w/.])(?:harness|ci|tests|reference_models|docs|examples)/[\w./-]*\w/?",
        re.sub(r"\]\([^)]*\)", "", path.read_text()),
    )
    missing = [name for name in named if not name.startswith(ELSEWHERE)]
    assert not [name for name in missing if not (ROOT / name).exists()]


@each_document
def test_modules_and_commands_are_there(path):
    text = path.read_text()
    called = re.findall(r"\bpython -m harness[. ]([a-z]\w*)", text)
    assert not set(called) - {*COMMANDS}
    assert not set(re.findall(r"^\$ harness ([a-z]\w*)", text, re.MULTILINE)) - {*COMMANDS}
    named = re.findall(r"`(harness(?:\.\w+)+)", text)
    assert not [name for name in named if name not in ENTRY_POINTS and not importable(name)]


def test_every_document_is_in_the_index():
    index = (ROOT / "docs/README.md").read_text()
    documents = (path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md"))
    listed = [str(name) for name in documents if name.parts[0] != "decisions"]
    assert not [name for name in listed if name != "README.md" and f"]({name})" not in index]


def test_every_command_is_in_the_reference():
    table = re.findall(r"^\| `(\w+)", (ROOT / "docs/commands.md").read_text(), re.MULTILINE)
    assert table == list(COMMANDS)
