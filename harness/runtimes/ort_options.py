"""Options of a session of ONNX Runtime beside its execution provider."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

LEVELS: dict[str, str] = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "layout": "ORT_ENABLE_LAYOUT",
    "all": "ORT_ENABLE_ALL",
}
"""The levels of graph optimisation, each with those before it: members of
``onnxruntime.GraphOptimizationLevel``."""

EXECUTION: dict[str, str] = {"sequential": "ORT_SEQUENTIAL", "parallel": "ORT_PARALLEL"}
"""Whether nodes run one after the other: members of ``onnxruntime.ExecutionMode``."""

MOST_THREADS = 256
"""Every session starts them all: thousands keep a machine from anything else"""
SPINNING = "session.intra_op.allow_spinning"


@dataclass(frozen=True)
class OrtOptions:
    """Settings of a session; the defaults are what ``validate`` runs with.

    ``intra_op_threads`` share the work of one node, None is one for each physical core. With
    ``execution="parallel"`` independent nodes run side by side. ``memory_pattern`` plans the
    allocations of a shape that was seen before, ``arena`` keeps freed memory of the CPU. With
    ``spinning`` a thread that has no work waits in a loop, which takes a core from whatever runs
    between two runs; else it sleeps.
    ``provider`` holds options of the execution provider, such as ``use_tf32`` of CUDA.
    """

    optimization: str = "all"
    intra_op_threads: int | None = None
    execution: str = "sequential"
    memory_pattern: bool = True
    arena: bool = True
    spinning: bool = False
    provider: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("optimization", self.optimization, LEVELS),
            ("execution", self.execution, EXECUTION),
        ):
            if value not in choices:
                raise ValueError(f"{name} {value!r}; choose from: {', '.join(choices)}")
        threads = self.intra_op_threads
        if threads is not None and not 1 <= threads <= MOST_THREADS:
            raise ValueError(f"intra_op_threads {threads}; expected 1 to {MOST_THREADS}")

    def apply(self, session_options: Any, onnxruntime: Any) -> None:
        """Set everything but the provider's options on an ``onnxruntime.SessionOptions``."""
        levels, modes = onnxruntime.GraphOptimizationLevel, onnxruntime.ExecutionMode
        session_options.graph_optimization_level = getattr(levels, LEVELS[self.optimization])
        session_options.execution_mode = getattr(modes, EXECUTION[self.execution])
        session_options.intra_op_num_threads = self.intra_op_threads or 0
        session_options.enable_mem_pattern = self.memory_pattern
        session_options.enable_cpu_mem_arena = self.arena
        session_options.add_session_config_entry(SPINNING, str(int(self.spinning)))

    def evidence(self) -> dict[str, Any]:
        """Return the settings for a report; ``intra_op_threads`` None is one a physical core."""
        return {
            "optimization": self.optimization,
            "intra_op_threads": self.intra_op_threads,
            "execution": self.execution,
            "memory_pattern": self.memory_pattern,
            "arena": self.arena,
            "spinning": self.spinning,
            "provider_options": dict(self.provider),
        }
