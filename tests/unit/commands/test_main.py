"""The table of commands, and what all of them have in common."""

import ast
import shlex
import subprocess
import sys
from importlib import import_module

import pytest

import harness
from harness.__main__ import COMMANDS
from harness.commands import run
from tests.support import ROOT

PARSERS = {name: import_module(f"harness.{name}").parser for name in COMMANDS}
SHARED = ("--version", "--json", "--quiet", "--verbose")


def test_the_table_is_that_of_the_modules():
    """Each with the words of its module's docstring."""
    sentences = {}
    for path in ROOT.glob("harness/*.py"):
        tree = ast.parse(path.read_text())
        if any(isinstance(node, ast.FunctionDef) and node.name == "parser" for node in tree.body):
            sentences[path.stem] = ast.get_docstring(tree).splitlines()[0]
    for name, about in COMMANDS.items():
        assert sentences.pop(name) == f"``python -m harness.{name}``: {about}.", name
    assert not sentences


@pytest.mark.parametrize("name", COMMANDS)
def test_every_example_of_a_command_is_one(name):
    parser = PARSERS[name]()
    _, _, after = parser.format_help().partition("\nexamples:\n")
    examples, _, codes = after.partition("\nexit codes:\n")
    calls = [line for line in examples.splitlines() if line]
    assert calls
    for line in calls:
        assert line.startswith(f"  {parser.prog}")
        parser.parse_intermixed_args(shlex.split(line.removeprefix(f"  {parser.prog}")))
    numbers = [line.split()[0] for line in codes.splitlines()]
    assert numbers == [n for n in ("0", "1", "2", "3", "4", "130") if n in numbers]
    assert {"0", "2", "3", "130"} <= set(numbers)


def test_options_of_one_name_have_the_same_words():
    words = {flag: set() for flag in SHARED}
    for make in PARSERS.values():
        for action in make()._actions:
            for flag in set(SHARED) & set(action.option_strings):
                words[flag].add(action.help.removesuffix(" that does not agree"))
            if "--timeout" in action.option_strings:
                assert action.help.startswith("time for ")
                assert "; what takes longer is killed (default: " in action.help
    assert {flag: len(texts) for flag, texts in words.items()} == dict.fromkeys(SHARED, 1)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_tells_its_version(name, capsys):
    with pytest.raises(SystemExit) as ended:
        PARSERS[name]().parse_args(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"onnx-sequence-harness {harness.__version__}\n"


def test_a_command_is_named_as_it_is_called(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/venv/bin/harness", "validate"])
    assert (run.called("validate"), run.called()) == ("harness validate", "harness")
    monkeypatch.setattr(sys, "argv", [str(ROOT / "harness/__main__.py"), "validate"])
    assert run.called("validate") == "python -m harness.validate"
    assert run.called() == "python -m harness"


def test_functions_stay_where_the_commands_of_their_names_are_imported():
    for name in ("export", "validate"):
        module = import_module(f"harness.{name}")
        assert callable(module.main)
        assert getattr(harness, name) is getattr(harness.api, name)


def test_errors_and_the_report_come_from_the_top_and_cost_nothing_before():
    from harness import GoldenError, HarnessError, Report, UsageError
    from harness.core import errors, results

    assert (GoldenError, UsageError) == (errors.GoldenError, errors.UsageError)
    assert (HarnessError, Report) == (errors.HarnessError, results.Report)
    assert all(hasattr(harness, name) for name in harness.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        _ = harness.Nothing
    program = "import sys, harness; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_a_commands_help_imports_no_library_but_numpy(name):
    program = (
        "import importlib, sys\n"
        f"try: importlib.import_module('harness.{name}').main(['--help'])\n"
        "except SystemExit: pass\n"
        "print(*sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    imported = set(process.stdout.splitlines()[-1].split())
    assert not imported & {"onnx", "onnxruntime", "torch", "tensorflow", "keras", "rich", "msgspec"}
