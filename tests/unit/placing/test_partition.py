"""The partitioner and ``python -m harness.placement``; the last part asks ONNX Runtime itself."""

from __future__ import annotations

import ctypes
import io
import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from harness import placement
from harness.commands.run import ended
from harness.core.errors import UnavailableError, UsageError
from harness.placing import answer as placements
from harness.placing import child, partition, shim, tables
from harness.placing.verdict import CPU_PROVIDER, CUDA_PROVIDER, Placement
from tests.support import planted_partition
from tests.support.small_graphs import cell, saved

CUDA, CPU = CUDA_PROVIDER, CPU_PROVIDER


@pytest.fixture
def call(capsys):
    def run(*flags):
        code = ended(placement.main, [str(flag) for flag in flags])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


LOG = """\
[V:onnxruntime:, session_state.cc:1578 VerifyEachNodeIsAssignedToAnEp] Node placements
[V:onnxruntime:, session_state.cc:1588 VerifyEachNodeIsAssignedToAnEp]  Node(s) placed on \
[CPUExecutionProvider]. Number of nodes: 3
[V:onnxruntime:, session_state.cc:1591 VerifyEachNodeIsAssignedToAnEp]   GRU (cell)
[V:onnxruntime:, session_state.cc:1591 VerifyEachNodeIsAssignedToAnEp]   Acos (a (b))
[V:onnxruntime:, session_state.cc:1591 VerifyEachNodeIsAssignedToAnEp]   Cast \
(InsertedPrecisionFreeCast_x)
[V:onnxruntime:, session_state.cc:1588 VerifyEachNodeIsAssignedToAnEp]  Node(s) placed on \
[CUDAExecutionProvider]. Number of nodes: 2
[V:onnxruntime:, session_state.cc:1591 VerifyEachNodeIsAssignedToAnEp]   MemcpyToHost (Memcpy)
[V:onnxruntime:, session_state.cc:1591 VerifyEachNodeIsAssignedToAnEp]   Sqrt (root)
"""


def test_nodes_that_only_the_log_lists_are_added():
    assert list(child.unrecorded(io.StringIO(LOG), {"cell"})) == [[CPU, "Acos", "a (b)"]]


BOTH = [[CUDA, "Sqrt", "root"], [CPU, "GRU", "cell"], [CPU, "Acos", "a (b)"]]


class Capi:
    """Stands in for ONNX Runtime's module: one node, and a creation that may fail."""

    def __init__(self, refusals, fails=True, providers=(CUDA, CPU)):
        self.refusals, self.fails, self.providers = refusals, fails, providers

    def SessionOptions(self):  # noqa: N802
        return SimpleNamespace(add_session_config_entry=lambda key, value: None)

    def InferenceSession(self, *arguments):  # noqa: N802
        return self

    def initialize_session(self, *arguments):
        self.refusals.value = self.fails is True
        if self.fails:
            raise RuntimeError("the reason")

    def get_providers(self):
        return self.providers

    def get_provider_graph_assignment_info(self):
        node = SimpleNamespace(op_type="Sqrt", name="root")
        return [SimpleNamespace(ep_name=CUDA, get_nodes=lambda: [node])]


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        ({}, {"nodes": BOTH}),
        ({"fails": False}, {"nodes": BOTH}),
        ({"fails": "otherwise"}, {"error": "the reason"}),
        ({"providers": (CPU,)}, {"error": f"{CUDA} is not loaded"}),
    ],
)
def test_a_session_that_fails_for_want_of_memory_has_been_partitioned(monkeypatch, how, expected):
    refusals = ctypes.c_int(7)
    monkeypatch.setattr(child.ctypes, "c_int", SimpleNamespace(in_dll=lambda *_: refusals))
    assert child.partition(Capi(refusals, **how), None, io.StringIO(LOG), "m.onnx") == expected


def test_functions_and_libraries_are_read_from_the_provider():
    provider = b"\0__cudaLaunchKernel\0cudnnCreate\0cumulative\0libcudart.so.12\0libm.so.6\0_cuX\0"
    assert shim.functions(provider) == ["__cudaLaunchKernel", "cudaLaunchKernel", "cudnnCreate"]
    assert shim.libraries(provider) == ["libcudart.so.12", "libcudnn.so", "libcudnn.so.9"]


def script(path: Path, text: str) -> Path:
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)
    return path


