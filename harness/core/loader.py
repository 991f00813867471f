"""What a short script needs to run a model as a runtime does, without the harness."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Loader:
    """Lines of Python in which ``here`` is the folder of ``model.onnx``.

    ``needs`` names the distribution; ``load`` defines ``session``, and ``run`` is an expression
    for the outputs' values and names, given ``inputs`` (arrays by name).
    """

    needs: str
    imports: str
    load: str
    run: str


def by_harness(runtime: str) -> Loader:
    """Return the loader of a runtime by its name in the harness."""
    return Loader(
        "harness",
        "from harness.runtimes import load",
        f"session = load({runtime!r}).prepare(str(here / 'model.onnx'))",
        "reversed(list(zip(*session.run(inputs))))",
    )
