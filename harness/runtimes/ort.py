"""ONNX Runtime on the CPU and on CUDA, with proof of where each node was placed."""

from __future__ import annotations

import contextlib
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.util import find_spec
from typing import Any

from harness.core.environment import installed
from harness.core.errors import LoadError, RunError, UsageError, check_input_names
from harness.core.loader import Loader
from harness.core.operator_errors import ORT_CPU, SLOW_DFT
from harness.core.schema import Array, Arrays
from harness.core.tolerance import Row
from harness.placing.messages import shortened
from harness.placing.sizes import OnSizes, on_sizes
from harness.placing.tables import nearest, predictions
from harness.placing.verdict import (
    CPU_PROVIDER,
    CUDA_PROVIDER,
    Placement,
    differences,
    misplaced,
)
from harness.runtimes import cuda
from harness.runtimes.cuda import INSTALL_CUDA, cuda_libraries, missing_libraries, no_cuda_device
from harness.runtimes.ort_options import LEVELS, OrtOptions
from harness.runtimes.settings import Settings

DISTRIBUTIONS = ("onnxruntime", "onnxruntime-gpu")
DEFAULTS = OrtOptions()
TF32 = 2.0**13
"""The unit roundoff of TF32, 2^-11 with its 10 bits of mantissa, in units of float32's, 2^-24."""
ROWS = {
    CPU_PROVIDER: Row(
        6.0,
        "its Sigmoid and Tanh are good to 1e-7 absolute only, and that adds up",
        operators=ORT_CPU,
        of_largest=SLOW_DFT,
    ),
    CUDA_PROVIDER: Row(8.0, "float32 with TF32 off; cuDNN splits and orders sums in its own way"),
}
_SILENT = 4


class OrtSession:
    """A loaded model; judges the placement of its nodes when it first runs."""

    def __init__(
        self,
        session: Any,
        provider: str,
        version: str,
        options: OrtOptions = DEFAULTS,
        path: str = "",
    ) -> None:
        self._session = session
        self._provider = provider
        self._version = version
        self._options = options
        self._path = path
        self._inputs = [value.name for value in session.get_inputs()]
        self._outputs = [value.name for value in session.get_outputs()]
        self._judged = provider == CPU_PROVIDER

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        """Run one case; the outputs keep the graph's order, duplicates included.

        RunError where the input names differ, the run fails, or the placement is not as asked.
        """
        check_input_names(inputs, self._inputs)
        try:
            values = self._session.run(None, inputs)
        except Exception as error:
            raise RunError(shortened(error)) from error
        if not self._judged:
            if reason := misplaced(self.placements(), self._sizes, self._provider):
                raise RunError(reason)
            self._judged = True
        return list(zip(self._outputs, values, strict=True))

    @cached_property
    def _sizes(self) -> OnSizes:
        return on_sizes(self._path) if self._path else {}

    def placements(self) -> list[Placement]:
        """Return where each node was placed, those of nested graphs included."""
        return [
            Placement(part.ep_name, node.op_type, node.name)
            for part in self._session.get_provider_graph_assignment_info()
            for node in part.get_nodes()
        ]

    def evidence(self) -> dict[str, Any]:
        """Return providers, nodes per provider and op, TF32, settings, versions, the GPU."""
        by_provider: dict[str, Counter[str]] = {}
        for placement in self.placements():
            by_provider.setdefault(placement.provider, Counter())[placement.op_type] += 1
        options = self._session.get_provider_options().get(CUDA_PROVIDER)
        return {
            "providers": list(self._session.get_providers()),
            "nodes_by_provider": {p: dict(sorted(ops.items())) for p, ops in by_provider.items()},
            "tf32": options is not None and options.get("use_tf32") != "0",
            **self._options.evidence(),
            "version": self._version,
            **self._device(options or {}),
            **self._prediction(),
        }

    def _device(self, options: Mapping[str, str]) -> dict[str, Any]:
        """Return the GPU and NVIDIA's libraries, in a session that is not on the CPU."""
        if self._provider == CPU_PROVIDER:
            return {}
        import onnxruntime

        ordinal = int(options.get("device_id", "0"))
        return {"device": cuda.about(onnxruntime.cuda_version, ordinal)}

    def _prediction(self) -> dict[str, Any]:
        """Return how the placement differs from the stored one of this version, on CUDA."""
        if self._provider != CUDA_PROVIDER or not self._path:
            return {}
        table = nearest(self._version)
        if table is None:
            return {"placement_predicted_by": None}
        predicted = predictions(self._path, table)
        differing = differences(self.placements(), predicted, self._sizes)
        return {"placement_predicted_by": str(table), "placement_differs": differing}