def test_a_compiler_that_fails_leaves_nothing(tmp_path, monkeypatch):
    compiler = script(tmp_path / "cc", "import sys; sys.exit('no stdlib.h\\nand more')")
    monkeypatch.setenv("CC", str(compiler))
    (tmp_path / "provider.so").write_bytes(b"\0cudaMalloc\0")
    with pytest.raises(UnavailableError, match=r"cc cannot build the placement's library: no std"):
        shim.built(tmp_path / "provider.so", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """An ONNX Runtime with a CUDA provider that a compiler and a child of ours stand in for."""
    library = tmp_path / "packages/onnxruntime/capi/libonnxruntime_providers_cuda.so"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"\0cudaMalloc\0libcudart.so.12\0")
    monkeypatch.setenv("CC", str(script(tmp_path / "cc", "")))

    def plant(function):
        monkeypatch.setattr(partition.child, "partition_all", function)
        return lambda *models: partition.partition(
            [Path(model) for model in models], tmp_path / "packages", tmp_path / "cache"
        )

    return plant


def test_nothing_that_lies_in_the_current_folder_is_loaded(installed, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    monkeypatch.chdir(tmp_path)
    used = []

    def built(provider, cache):
        used.append(cache)
        raise UnavailableError("no compiler")

    monkeypatch.setattr(shim, "built", built)
    with pytest.raises(UnavailableError, match="no compiler"):
        partition.partition([], tmp_path / "packages")
    place = tmp_path / "user/onnx-sequence-harness/placement"
    assert used == [place]
    assert place.stat().st_mode & 0o777 == 0o700
    place.chmod(0o722)
    with pytest.raises(UsageError, match="may be written by others; expected a folder of your own"):
        partition.partition([], tmp_path / "packages")
    assert used == [place]


def test_a_model_that_ends_the_process_is_told_and_the_others_answered(installed):
    versions, placed = installed(planted_partition.answers)("a", "dies", "b", "dies2")
    assert str(versions) == "ONNX Runtime 1.2, built for CUDA 12.8"
    assert [p.nodes[0].node if p.nodes else p.error for p in placed] == [
        "a",
        "the partitioner's process ended with signal SIGABRT",
        "b",
        "the partitioner's process ended with signal SIGABRT",
    ]


def test_an_onnx_runtime_that_does_not_start_is_unavailable(installed):
    with pytest.raises(UnavailableError, match=r"does not start .* exit code 1: ImportError: x"):
        installed(planted_partition.never_starts)("a")


def test_another_onnx_runtime_without_cuda_is_unavailable(tmp_path):
    with pytest.raises(
        UnavailableError, match=r"is built without CUDA .* pip uninstall onnxruntime, then"
    ):
        partition.provider_library(tmp_path)


def test_without_onnx_runtime_the_exit_code_is_3(call, tmp_path, monkeypatch):
    monkeypatch.setattr(partition, "find_spec", lambda name: None)
    code, out, err = call(saved(tmp_path / "m.onnx", cell()))
    assert (code, out) == (3, "")
    assert err == ("error: onnxruntime is not installed: pip install onnxruntime-gpu\n")


def test_without_a_compiler_the_exit_code_is_3(call, tmp_path, monkeypatch):
    (tmp_path / "provider.so").write_bytes(b"")
    monkeypatch.setattr(partition, "provider_library", lambda packages: tmp_path / "provider.so")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    code, _, err = call(saved(tmp_path / "m.onnx", cell()))
    assert code == 3
    assert err.startswith("error: no C compiler (cc, gcc, clang), which the placement needs once")


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("my-cc", ["my-cc"]),
        ("my-cc -O2 -DA='b c'", ["my-cc", "-O2", "-DA=b c"]),
        ("ccache my-cc", ["ccache", "my-cc"]),
        (" ", ["cc"]),
    ],
)
def test_a_compiler_may_be_given_with_its_flags(tmp_path, monkeypatch, command, expected):
    for name in ("cc", "my-cc", "ccache"):
        (tmp_path / name).write_text('#!/bin/sh\nprintf "%s\\n" "$@" >&2; exit 1\n')
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CC", command)
    program, *flags = shim.compiler()
    assert [Path(program).name, *flags] == expected
    (tmp_path / "provider.so").write_bytes(b"")
    with pytest.raises(UnavailableError, match="cannot build the placement's library") as caught:
        shim.built(tmp_path / "provider.so", tmp_path / "cache")
    assert str(caught.value).endswith(f": {[*flags, '-shared'][0]}")


