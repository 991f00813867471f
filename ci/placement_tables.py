"""Writes harness/placing/kernels/: where ONNX Runtime's CUDA provider takes each operator.

Usage: python ci/placement_tables.py [VERSION ...]. Without a version, asks the installed
onnxruntime-gpu; else each version of it from the package index, one after the other, in a folder
that is deleted afterwards (about 270 MB to download each). No GPU and no CUDA libraries are needed.
The models of one node are those of onnx's own operator cases, retyped, at every opset from 13 to
the newest that ONNX Runtime 1.31 loads. Needs a C compiler.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import onnx
from onnx import TensorProto, helper

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness.commands.run import Parser, ended
from harness.core.errors import CONFORMS, UsageError
from harness.exporters import OPSETS
from harness.placing import partition, tables
from harness.placing.verdict import CUDA_PROVIDER

OPSETS_ASKED = range(13, OPSETS.stop)
FORMS_OPSET = 18
FEATURES, UNITS, STEPS, BATCH = 3, 4, 5, 2
MOST = 4
REFUSED = ("Load model", "Type Error", "This is an invalid model")
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
PLAIN = {"GRU": {"linear_before_reset": 1}}
"""What a recurrent node needs to have a CUDA kernel."""

TENSOR_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int32": TensorProto.INT32,
    "int64": TensorProto.INT64,
    "bool": TensorProto.BOOL,
}


@dataclass(frozen=True)
class Question:
    """A model of one node, and where its answer goes."""

    op_type: str
    since: int
    dtype: str
    model: onnx.ModelProto


def main(argv: list[str] | None = None) -> int:
    parser = Parser(description=__doc__.splitlines()[0])
    parser.add_argument("version", nargs="*", help="of onnxruntime-gpu (default: the installed)")
    args = parser.parse_args(argv)
    questions = list(operator_questions())
    forms = [
        Question(op_type, FORMS_OPSET, trait, model)
        for op_type in tables.RECURRENT
        for trait, model in recurrent_forms(op_type)
    ]
    print(f"{len(questions)} models of one node, {len(forms)} recurrent forms", file=sys.stderr)
    for version in args.version or [""]:
        with tempfile.TemporaryDirectory() as folder:
            packages = fetched(version, Path(folder) / "packages") if version else None
            print(write(questions, forms, Path(folder), packages), file=sys.stderr)
    return CONFORMS


def fetched(version: str, target: Path) -> Path:
    """Install one version of onnxruntime-gpu, without its dependencies, in ``target``."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--target", str(target)]
    done = subprocess.run([*command, f"onnxruntime-gpu=={version}"], check=False)
    if done.returncode:
        raise UsageError(f"onnxruntime-gpu=={version} cannot be installed")
    return target


def write(
    questions: list[Question], forms: list[Question], folder: Path, packages: Path | None
) -> Path:
    """Ask one ONNX Runtime and write its table; the file's path."""
    paths = []
    for number, question in enumerate([*questions, *forms]):
        paths.append(folder / f"{number}.onnx")
        paths[-1].write_bytes(question.model.SerializeToString())
    versions, placed = partition.partition(paths, packages, folder / "shim")
    kernels: dict[str, dict[str, dict[str, bool] | None]] = {}
    for question, answer in zip(questions, placed, strict=False):
        answers = kernels.setdefault(question.op_type, {}).setdefault(str(question.since), {})
        placed_on_cuda = on_cuda(question.model, answer)
        if placed_on_cuda is not None:
            answers[question.dtype] = answers.get(question.dtype, False) or placed_on_cuda
    for op_type, answers_of in kernels.items():
        every = map(str, versions_of(op_type))
        kernels[op_type] = {since: answers_of.get(since) or None for since in every}
    forms_on_cuda: dict[str, dict[str, bool]] = {}
    for question, answer in zip(forms, placed[len(questions) :], strict=True):
        forms_on_cuda.setdefault(question.op_type, {})[question.dtype] = bool(
            on_cuda(question.model, answer)
        )
    return stored(versions, {"forms": forms_on_cuda, "kernels": kernels})


