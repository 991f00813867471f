"""Whether a session runs where it should, by where each of its nodes was placed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from harness.graphs.recurrent import RECURRENT
from harness.placing.sizes import OnSizes, works_on_sizes

CPU_PROVIDER = "CPUExecutionProvider"
CUDA_PROVIDER = "CUDAExecutionProvider"


class Placement(NamedTuple):
    """Where the runtime put one node."""

    provider: str
    op_type: str
    node: str


def misplaced(
    placements: Iterable[Placement], sizes: OnSizes, provider: str = CUDA_PROVIDER
) -> str:
    """Return why a session does not run on ``provider``, in one line; empty where it does.

    Only shape arithmetic, as ``sizes`` has it for the nodes of the model file, may run elsewhere;
    and something must run on ``provider``.
    """
    placements = list(placements)
    elsewhere = [
        p
        for p in placements
        if p.provider != provider and not works_on_sizes(p.op_type, p.node, sizes)
    ]
    if elsewhere:
        elsewhere.sort(key=lambda p: p.op_type not in RECURRENT)
        names = ", ".join(f"{p.op_type} {p.node!r} on {p.provider}" for p in elsewhere[:4])
        more = f" and {len(elsewhere) - 4} more" if len(elsewhere) > 4 else ""
        return f"{len(elsewhere)} of {len(placements)} nodes not on {provider}: {names}{more}"
    if not any(p.provider == provider for p in placements):
        return f"none of {len(placements)} nodes is on {provider}"
    return ""


def differences(
    placements: Iterable[Placement], predicted: Mapping[tuple[str, str], bool], sizes: OnSizes
) -> list[str]:
    """Return where a CUDA session put nodes that were predicted elsewhere, in one line each.

    ``predicted`` holds, by operator and name, whether a node goes to CUDA, and ``sizes`` whether it
    is shape arithmetic: shape arithmetic that stays on the CPU is no difference, nor is a node
    without a prediction.
    """
    lines = []
    for provider, op_type, node in placements:
        expected, on_cuda = predicted.get((op_type, node)), provider == CUDA_PROVIDER
        if expected is None or expected == on_cuda:
            continue
        if on_cuda or not works_on_sizes(op_type, node, sizes):
            where = CUDA_PROVIDER if expected else CPU_PROVIDER
            lines.append(f"{op_type} {node!r} on {provider}, predicted on {where}")
    return lines