def test_a_compiler_that_is_no_command_or_not_there_is_told(monkeypatch):
    monkeypatch.setenv("CC", "gcc 'x")
    with pytest.raises(UsageError, match=r"^CC=\"gcc 'x\" is no command: No closing quotation$"):
        shim.compiler()
    monkeypatch.setenv("CC", "no-such-cc -O2")
    with pytest.raises(UnavailableError, match=r"^no C compiler \(no-such-cc\), which"):
        shim.compiler()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["missing.onnx"], "missing.onnx: No such file or directory; expected an ONNX model"),
        (["junk.onnx"], "junk.onnx is not a readable ONNX model"),
        (["empty.onnx"], "empty.onnx is not an ONNX model, or is cut short"),
        (["m.onnx", "--opset", "18,x"], "--opset 'x': expected opsets from 1 to "),
        (["m.onnx", "--opset", "0"], "--opset '0': expected opsets from 1 to "),
        (["m.onnx", "--opset", "3"], "m.onnx cannot be converted to opset 3 ("),
    ],
)
def test_an_unusable_call_or_file_ends_with_2(call, tmp_path, monkeypatch, flags, message):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path / "m.onnx", cell())
    (tmp_path / "junk.onnx").write_bytes(b"junkjunk")
    (tmp_path / "empty.onnx").write_bytes(b"")
    code, out, err = call(*flags)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


def measured() -> onnx.ModelProto:
    """``cell`` with a node "i" that takes a shape."""
    model = cell()
    model.graph.node.append(helper.make_node("Shape", ["x"], ["size"], "i"))
    return model


def answering(monkeypatch, *nodes, error=""):
    versions = partition.Versions("1.2", "12.8")
    placed = partition.PlacedNodes(tuple(Placement(*node) for node in nodes), error)
    monkeypatch.setattr(placements, "partition", lambda files: (versions, [placed for _ in files]))


def test_recurrent_nodes_off_cuda_are_told_first(call, tmp_path, monkeypatch):
    nodes = [(CUDA, "Sqrt", "s"), (CPU, "Shape", "i"), (CPU, "Det", "d"), (CPU, "GRU", "g")]
    answering(monkeypatch, *nodes)
    path = saved(tmp_path / "m.onnx", measured())
    code, out, _ = call(path)
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert code == 1
    assert lines == [
        f"{path} at opset 18, ONNX Runtime 1.2, built for CUDA 12.8",
        f"{CPU} GRU g",
        f"{CPU} Det d",
        f"{CPU} Shape i",
        f"{CUDA} Sqrt s",
        f"3 on {CPU}: Det 1, GRU 1, Shape 1",
        f"1 on {CUDA}: Sqrt 1",
        f"2 of 4 nodes not on {CUDA}: GRU 'g' on {CPU}, Det 'd' on {CPU}",
    ]


def test_shape_arithmetic_may_stay_and_every_opset_is_answered(call, tmp_path, monkeypatch):
    answering(monkeypatch, (CUDA, "Sqrt", "s"), (CPU, "Shape", "i"))
    code, out, _ = call(saved(tmp_path / "m.onnx", measured()), "--opset", "18,22", "--json")
    report = json.loads(out)
    assert code == 0
    assert (report["schema"], report["onnxruntime"], report["cuda"]) == (1, "1.2", "12.8")
    assert [answer["opset"] for answer in report["placements"]] == [18, 22]
    assert report["placements"][0]["nodes_by_provider"] == {CPU: {"Shape": 1}, CUDA: {"Sqrt": 1}}
    assert report["placements"][0]["nodes"][0] == {"provider": CPU, "op_type": "Shape", "node": "i"}


def test_a_model_that_onnx_runtime_refuses_ends_with_2(call, tmp_path, monkeypatch):
    answering(monkeypatch, error="no such operator")
    code, out, err = call(saved(tmp_path / "m.onnx", cell()))
    assert (code, out) == (2, "")
    assert err.endswith("m.onnx at opset 18: no such operator\n")


def without_libraries() -> str:
    try:
        partition.provider_library()
        shim.compiler()
    except UnavailableError as error:
        return str(error)
    return ""


real = pytest.mark.skipif(bool(without_libraries()), reason=without_libraries() or "available")


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What ONNX Runtime's partitioner says of small models."""
    folder = tmp_path_factory.mktemp("placement")
    renamed = cell("GRU", linear_before_reset=1)
    renamed.graph.node[1].op_type = "Acosh"
    half = cell("GRU", dtype=np.float16, linear_before_reset=1)
    half.graph.node[1].op_type = "Acosh"
    refused = cell()
    refused.graph.node[1].op_type = "Sqr"
    weightless = cell("LSTM")
    for tensor in weightless.graph.initializer:
        value = helper.make_tensor_value_info(tensor.name, TensorProto.FLOAT, tensor.dims)
        weightless.graph.input.append(value)
    del weightless.graph.initializer[:]
    models = {
        "after": cell("GRU", linear_before_reset=1),
        "before": cell("GRU"),
        "no kernel": renamed,
        "half": half,
        "refused": refused,
        "no constants": weightless,
    }
    files = [saved(folder / f"{i}.onnx", model) for i, model in enumerate(models.values())]
    _, placed = partition.partition(files, cache=folder / "cache")
    return dict(zip(models, placed, strict=True))


