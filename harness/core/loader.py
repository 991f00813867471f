"""How a short script without the harness runs a model as a runtime does."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Loader:
    """Lines of Python in which ``here`` is the folder of ``model.onnx``.

    ``needs`` names the distribution; ``load`` defines ``session``, and ``run`` is an expression
    that gives the values of the outputs for ``inputs`` (arrays by name), and their names.
    """

    needs: str
    imports: str
    load: str
    run: str


def by_harness(runtime: str) -> Loader:
    """Return what loads a runtime by its name in the harness."""
    return Loader(
        "harness",
        "from harness.runtimes import load",
        f"session = load({runtime!r}).prepare(str(here / 'model.onnx'))",
        "reversed(list(zip(*session.run(inputs))))",
    )
