"""How often each decision of a graph is taken either way, counted by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from harness import runtimes
from harness.core.errors import StageError
from harness.core.schema import Array, Arrays, Session
from harness.core.temporary import temporary_folder
from harness.graphs import serialize
from harness.graphs.decisions import COUNTS, Decision, counting

RUNTIME = "ort-cpu"


@dataclass
class Found:
    """The decisions of a graph, how often each was true, and of how many; ``why`` if unknown."""

    decisions: list[Decision] = field(default_factory=list)
    counts: Array = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    tries: int = 0
    why: str = ""

    @property
    def never(self) -> Array:
        """Which decisions were never true, and which never false, two columns."""
        true, of = self.counts[:, 0], self.counts[:, 1]
        return np.stack([true == 0, true == of], axis=1)

    def add(self, outputs: Mapping[str, Array]) -> None:
        """Add what one run of the counting copy gave."""
        self.counts = self.counts + outputs[COUNTS].reshape(-1, 2)

    def evidence(self) -> dict[str, Any]:
        """Return how many decisions there are and were taken both ways, and the others."""
        if self.why:
            return {"unmeasured": self.why}
        ways = {(True, False): "true", (False, True): "false", (True, True): "reached"}
        one_way = [
            {
                "node": decision.node,
                "operator": decision.operator,
                "condition": decision.condition,
                "never": ways[never],
            }
            for decision, never in zip(self.decisions, map(tuple, self.never.tolist()), strict=True)
            if never in ways
        ]
        count = len(self.decisions)
        both = count - len(one_way)
        return {"count": count, "both_ways": both, "tries": self.tries, "one_way": one_way}


def counted(model: onnx.ModelProto, folder: Path) -> tuple[Session | None, Found]:
    """Return a session of a counting copy, and its decisions; none where nothing can be counted."""
    copy, decisions = counting(model)
    found = Found(decisions, np.zeros((len(decisions), 2), np.int64))
    if not decisions:
        return None, found
    runtime = runtimes.load(RUNTIME)
    if reason := runtime.check():
        return None, Found(why=f"{RUNTIME}: {reason}")
    path = folder / "counting.onnx"
    try:
        serialize.write(copy, path)
        del copy  # the session has its own
        return runtime.prepare(str(path)), found
    except StageError as error:
        return None, Found(why=str(error))


def over(model: onnx.ModelProto, inputs: Iterable[Arrays]) -> dict[str, Any]:
    """Return what is known of the decisions of a model at some inputs, until all are taken."""
    with temporary_folder() as folder:
        session, found = counted(model, folder)
        for arrays in inputs:
            if session is None or not found.never.any():
                break
            try:
                found.add(dict(session.run(arrays)))
            except StageError as error:
                found.why = str(error)
                break
    return found.evidence()