@real
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("after", {"cell": CUDA, "root": CUDA}),
        ("before", {"cell": CPU, "root": CUDA}),
        ("no kernel", {"cell": CUDA, "root": CPU}),
        ("half", {"cell": CUDA, "root": CPU}),
        ("no constants", {"cell": CUDA, "root": CUDA}),
    ],
)
def test_the_partitioner_answers(answers, name, expected):
    assert not answers[name].error
    assert {node.node: node.provider for node in answers[name].nodes} == expected


def graph(inputs, *nodes, **constants):
    main = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(n, k, list(dims)) for n, (k, dims) in inputs.items()],
        [helper.make_empty_tensor_value_info(nodes[-1].output[0])],
        [onnx.numpy_helper.from_array(np.array(v), name) for name, v in constants.items()],
    )
    return helper.make_model(main, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@real
@pytest.mark.parametrize("name", ["data", ""])
@pytest.mark.parametrize(
    ("op_type", "kind", "number"),
    [
        ("Max", TensorProto.INT8, 2),
        ("Mod", TensorProto.UINT8, 2),
        ("Equal", TensorProto.INT8, 2),
        ("ReduceProd", TensorProto.INT64, 1),
    ],
)
def test_data_on_the_cpu_is_no_shape_arithmetic(call, tmp_path, op_type, kind, number, name):
    node = helper.make_node(op_type, [*"ab"][:number], ["y"], name)
    path = saved(tmp_path / "m.onnx", graph(dict.fromkeys("ab", (kind, "NM")), node))
    code, out, _ = call(path)
    assert code == 1
    assert f"1 of 1 nodes not on {CUDA}: {op_type} {name!r} on {CPU}" in out


@real
def test_what_a_transposition_moved_past_a_shape_leaves_is_shape_arithmetic(call, tmp_path):
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], "t", perm=[1, 0, 2]),
        helper.make_node("Shape", ["t"], ["s"], "s"),
        helper.make_node("Slice", ["s", "zero", "two", "zero"], ["two_sizes"], "first"),
        helper.make_node("Concat", ["two_sizes", "one"], ["sizes"], "sizes", axis=0),
        helper.make_node("Expand", ["one_half", "sizes"], ["y"], "filled"),
    ]
    model = graph(
        {"x": (TensorProto.FLOAT, "NTC")},
        *nodes,
        zero=[0],
        one=[1],
        two=[2],
        one_half=np.float32(0.5),
    )
    code, out, _ = call(saved(tmp_path / "m.onnx", model), "--json")
    nodes = json.loads(out)["placements"][0]["nodes"]
    assert ("Gather", CPU) in [(n["op_type"], n["provider"]) for n in nodes], nodes
    assert code == 0


@real
def test_the_partitioner_says_why_it_refuses(answers):
    assert "No Op registered for Sqr" in answers["refused"].error
    assert answers["refused"].nodes == ()


@real
def test_the_stored_table_is_what_the_partitioner_says(answers, tmp_path):
    versions, _ = partition.partition([], cache=tmp_path / "cache")
    table = tables.nearest(versions.onnxruntime)
    assert table is not None, f"no stored table of ONNX Runtime {versions.onnxruntime}"
    for name, attributes in (("after", {"linear_before_reset": 1}), ("before", {})):
        node = cell("GRU", **attributes).graph.node[0]
        (placed,) = (n for n in answers[name].nodes if n.node == "cell")
        assert table.predicted(node, 18) is (placed.provider == CUDA)


def test_names_in_a_file_are_shown_and_not_obeyed(call, monkeypatch):
    answer = SimpleNamespace(opset=18, verdict="", lines=lambda: ["::error::a\n\x1b[2K", "b"])
    monkeypatch.setattr(placements, "of_file", lambda file, opsets: ("ort 1", [answer]))
    code, out, _ = call("m\r.onnx")
    assert (code, out) == (0, "m\\r.onnx at opset 18, ort 1\n  \\x3a:error::a\\n\\x1b[2K\n  b\n")
