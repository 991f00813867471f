"""The account of a user model's weights, made where the framework is at hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from harness.accounting.account import account
from harness.core.schema import Array, Arrays
from harness.recording.probing import RefusedError, UserModel, run

FILE = "account.json"
CASES = 6
"""How many cases of all sizes a model is run at to see whether a weight does anything."""


def write(
    folder: Path,
    own: UserModel,
    parameters: Arrays,
    model: onnx.ModelProto,
    inputs: Sequence[Arrays],
) -> None:
    """Write the account of the weights in an export; none for a model in an ONNX file.

    A weight that is not found is moved in the framework's model, which is run with some of the
    ``inputs``: one that moves no output is unused.
    """
    if own.framework == "onnx":
        return
    by_size = sorted(inputs, key=lambda case: sum(value.size for value in case.values()))
    some = [by_size[n] for n in np.unique(np.linspace(0, len(by_size) - 1, CASES).astype(int))]
    probe = _Probe(own, [*parameters], some)
    (folder / FILE).write_text(account(parameters, model, probe).json(), "utf-8")


def stored(folder: Path) -> str | None:
    """Return what ``write`` wrote, if it did."""
    path = folder / FILE
    return path.read_text("utf-8") if path.is_file() else None


class _Probe:
    """Says whether a model with other weights gives the same outputs, to the bit."""

    def __init__(self, own: UserModel, names: Sequence[str], inputs: Sequence[Arrays]) -> None:
        self._own, self._names, self._inputs = own, names, inputs
        self._before: dict[int, list[bytes]] = {}

    def __call__(self, values: Mapping[str, Array]) -> bool:
        for number, case in enumerate(self._inputs):
            if number not in self._before:
                self._before[number] = self._outputs({}, case)
            if self._before[number] != self._outputs(values, case):
                return False
        return True

    def _outputs(self, values: Mapping[str, Array], case: Arrays) -> list[bytes]:
        """Return the outputs with some weights set; a model may know them by name or by number."""
        numbers = {str(self._names.index(name)): value for name, value in values.items()}

        def moved(initial: Arrays) -> Arrays:
            known = {**numbers, **values}
            return {name: known.get(name, value) for name, value in initial.items()}

        self._own.move(moved)
        try:
            outputs = run(self._own, case, wide=False)
        except RefusedError as error:
            return [str(error).encode()]
        finally:
            self._own.move(lambda initial: initial)
        return [np.asarray(value).tobytes() for _, value in outputs]
