"""The account of a cell's weights: made where they are at hand, else as its bundle stores it.

The oracle of a reference model tells which of them do something.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from harness.accounting import verify
from harness.accounting.account import Probe
from harness.accounting.account import account as made
from harness.accounting.form import Account
from harness.core.errors import CheckError
from harness.core.results import CellResult, Status
from harness.core.schema import Array, Arrays, Stage
from harness.goldens.store import Golden
from harness.graphs import interface
from harness.validation import factors
from harness.validation.job import Ready
from reference_models import catalog

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
    return factors.off(model, job.golden, judged)


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

    def probe(self) -> Probe | None:
        """Return what runs the model's oracle with other values; None where it has none here."""
        if not catalog.has(self._golden.spec):
            return None
        by_size = sorted(self._golden.cases, key=factors.telling)
        some = {case.raggedness: case for case in reversed(by_size)}
        inputs = [self._golden.load(case).inputs for case in some.values()]
        spec, framework, parameters = self._golden.spec, self._golden.framework, self.read()
        before: dict[int, Arrays] = {}

        def same(values: Mapping[str, Array]) -> bool:
            for number, given in enumerate(inputs):
                if number not in before:
                    before[number] = catalog.run_oracle(spec, framework, parameters, given)
                outputs = catalog.run_oracle(spec, framework, {**parameters, **values}, given)
                if any(np.any(outputs[name] != own) for name, own in before[number].items()):
                    return False
            return True

        return same


@lru_cache(maxsize=8)
def _made(path: str, changed: int, size: int, weights: _Weights) -> Account:
    """Return the account of a file, once for all runtimes that it is judged in."""
    return made(weights.read(), interface.read(path), weights.probe())