def stored(versions: partition.Versions, answers: dict[str, dict[str, Any]]) -> Path:
    """Store a version's answers; return the file, which all versions share that answer alike."""
    alike = {versions.onnxruntime: versions.cuda}
    for path in tables.FOLDER.glob("*.json"):
        table = json.loads(path.read_text())
        others = {v: cuda for v, cuda in table["versions"].items() if v != versions.onnxruntime}
        same = {name: table[name] for name in answers} == answers
        if same or others != table["versions"]:
            path.unlink()
            alike |= others if same else {}
            if others and not same:
                _write(others, {name: table[name] for name in answers})
    return _write(alike, answers)


def _write(versions: dict[str, str], answers: dict[str, dict[str, Any]]) -> Path:
    path = tables.FOLDER / f"{min(versions, key=_numbers)}.json"
    path.write_text(dumps(dict(sorted(versions.items(), key=lambda v: _numbers(v[0]))), answers))
    return path


def _numbers(version: str) -> list[int]:
    return [int(part) for part in version.split(".") if part.isdecimal()]


def on_cuda(model: onnx.ModelProto, placed: partition.PlacedNodes) -> bool | None:
    """Return whether all of the node is on CUDA; None where it is refused or computed at once."""
    if placed.error.startswith(REFUSED) or not (placed.nodes or model.graph.input):
        return None
    return bool(placed.nodes) and all(node.provider == CUDA_PROVIDER for node in placed.nodes)


def dumps(versions: dict[str, str], answers: dict[str, dict[str, Any]]) -> str:
    """Return the answers as JSON, a line an operator, and the CUDA of each version."""
    parts = [
        f'"{name}": {{\n'
        + ",\n".join(f'  "{op}": {json.dumps(rows[op])}' for op in sorted(rows))
        + "\n}"
        for name, rows in answers.items()
    ]
    return "{\n" + ",\n".join([f'"versions": {json.dumps(versions)}', *parts]) + "\n}\n"


def versions_of(op_type: str) -> list[int]:
    """Return the opsets that define an operator at one of ``OPSETS_ASKED``."""
    versions = set()
    for opset in OPSETS_ASKED:
        try:
            versions.add(onnx.defs.get_schema(op_type, opset).since_version)
        except onnx.defs.SchemaError:
            continue
    return sorted(versions)


def operator_questions() -> Iterator[Question]:
    """Yield up to four valid models for each operator, version and type."""
    for op_type, cases in operator_cases().items():
        for since in versions_of(op_type):
            for dtype, elem_type in TENSOR_TYPES.items():
                candidates = (retyped(model, since, elem_type) for model in cases)
                for model in islice(filter(valid, candidates), MOST):
                    yield Question(op_type, since, dtype, model)


def operator_cases() -> dict[str, list[onnx.ModelProto]]:
    """Return the models of one node, of ONNX's own operators, among onnx's operator cases."""
    from onnx.backend.test.case.node import collect_testcases

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cases = collect_testcases(None)
    by_operator: dict[str, list[onnx.ModelProto]] = {}
    for case in cases:
        nodes = case.model.graph.node
        if len(nodes) == 1 and nodes[0].domain == "" and not _bodies(nodes[0]):
            by_operator.setdefault(nodes[0].op_type, []).append(case.model)
    plain = {op_type: [recurrent(op_type, PLAIN.get(op_type, {}), set())] for op_type in GATES}
    return by_operator | plain


