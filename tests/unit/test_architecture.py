"""Who may import whom, read from the source."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*ROOT.glob("harness/**/*.py"), *ROOT.glob("reference_models/**/*.py")])
LEAVES = (
    "frameworks",
    "exporters",
    "variants",
    "runtimes",
    "reports",
    "linting",
    "relations",
    "defects",
)
FRAMEWORKS = {"torch", "keras", "tensorflow", "tf2onnx", "onnxscript"}
# fmt: off
COMMANDS = {
    "validate", "record", "export", "list", "lint", "placement", "mutate", "diagnose", "merge",
    "convert", "operators",
}
# fmt: on
COMMON = {"harness.schema", "harness.errors", "harness.registry", "harness.placing.tables"}
COMMON |= {"harness.placing.sizes", "harness.placing.verdict", "harness.subjects.describe"}


def name(path):
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(path):
    """Every module that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def top(module):
    return module.partition(".")[0]


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_only_twins_and_the_rooms_made_for_them_import_a_framework(path):
    allowed = (
        path.parent.name in ("frameworks", "exporters")
        or path.stem in ("keras_twin", "torch_twin")
        or path.name.startswith(("torch_", "keras_"))
    )
    found = {top(module) for module in imports(path)} & FRAMEWORKS
    assert allowed or not found


@pytest.mark.parametrize("path", SOURCES, ids=name)
def test_only_runtimes_and_variants_import_onnxruntime(path):
    found = {top(module) for module in imports(path)} & {"onnxruntime"}
    assert path.parent.name in ("runtimes", "variants", "placing") or not found


@pytest.mark.parametrize("room", LEAVES)
def test_leaves_know_only_the_schema_and_the_errors(room):
    for path in sorted((ROOT / "harness" / room).rglob("*.py")):
        ours = {module for module in imports(path) if top(module) == "harness"}
        foreign = {
            module
            for module in ours
            if not any(module == c or module.startswith(f"{c}.") for c in COMMON)
            and not module.startswith(f"harness.{room}.")
            and module not in ("harness", f"harness.{room}")
        }
        assert not foreign, f"{path.name} imports {sorted(foreign)}"


def test_the_schema_knows_nothing_but_numpy():
    ours = {top(m) for m in imports(ROOT / "harness/schema.py")} & {"harness", "onnx", "rich"}
    assert not ours


def test_reference_models_know_little_of_the_harness():
    for path in ROOT.glob("reference_models/**/*.py"):
        ours = {m for m in imports(path) if m.startswith("harness.")}
        allowed = ("harness.schema", "harness.errors", "harness.registry", "harness.formula")
        assert all(m.startswith(allowed) for m in ours), (path, ours)


def test_the_engine_knows_no_command_and_no_leaf():
    ours = {m for m in imports(ROOT / "harness/engine.py") if m.startswith("harness.")}
    assert not {m for m in ours if m.split(".")[1] in {*LEAVES, *COMMANDS, "validation"}}


def test_no_module_is_a_warehouse():
    long = {name(p): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 400}
    assert not long
