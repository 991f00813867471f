"""tract on the CPU, in a child process: a panic in it ends the process.

Its recurrent layers panic where the batch is a symbol, so every batch size gets its own plan, on
which all lengths run: they stay symbols.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from harness.core import install, operator_errors
from harness.core.environment import version_of
from harness.core.errors import LoadError, RunError, check_input_names, clipped
from harness.core.schema import BATCH, Array, Arrays
from harness.core.tolerance import Row
from harness.graphs import walk
from harness.runtimes.served import ServedSession, in_child

PROVIDER = "tract"
# fmt: off
KINDS = {
    "BOOL": "bool", "INT8": "i8", "INT16": "i16", "INT32": "i32", "INT64": "i64", "UINT8": "u8",
    "UINT16": "u16", "UINT32": "u32", "UINT64": "u64", "FLOAT16": "f16", "FLOAT": "f32",
    "DOUBLE": "f64",
}
# fmt: on
"""tract's names of the element types of ``onnx.TensorProto``."""


def shortened(error: BaseException) -> str:
    """Return tract's message and its causes, outermost first, as one line."""
    lines = [line.strip() for line in str(error).splitlines()]
    text = ": ".join(line for line in lines if line not in ("", "Caused by:"))
    return clipped(text or type(error).__name__)


class TractSession:
    """A model file and its plan for each batch size that has run."""

    def __init__(self, path: str) -> None:
        import onnx

        graph = onnx.load(path, load_external_data=False).graph
        self._path = path
        types = {value.name: value.type.tensor_type for value in walk.inputs(graph)}
        self._dims = {
            name: [dim.dim_param or str(dim.dim_value) for dim in kind.shape.dim]
            for name, kind in types.items()
        }
        self._kinds = {
            name: onnx.TensorProto.DataType.Name(kind.elem_type) for name, kind in types.items()
        }
        self._outputs = [value.name for value in graph.output]
        self._ops = Counter(node.op_type for node in graph.node)
        self._plans: dict[int, tuple[list[str], Any]] = {}
        self._plan(1)

    def run(self, inputs: Arrays) -> list[tuple[str, Array]]:
        """Run one case; RunError where the inputs do not fit or tract fails."""
        check_input_names(inputs, self._dims)
        for name, value in inputs.items():
            if value.ndim != len(self._dims[name]):
                shape = ", ".join(self._dims[name])
                raise RunError(f"input {name}: shape {value.shape} given, [{shape}] expected")
        try:
            names, plan = self._plan(self._batch(inputs))
            values = [value.to_numpy() for value in plan.run([inputs[name] for name in names])]
        except Exception as error:
            raise RunError(shortened(error)) from error
        return list(zip(self._outputs, values, strict=True))

    def evidence(self) -> dict[str, Any]:
        """Return evidence as ONNX Runtime's, of the file's nodes; ``plans`` lists batch sizes."""
        return {
            "providers": [PROVIDER],
            "nodes_by_provider": {PROVIDER: dict(sorted(self._ops.items()))},
            "tf32": False,
            "optimization": "all",
            "fixed_axes": [BATCH],
            "plans": sorted(self._plans),
            "version": version_of("tract"),
        }

    def _batch(self, inputs: Arrays) -> int:
        """Return the size of the first axis called batch; 1 where there is none."""
        batched = ((name, dims) for name, dims in self._dims.items() if BATCH in dims)
        return next((inputs[name].shape[dims.index(BATCH)] for name, dims in batched), 1)

    def _plan(self, batch: int) -> tuple[list[str], Any]:
        """Return the inputs' names in tract's order and a runnable model, for one batch size."""
        if batch not in self._plans:
            import tract

            model = tract.onnx().load(self._path)
            names = [model.input_name(i) for i in range(model.input_count())]
            for number, name in enumerate(names):
                if BATCH in self._dims[name]:
                    dims = [str(batch) if dim == BATCH else dim for dim in self._dims[name]]
                    model.set_input_fact(number, ",".join([*dims, KINDS[self._kinds[name]]]))
            for number in range(model.output_count()):
                model.set_output_fact(number, None)
            self._plans[batch] = names, model.into_model().into_runnable()
        return self._plans[batch]


class Inside:
    """tract inside the child process."""

    def check(self) -> str | None:
        return None if self.version() else f"tract is not installed: {install.line('tract')}"

    def version(self) -> str:
        return version_of("tract")

    def prepare(self, path: str) -> TractSession:
        """Load the model file and plan it for a batch of 1; LoadError where tract refuses."""
        try:
            return TractSession(path)
        except Exception as error:
            raise LoadError(shortened(error)) from error


class TractRuntime(Inside):
    """tract in a child process."""

    row = Row(
        6.0,
        "its Sigmoid and Tanh are good to 2e-7 only, and that adds up: at worst 4.7",
        operators=operator_errors.TRACT,
    )
    distributions = ("tract",)

    def __init__(self) -> None:
        self._served = in_child("harness.runtimes.tract:INSIDE", {"RUST_BACKTRACE": "0"})

    def prepare(self, path: str) -> ServedSession:  # type: ignore[override]
        """Load the model file in the process; LoadError where tract refuses it or panics."""
        return self._served.prepare(path)


INSIDE = Inside()
TRACT = TractRuntime()