def retyped(model: onnx.ModelProto, since: int, elem_type: int) -> onnx.ModelProto:
    """Return a model at another opset, with another type wherever the first input's stands."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    copy.ir_version = 10
    del copy.opset_import[:]
    copy.opset_import.append(helper.make_opsetid("", since))
    node = copy.graph.node[0]
    schema = onnx.defs.get_schema(node.op_type, since)
    if not schema.inputs or not copy.graph.input:
        return copy
    kind = schema.inputs[0].type_str
    alike = {
        name
        for names, formal in ((node.input, schema.inputs), (node.output, schema.outputs))
        for i, name in enumerate(names)
        if formal and formal[min(i, len(formal) - 1)].type_str == kind
    }
    for value in (*copy.graph.input, *copy.graph.output):
        if value.name in alike and value.type.HasField("tensor_type"):
            value.type.tensor_type.elem_type = elem_type
    return copy


def valid(model: onnx.ModelProto) -> bool:
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception:  # the checker raises whatever its parts do
        return False
    return True


def recurrent_forms(op_type: str) -> Iterator[tuple[str, onnx.ModelProto]]:
    """Yield one trait each on a node that has a CUDA kernel without it."""
    plain = PLAIN.get(op_type, {})
    default = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}
    attributes: list[dict[str, Any]] = [
        {},
        {"direction": "reverse"},
        {"direction": "bidirectional"},
        {"clip": 5.0},
        {"activation_alpha": [0.1] * len(default[op_type])},
        {"activation_beta": [0.1] * len(default[op_type])},
        {"layout": 1},
    ]
    if op_type == "RNN":
        attributes += [{"activations": [name]} for name in ("Relu", "Sigmoid", "Affine", "Elu")]
    else:
        attributes += [{"activations": ["HardSigmoid", *default[op_type][1:]]}]
    if op_type == "LSTM":
        attributes += [{"input_forget": 1}]
    if op_type == "GRU":
        attributes += [{"linear_before_reset": 0}]
    inputs = [{4}, {5}] + ([{6}, {7}] if op_type == "LSTM" else [])
    without = set(tables.traits(recurrent(op_type, plain, set()).graph.node[0]))
    for changed, extra in [*((a, set()) for a in attributes), *(({}, i) for i in inputs)]:
        model = recurrent(op_type, {**plain, **changed}, extra)
        present = set(tables.traits(model.graph.node[0]))
        plainly = without if not changed and not extra else set()
        for trait in sorted((present - without) or plainly):
            yield trait, model


def recurrent(op_type: str, attributes: dict[str, Any], extra: set[int]) -> onnx.ModelProto:
    """Build a recurrent node over graph inputs; ``extra`` are its optional inputs by place."""
    d = 2 if attributes.get("direction") == "bidirectional" else 1
    g = GATES[op_type]
    batch_first = attributes.get("layout") == 1
    state = [BATCH, d, UNITS] if batch_first else [d, BATCH, UNITS]
    shapes = [
        [BATCH, STEPS, FEATURES] if batch_first else [STEPS, BATCH, FEATURES],
        [d, g * UNITS, FEATURES],
        [d, g * UNITS, UNITS],
        [d, 2 * g * UNITS],
        [BATCH],
        state,
        state,
        [d, 3 * UNITS],
    ]
    last = max(extra, default=3)
    names = [f"i{i}" if i < 4 or i in extra else "" for i in range(last + 1)]
    values = [
        helper.make_tensor_value_info(
            name, TensorProto.INT32 if i == 4 else TensorProto.FLOAT, shapes[i]
        )
        for i, name in enumerate(names)
        if name
    ]
    node = helper.make_node(op_type, names, ["y"], hidden_size=UNITS, **attributes)
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * 4)
    graph = helper.make_graph([node], op_type, values, [output])
    imports = [helper.make_opsetid("", FORMS_OPSET)]
    return helper.make_model(graph, opset_imports=imports, ir_version=10)


def _bodies(node: onnx.NodeProto) -> bool:
    return any(a.type == onnx.AttributeProto.GRAPH for a in node.attribute)


if __name__ == "__main__":
    sys.exit(ended(main))
