"""A floor for a pass: how much of what was planned a golden lets a cell compare."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from harness.core.results import CellResult, Status
from harness.core.schema import Case, Raggedness, Stage
from harness.goldens.manifest import case_of
from harness.goldens.store import Golden

SHARE = 0.75
"""The least share of the planned cases, and of the planned lengths, that a pass needs compared.

A few may be left out where rounding alone decides, such as a sum that overflows at the longest.
Beyond a quarter they are no exceptions: what nobody compared is then a part of what is deployed. Of
the kinds of padding, which are few and each computed by other nodes, every one is needed.
"""


def held(result: CellResult, golden: Golden) -> CellResult:
    """Return the result with what was compared in its evidence; failed where that is too little.

    Of a golden that does not say which cases were left out, it is returned as it is.
    """
    if "uncompared" not in golden.manifest:
        return result
    counts = compared(golden)
    coverage = {"compared": counts, "values": golden.manifest.get("coverage", {})}
    result = replace(result, evidence={**result.evidence, "coverage": coverage})
    reason = lack(counts) if result.status is Status.PASS else ""
    if not reason:
        return result
    return replace(result, status=Status.FAIL, stage=Stage.COMPARE, reason=reason)


def compared(golden: Golden) -> dict[str, list[int]]:
    """Return how many cases, lengths and paddings a golden has, and of how many planned ones.

    A case that the model itself refuses is not planned: there is nothing to compare with. A length
    is one of one axis, and no padding a padding too.
    """
    kept = golden.cases
    planned = [*kept, *(case_of(entry) for entry in golden.manifest["uncompared"])]
    return {
        "cases": [len(kept), len(planned)],
        "lengths": [len(_lengths(kept)), len(_lengths(planned))],
        "paddings": [len(_paddings(kept)), len(_paddings(planned))],
    }


def lack(counts: dict[str, list[int]]) -> str:
    """Return why what was compared is too little for a pass; empty where it is enough."""
    shares = {what: n / planned if planned else 1.0 for what, (n, planned) in counts.items()}
    if min(shares["cases"], shares["lengths"]) >= SHARE and shares["paddings"] == 1:
        return ""
    texts = ", ".join(f"{n} of {planned} {what}" for what, (n, planned) in counts.items())
    return (
        f"only {texts} could be compared, rounding alone decides at the others; a pass needs"
        f" {SHARE:.0%} of the cases and lengths, and every padding"
    )


def _lengths(cases: Sequence[Case]) -> set[tuple[str, int]]:
    return {pair for case in cases for pair in case.lengths.items()}


def _paddings(cases: Sequence[Case]) -> set[Raggedness]:
    return {case.raggedness for case in cases}