@dataclass(frozen=True)
class OrtRuntime:
    """ONNX Runtime with one execution provider; on CUDA, TF32 is off unless asked for."""

    provider: str
    options: OrtOptions = DEFAULTS
    distributions = DISTRIBUTIONS
    tf32_row = Row(4.0 * TF32, "TF32 rounds 2^13 times as coarsely; not measured on a device")

    @property
    def row(self) -> Row:
        return ROWS[self.provider]

    @property
    def tf32(self) -> bool:
        """Whether TF32 is switched on."""
        return self.provider == CUDA_PROVIDER and self.options.provider.get("use_tf32", "0") != "0"

    def configured(self, **settings: Any) -> OrtRuntime:
        """Return this runtime with some of its ``OrtOptions`` changed.

        UsageError, in one line, for a value that is none, or an option of a provider without any.
        """
        try:
            options = replace(self.options, **settings)
        except ValueError as error:
            raise UsageError(str(error)) from None
        if options.provider and self.provider == CPU_PROVIDER:
            raise UsageError(f"{CPU_PROVIDER} has no options")
        return replace(self, options=options)

    def loader(self, settings: Settings) -> Loader:
        """Return the code that runs a model with this provider and ``settings``."""
        defaults = {"use_tf32": "0"} if self.provider == CUDA_PROVIDER else {}
        return loader(self.provider, {**defaults, **settings.provider}, settings)

    def check(self) -> str | None:
        """Return None where available; CUDA is looked for before anything is imported."""
        if self.provider == CUDA_PROVIDER:
            return self._check_cuda()
        if find_spec("onnxruntime") is None:
            return "onnxruntime is not installed: pip install onnxruntime"
        return _check_recorder()

    def version(self) -> str:
        """Return the version of the installed distribution; empty where there is none."""
        return next(iter(installed(DISTRIBUTIONS).values()), "")

    def prepare(self, path: str) -> OrtSession:
        """Load a model file with the runtime's options.

        LoadError where ONNX Runtime refuses it or leaves the provider out.
        """
        import onnxruntime

        options = silent_options(onnxruntime)
        self.options.apply(options, onnxruntime)
        providers: list[Any] = [CPU_PROVIDER]
        if self.provider == CUDA_PROVIDER:
            _preload(onnxruntime)
            providers.insert(0, (CUDA_PROVIDER, {"use_tf32": "0", **self.options.provider}))
        session = opened(onnxruntime, path, options, providers, self.provider)
        return OrtSession(session, self.provider, onnxruntime.__version__, self.options, path)

    def _check_cuda(self) -> str | None:
        if reason := no_cuda_device():
            return reason
        versions = installed(DISTRIBUTIONS)
        if len(versions) > 1:
            return (
                f"{' and '.join(versions)} are both installed and overwrite each other: "
                f"pip uninstall {' '.join(versions)}, then {INSTALL_CUDA}"
            )
        if find_spec("onnxruntime") is None:
            return f"onnxruntime is not installed: {INSTALL_CUDA}"
        import onnxruntime

        available = onnxruntime.get_available_providers()
        if CUDA_PROVIDER not in available:
            return (
                f"onnxruntime {onnxruntime.__version__} is built without {CUDA_PROVIDER}: "
                f"pip uninstall {' '.join(versions) or 'onnxruntime'}, then {INSTALL_CUDA}"
            )
        _preload(onnxruntime)
        return missing_libraries(cuda_libraries(onnxruntime.cuda_version)) or _check_recorder()


def loader(provider: str, provider_options: Mapping[str, str], settings: Settings) -> Loader:
    """Return the code that opens a session of a provider in a script."""
    options = ""
    if settings.optimization:
        level = f"onnxruntime.GraphOptimizationLevel.{LEVELS[settings.optimization]}"
        options += f"options.graph_optimization_level = {level}\n"
    if settings.intra_op_threads:
        options += f"options.intra_op_num_threads = {settings.intra_op_threads}\n"
    providers = [(provider, dict(provider_options))]
    return Loader(
        "onnxruntime",
        "import onnxruntime",
        f"options, providers = onnxruntime.SessionOptions(), {providers}\n{options}"
        "session = onnxruntime.InferenceSession(here / 'model.onnx', options, providers)",
        "session.run(None, inputs), [o.name for o in session.get_outputs()]",
    )


def silent_options(onnxruntime: Any) -> Any:
    """Return session options without messages, and with a record of where each node is placed."""
    onnxruntime.set_default_logger_severity(_SILENT)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _SILENT
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def opened(
    onnxruntime: Any, path: str, options: Any, providers: Sequence[Any], required: str
) -> Any:
    """Return a session with ``providers``; LoadError where it is refused or lacks ``required``."""
    try:
        session = onnxruntime.InferenceSession(
            path, options, providers=providers, enable_fallback=0
        )
    except Exception as error:
        raise LoadError(shortened(error)) from error
    loaded = session.get_providers()
    if required not in loaded:
        raise LoadError(f"{required} was asked for, the session fell back to {', '.join(loaded)}")
    return session


def _preload(onnxruntime: Any) -> None:
    """Load CUDA and cuDNN from the installed wheels, if any; it prints what it cannot find."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(RuntimeError):
        onnxruntime.preload_dlls()


def _check_recorder() -> str | None:
    """Return a reason where the installed version does not record where a node runs.

    The interface came with 1.24.1: https://github.com/microsoft/onnxruntime/pull/26781
    """
    for name, number in installed(DISTRIBUTIONS).items():
        release = tuple(int(part) for part in re.findall(r"\d+", number)[:2])
        if release < (1, 24):
            return f"{name} {number} cannot tell where a node runs: pip install '{name}>=1.24.1'"
    return None


CPU = OrtRuntime(CPU_PROVIDER)
CUDA = OrtRuntime(CUDA_PROVIDER)
