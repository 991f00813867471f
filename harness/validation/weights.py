"""The account of a cell's weights: made where they are at hand, else as its bundle stores it."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from harness.accounting import verify
from harness.accounting.account import account as made
from harness.accounting.form import Account
from harness.core.schema import Arrays
from harness.goldens.store import Golden
from harness.graphs import interface
from harness.validation.job import Ready

OF_A_FILE = "onnx"
"""The framework of a golden that was recorded of an ONNX file, which is itself what is judged."""

_parameters: dict[str, Arrays] = {}
"""Those of the golden that was asked for last, by its folder and hash."""


def account(model: Path, job: Ready) -> Account | None:
    """Return where every weight lies in a model; None where nothing tells."""
    golden = job.golden
    if golden.framework == OF_A_FILE:
        return None
    if not golden.has_weights:
        return job.account
    status = model.stat()
    return _made(str(model), status.st_mtime_ns, status.st_size, _Weights(golden))


def check(model: Path, job: Ready, judged: Account) -> None:
    """Raise CheckError, with its name, where a weight is not in the model as it should be."""
    judged.refuse()
    if not job.golden.has_weights:
        hashes = job.golden.manifest["weights"]["tensors"]
        verify.check(judged, interface.read(str(model)), hashes)


class _Weights:
    """A golden's weights as a key, which are read when they are needed."""

    def __init__(self, golden: Golden) -> None:
        self._golden = golden
        self._key = f"{golden.folder} {golden.weights_sha256}"

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Weights) and self._key == other._key

    def read(self) -> Arrays:
        if self._key not in _parameters:
            _parameters.clear()
            _parameters[self._key] = self._golden.parameters()
        return _parameters[self._key]


@lru_cache(maxsize=8)
def _made(path: str, changed: int, size: int, weights: _Weights) -> Account:
    """Return the account of a file, once for all runtimes that it is judged in."""
    return made(weights.read(), interface.read(path))
