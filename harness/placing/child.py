"""Partitions models with stand-ins for the CUDA libraries, and runs none; for a child process.

It imports ONNX Runtime alone, which may be another one than the harness has, and models reach it in
a message: some versions of ONNX Runtime crash where the command line is long.
"""

from __future__ import annotations

import ctypes
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any

PROVIDERS = ["CUDAExecutionProvider", "CPUExecutionProvider"]
_SILENT, _VERBOSE = 4, 0
_LISTED = re.compile(r" Node\(s\) placed on \[(\w+)\]")
_NODE = re.compile(r"VerifyEachNodeIsAssignedToAnEp\]   (\S+) \((.*)\)$")
_INSERTED = ("InsertedPrecisionFreeCast_", "Memcpy")


def partition(capi: Any, shim: ctypes.CDLL, log: IO[str], path: str) -> dict[str, Any]:
    """Return where each node of a model goes; ``log`` is the file that standard error goes to.

    The session must outlive the failure of its creation, which ``onnxruntime``'s Python wrapper
    does not allow: so this calls what that wrapper calls.
    """
    refusals = ctypes.c_int.in_dll(shim, "placement_refusals")
    refusals.value = 0
    options = capi.SessionOptions()
    options.log_severity_level = _VERBOSE
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    try:
        session = capi.InferenceSession(options, path, True, False)
        session.initialize_session(PROVIDERS, [{}, {}], set())
    except Exception as error:
        if not refusals.value:
            return {"error": str(error)}
    if PROVIDERS[0] not in session.get_providers():
        return {"error": f"{PROVIDERS[0]} is not loaded"}
    nodes = [
        [part.ep_name, node.op_type, node.name]
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]
    log.seek(0)
    return {"nodes": [*nodes, *unrecorded(log, {node[2] for node in nodes})]}


def unrecorded(log: Iterable[str], recorded: set[str]) -> Iterator[list[str]]:
    """Yield the nodes that the log lists on the CPU beside the recorded ones.

    Up to ONNX Runtime 1.26 a float16 node that no provider has a kernel for goes to the CPU,
    between casts, after the assignment is recorded.
    """
    provider = ""
    for line in log:
        if listed := _LISTED.search(line):
            provider = listed[1]
        elif provider == PROVIDERS[1] and (node := _NODE.search(line)):
            op_type, name = node.groups()
            if name not in recorded and not name.startswith(_INSERTED):
                yield [provider, op_type, name]


def partition_all(emit: Callable[[Any], None], shim_path: str, models: Sequence[str]) -> None:
    """Emit the versions, then each model's ``nodes``, [provider, operator, node], or ``error``."""
    import onnxruntime
    from onnxruntime.capi import _pybind_state as capi

    onnxruntime.set_default_logger_severity(_SILENT)
    emit({"onnxruntime": onnxruntime.__version__, "cuda": onnxruntime.cuda_version})
    shim = ctypes.CDLL(shim_path)
    for path in models:
        with tempfile.TemporaryFile("w+", errors="replace") as log:
            os.dup2(log.fileno(), 2)
            emit(partition(capi, shim, log, path))
