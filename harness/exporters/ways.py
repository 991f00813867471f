"""The ways that are tried in turn where the native exporter's own one ends."""

from __future__ import annotations

from typing import Any

from harness.core.registry import resolve
from harness.exporters import EXPORTERS

STOCK = {"torch": ("torch-dynamo", "torch-script"), "keras": ("tf2onnx",)}
"""The stock exporters in the order in which they are tried, by the framework."""
KEEPING = " with native recurrent nodes"
"""How the name of a stock exporter's way goes on where recurrent layers stay native."""
KEPT = {
    f"torch-dynamo{KEEPING}/torch": "harness.exporters.stock.keeping:dynamo",
    f"torch-script{KEEPING}/torch": "harness.exporters.stock.keeping:script",
}
_HAS_LAYERS = {"torch": "harness.exporters.stock.keeping:has_layers"}


def of(framework: str, model: Any) -> list[str]:
    """Return the ways for a model: those that keep its recurrent layers native are the first."""
    stock = STOCK.get(framework, ())
    if framework not in _HAS_LAYERS or not resolve(_HAS_LAYERS[framework])(model):
        return [*stock]
    return [*(f"{name}{KEEPING}" for name in stock), *stock]


def exporter(way: str) -> str:
    """Return the stock exporter of a way, by its name."""
    return way.removesuffix(KEEPING)


def code(name: str, framework: str) -> str | None:
    """Return the ``module:attribute`` of an exporter or a way; None where it is not for models of
    ``framework``.
    """
    key = f"{name}/{framework}"
    return EXPORTERS.get(key, KEPT.get(key))
