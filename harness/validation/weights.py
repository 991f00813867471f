"""The account of a cell's weights: made where they are at hand, else as its bundle stores it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from harness.accounting import verify
from harness.accounting.account import account as made
from harness.accounting.form import Account
from harness.core.errors import CheckError
from harness.core.results import CellResult, Status
from harness.core.schema import Arrays, Stage
from harness.goldens.store import Golden
from harness.graphs import interface
from harness.validation.job import Ready

OF_A_FILE = "onnx"
"""The framework of a golden that was recorded of an ONNX file, which is itself what is judged."""

WRONG = "wrong"
"""What is wrong with a weight, in a cell's evidence of its account."""

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


def wrong(model: Path, job: Ready, judged: Account) -> str:
    """Return what is wrong with a weight in the model, with its name; empty where nothing is."""
    try:
        judged.refuse()
        if not job.golden.has_weights:
            hashes = job.golden.manifest["weights"]["tensors"]
            verify.check(judged, interface.read(str(model)), hashes)
    except CheckError as error:
        return str(error)
    return ""


def held(result: CellResult) -> CellResult:
    """Return a cell as failed at ``check`` where its evidence has a weight that is wrong.

    Its cases, which may all pass, say how far that moves the outputs; a crash is reported first.
    """
    account = result.evidence.get("account")
    if account is None or WRONG not in account or result.status is Status.ERROR:
        return result
    reason = account[WRONG]
    return replace(result, status=Status.FAIL, stage=Stage.CHECK, reason=reason)


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
