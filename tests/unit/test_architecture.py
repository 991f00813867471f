"""The rooms of the harness and which may import which, held against every import in the source."""

import ast
import re

import pytest

from tests.support import ROOT

# fmt: off
ROOMS = {
    "core": "",
    "typed_json": "core",
    "processes": "core",
    "goldens": "core typed_json",
    "graphs": "core",
    "accounting": "core goldens graphs typed_json",
    "placing": "core graphs processes typed_json",
    "exporters": "core graphs",
    "relations": "core goldens graphs",
    "reports": "core goldens typed_json",
    "oracle": "core goldens graphs",
    "linting": "core graphs placing",
    "reference_models": "core goldens",
    "subjects": "core goldens graphs oracle reference_models",
    "frameworks": "core subjects",
    "runtimes": "core frameworks goldens graphs oracle placing processes reference_models",
    "onnx_operators": "core graphs processes runtimes typed_json",
    "exporting": "core exporters frameworks goldens graphs processes reference_models typed_json",
    "onnx_tests": "core exporting goldens graphs oracle processes reference_models subjects",
    "recording": "accounting core exporters frameworks goldens graphs linting processes"
                  " reference_models relations runtimes subjects",
    "validation": "accounting core exporters exporting frameworks goldens graphs linting onnx_tests"
                  " oracle processes reference_models relations runtimes subjects typed_json",
    "comparing": "core exporting reports typed_json validation",
    "diagnosis": "core goldens graphs oracle processes reference_models runtimes typed_json"
                 " validation",
    "mutation": "core graphs processes reference_models runtimes typed_json validation",
    "shipping": "core exporters exporting goldens recording reference_models reports runtimes"
                " subjects validation",
    "api": "core shipping subjects validation",
    "testing": "api core frameworks goldens reference_models reports runtimes subjects validation",
    "commands": "core exporters frameworks processes runtimes validation",
}
# fmt: on
"""Each room, from the ground up, and the rooms that it may import."""
COMMANDS = {path.stem for path in ROOT.glob("harness/*.py")} - {"__init__", "__main__", "api"}
FRAMEWORKS = {"torch", "keras", "tensorflow", "tf2onnx", "onnxscript", "onnx_ir"}
SOURCES = sorted([*ROOT.glob("harness/**/*.py"), *ROOT.glob("reference_models/**/*.py")])
_IN_TEXT = re.compile(r"\b(?:harness\.([a-z_]+)|(reference_models))\.")


def name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def room(module):
    """The room of a module; for a command, and for ``harness`` itself, none."""
    first, *rest = module.split(".")
    if first != "harness":
        return first
    return rest[0] if rest and rest[0] in ROOMS else None


def modules(path):
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def in_text(path):
    """The rooms of modules that a file names in text that is no docstring, in part or whole."""
    tree = ast.parse(path.read_text())
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if text and id(node) not in docstrings:
            yield from (a or b for a, b in _IN_TEXT.findall(node.value))


def top(module):
    return module.partition(".")[0]


def test_rooms_are_listed_from_the_ground_up():
    order = list(ROOMS)
    for one, others in ROOMS.items():
        assert all(order.index(other) < order.index(one) for other in others.split()), one


def test_every_folder_is_a_room_and_beside_them_are_commands_alone():
    folders = {path.parent.name for path in ROOT.glob("harness/*/__init__.py")}
    assert folders == set(ROOMS) - {"api", "reference_models"}
    for command in COMMANDS:
        assert "def main(" in (ROOT / f"harness/{command}.py").read_text(), command


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_a_room_imports_only_rooms_below_it(path):
    own = room(name(path))
    if own is None:
        return
    rooms = {room(module) for module in modules(path)} | set(in_text(path))
    above = (rooms & {*ROOMS, *COMMANDS}) - {own, *ROOMS[own].split()}
    assert not above, f"{name(path)} imports {', '.join(sorted(above))}"


def test_the_table_has_no_arrow_that_nothing_needs():
    needed = {one: set() for one in ROOMS}
    for path in SOURCES:
        if own := room(name(path)):
            needed[own] |= {room(module) for module in modules(path)} | set(in_text(path))
    for one, others in ROOMS.items():
        assert set(others.split()) <= needed[one], one


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_only_twins_and_the_rooms_made_for_them_import_a_framework(path):
    allowed = (
        {"frameworks", "exporters"} & set(path.parts)
        or path.stem in ("keras_twin", "torch_twin")
        or path.name.startswith(("torch_", "keras_"))
    )
    assert allowed or not {top(module) for module in modules(path)} & FRAMEWORKS


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_only_runtimes_and_variants_import_onnxruntime(path):
    allowed = path.parent.name in ("runtimes", "placing") or path.stem == "variants"
    assert allowed or "onnxruntime" not in {top(module) for module in modules(path)}


def test_the_words_need_numpy_alone():
    third = {"onnx", "rich", "safetensors", "msgspec"}
    for path in ROOT.glob("harness/core/*.py"):
        assert not third & {top(module) for module in modules(path)}, name(path)


def test_a_class_name_occurs_once():
    places = {}
    for path in SOURCES:
        if path.is_relative_to(ROOT / "reference_models") or path.stem.endswith("_twin"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(name(path))
    assert not {one: where for one, where in places.items() if len(where) > 1}


def test_unit_tests_mirror_the_rooms():
    folders = {path.name for path in ROOT.glob("tests/unit/*") if (path / "__init__.py").is_file()}
    assert folders <= {*ROOMS, "ci"}


def test_no_module_is_a_warehouse():
    long = {name(p): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 400}
    assert not long
