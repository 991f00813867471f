"""The pytest plugin: cells of the matrix as tests, and ``assert_conforms`` as a fixture.

pytest loads it at every start, also in folders with another ``harness.py``: it imports nothing of
the harness before ``--harness-golden`` or the fixture is used.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest

SELECTORS = {
    "model": "models, of those that DIR has a golden of",
    "framework": "frameworks of the trained twins",
    "exporter": "exporters (default: native)",
    "variant": "variants (default: fp32)",
    "runtime": "runtimes (default: ort-cpu, and ort-cuda where there is a CUDA device)",
    "lengths": "lengths of a case's longest axis: N,A..B",
    "batch": "batch sizes: N,A..B",
    "relation": "what must hold between runs, tried after the golden cases",
    "require": "runtimes that must be available here: where one is not, that is an error",
}


def pytest_addoption(parser: pytest.Parser) -> None:
    add = parser.getgroup("harness", "exported sequence models against their goldens").addoption
    add(
        "--harness-golden",
        action="append",
        default=[],
        metavar="DIR",
        help="collect every cell of a folder of goldens, of one golden or of a bundle, and no other"
        " test unless one is named; repeatable. A test's id is the cell's",
    )
    for name, about in SELECTORS.items():
        text = f"{about}; comma-separated, repeatable"
        add(f"--harness-{name}", action="append", default=[], metavar="NAME", help=text)
    add(
        "--harness-expectations",
        metavar="FILE",
        help="cells that are known to fail, as --expectations of harness.validate takes it",
    )
    add(
        "--harness-artifacts",
        default="build/artifacts",
        metavar="DIR",
        help="where exported models are kept (default: build/artifacts)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "harness: a cell, model/framework/exporter/variant/runtime, of exported models"
    )
    if config.option.harness_golden:
        cells = _ours("cells").Cells(config)
        cells.take_arguments()
        config.pluginmanager.register(cells, "harness-cells")


@pytest.fixture
def assert_conforms() -> Callable[..., Any]:
    """Return ``harness.testing.assertions.assert_conforms``."""
    try:
        function: Callable[..., Any] = _ours("assertions").assert_conforms
    except pytest.UsageError as error:
        pytest.fail(str(error), pytrace=False)
    return function


def _ours(name: str) -> Any:
    """Return a module of ``harness.testing``; UsageError where another ``harness`` shadows it."""
    try:
        return import_module(f"harness.testing.{name}")
    except ModuleNotFoundError as error:
        place = getattr(sys.modules.get("harness"), "__file__", None)
        if place is None or not str(error.name).startswith("harness"):
            raise
        other = f"{place} is imported in place of onnx-sequence-harness"
    raise pytest.UsageError(f"{other}: rename it, or run elsewhere")
