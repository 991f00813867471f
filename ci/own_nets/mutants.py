"""Defects planted in the exports of own nets, one at a time: caught, missed or the same."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ci.own_nets.table import Net
from harness.core.errors import HarnessError
from harness.core.results import Status
from harness.mutation import study
from harness.mutation.study import CellStudy
from harness.runtimes.settings import Settings
from harness.shipping import user_model
from harness.shipping.request import Request
from harness.validation.selection import Selection

FAMILIES = ("magnitudes", "production")
WEIGHTS = ("one-ulp", "table-rows-exchanged")
"""The families and defects of the kinds that a net's tolerance or its cases may hide."""


def kinds(patterns: Sequence[str]) -> list[str]:
    """Return the names of defects that patterns select; without any, those that cases may hide."""
    if patterns:
        return list(study.defects(patterns))
    own = [f"harness.mutation.defects.{family}" for family in FAMILIES]
    return [
        name
        for name, defect in study.defects().items()
        if name in WEIGHTS or defect.__module__ in own
    ]


def studied(
    net: Net, exporter: str, lengths: Sequence[str], patterns: Sequence[str], folder: Path
) -> Iterator[CellStudy | str]:
    """Export one net and yield its study, or why there is none."""
    request = Request(
        *(net.make(), folder, net.description, lengths),
        exporter=exporter,
        runtimes=("ort-cpu",),
        name=net.name,
    )
    selection = Selection(
        subjects=(str(folder),), runtimes=("ort-cpu",), settings=Settings(intra_op_threads=1)
    )
    try:
        report, _ = user_model.ship(request, lambda result: None)
        if bad := [result for result in report.results if result.status is not Status.PASS]:
            yield f"{bad[0].stage.value}: {bad[0].reason}"
        else:
            yield from study.run(selection, kinds(patterns), workers=1)
    except HarnessError as error:
        yield str(error)
