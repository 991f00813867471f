"""What is stored of ONNX Runtime's placements, and what the lint and a session make of it."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from onnx import helper

from ci import placement_tables
from harness.graphs.inference import gather
from harness.linting import linter
from harness.placing import tables
from harness.placing.verdict import CPU_PROVIDER, CUDA_PROVIDER, Placement, differences
from harness.runtimes.ort import OrtSession
from tests.support.small_graphs import cell, saved

CUDA, CPU = CUDA_PROVIDER, CPU_PROVIDER
KERNELS = {
    "1.9.0": {"LSTM": {"7": {"float32": True}, "22": {"float32": False}}, "Pad": {"13": None}},
    "1.10.2": {
        "LSTM": {"7": {"float32": True}, "22": {"float32": True}},
        "Pad": {"13": {"float32": True, "int64": False}, "18": {"float32": True, "bool": True}},
        "Det": {"11": {"float32": False}},
    },
}
FORMS = {"GRU": {"linear_before_reset=0": False, "linear_before_reset=1": True}}


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """Two small tables in the place of the stored ones."""
    for version, kernels in KERNELS.items():
        table = {"versions": {version: "12.8"}, "forms": FORMS, "kernels": kernels}
        (tmp_path / f"{version}.json").write_text(json.dumps(table))
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    tables.stored.cache_clear()
    yield tables.stored()
    tables.stored.cache_clear()


def test_tables_come_in_the_order_of_their_versions(stored):
    assert [table.onnxruntime for table in stored] == ["1.9.0", "1.10.2"]
    assert tables.nearest("1.10.7").onnxruntime == "1.10.2"
    assert tables.nearest("1.1.0") is None


def test_the_definition_in_force_at_an_opset_decides(stored):
    old, new = stored
    assert old.kernel("LSTM", 21) == {"float32": True}
    assert old.kernel("LSTM", 30) == {"float32": False}
    assert (new.on_cuda("Pad", 14), new.on_cuda("Pad", 18)) == (None, True)
    assert new.on_cuda("Det", 18) is False
    assert old.kernel("Pad", 18) == old.kernel("LSTM", 6) == old.kernel("Abs", 18) == {}
    assert old.on_cuda("Pad", 18) is None


def test_versions_without_a_kernel_are_named(stored):
    assert tables.lacking("LSTM", 21) == []
    assert tables.versions_text(tables.lacking("LSTM", 22)) == "1.9.0 (CUDA 12)"
    assert tables.versions_text(stored) == "1.9.0 (CUDA 12), 1.10.2 (CUDA 12)"
    assert tables.highest_opset(["LSTM"]) == 21


def test_versions_that_follow_one_another_are_a_range(monkeypatch):
    four = tuple(tables.Table(f"1.{n}.0", "12.8", {}, {}) for n in range(4))
    monkeypatch.setattr(tables, "stored", lambda: four)
    assert tables.versions_text(four[1:]) == "1.1.0 (CUDA 12) to 1.3.0 (CUDA 12)"
    assert tables.versions_text(four[::2]) == "1.0.0 (CUDA 12), 1.2.0 (CUDA 12)"


def test_a_trait_without_a_kernel_overrules_the_operator():
    kernels = {"GRU": {7: {"float32": True}}}
    table = tables.Table("1", "12.8", kernels, FORMS)
    nodes = [cell(linear_before_reset=n).graph.node[0] for n in (0, 1)]
    assert [table.predicted(node, 18) for node in nodes] == [False, True]
    assert table.predicted(cell("RNN").graph.node[0], 18) is None


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (helper.make_node("LSTM", ["x", "w", "r"], ["y"]), {"direction=forward"}),
        (
            helper.make_node("LSTM", [*"xwrb", "", "", "", "p"], ["y"], layout=1, clip=1.0),
            {"direction=forward", "P", "layout=1", "clip"},
        ),
        (
            helper.make_node(
                "GRU",
                [*"xwrbs"],
                ["y"],
                direction="bidirectional",
                activations=["Relu", "Tanh"] * 2,
            ),
            {
                "direction=bidirectional",
                "sequence_lens",
                "linear_before_reset=0",
                "activations=other",
            },
        ),
        (
            helper.make_node("RNN", ["x", "w", "r"], ["y"], activations=["Relu"]),
            {"direction=forward", "activations=relu"},
        ),
        (
            helper.make_node(
                "LSTM", ["x", "w", "r"], ["y"], activations=["sigmoid", "Tanh", "tanh"]
            ),
            {"direction=forward"},
        ),
    ],
)
def test_traits_are_what_a_node_has_beside_its_defaults(node, expected):
    assert set(tables.traits(node)) == expected


def test_what_the_stored_tables_say_of_recurrent_nodes():
    by_version = {table.onnxruntime: table for table in tables.stored()}
    assert {"1.24.4", "1.26.0", "1.31.0"} <= set(by_version)
    for version, table in by_version.items():
        twelve = table.cuda.startswith("12")
        for op_type in ("LSTM", "GRU", "RNN"):
            assert table.kernel(op_type, 18)["float32"], (version, op_type)
        assert table.kernel("LSTM", 22)["float32"] is not twelve, version
        assert table.fallen("GRU", ["linear_before_reset=0"]), version
        assert not table.fallen("GRU", ["linear_before_reset=1", "sequence_lens"]), version
        assert table.kernel("Pad", 18)["float32"], version
        assert table.kernel("Pad", 18)["int64"] is False, version


def test_the_lint_names_the_versions_and_the_trait(stored):
    rules = {f.rule: f for f in linter.run(gather(cell("LSTM", 22), {}))}
    assert rules["recurrent-opset"].found.endswith("ONNX Runtime 1.9.0 (CUDA 12)")
    assert rules["recurrent-opset"].remedy == "export at opset 21 or lower"
    assert "recurrent-on-cpu" not in rules
    rules = {f.rule: f for f in linter.run(gather(cell("GRU"), {}))}
    assert rules["recurrent-on-cpu"].found.startswith("has linear_before_reset=0: runs on the CPU")
    assert "recurrent-opset" not in rules
    older = linter.run(gather(cell("LSTM", 21), {}))
    assert "recurrent-opset" not in {f.rule for f in older}
    fine = linter.run(gather(cell("GRU", linear_before_reset=1), {}))
    assert "recurrent-on-cpu" not in {f.rule for f in fine}


def test_a_prediction_is_by_operator_and_name(stored, tmp_path):
    table = tables.Table(
        "1", "12.8", {"GRU": {7: {"float32": True}}, "Sqrt": {13: {"a": 1}}}, FORMS
    )
    path = saved(tmp_path / "m.onnx", cell())
    assert tables.predictions(str(path), table) == {("GRU", "cell"): False, ("Sqrt", "root"): True}


def test_differences_leave_out_shape_arithmetic_and_what_is_unknown():
    predicted = {
        ("GRU", "a"): True,
        ("GRU", "b"): False,
        ("Gather", "c"): True,
        ("LSTM", "d"): True,
        ("Gather", "e"): False,
        ("Gather", "g"): True,
    }
    lines = differences(
        [
            Placement(CPU, "GRU", "a"),
            Placement(CUDA, "GRU", "b"),
            Placement(CPU, "Gather", "c"),
            Placement(CUDA, "LSTM", "d"),
            Placement(CUDA, "Gather", "e"),
            Placement(CPU, "Foo", "f"),
            Placement(CPU, "Gather", "g"),
        ],
        predicted,
        {("Gather", "c"): True, ("Gather", "g"): False},
    )
    assert lines == [
        f"GRU 'a' on {CPU}, predicted on {CUDA}",
        f"GRU 'b' on {CUDA}, predicted on {CPU}",
        f"Gather 'e' on {CUDA}, predicted on {CPU}",
        f"Gather 'g' on {CPU}, predicted on {CUDA}",
    ]


class CudaSession:
    """What a session says that put a GRU on CUDA."""

    def get_inputs(self):
        return []

    get_outputs = get_inputs

    def get_providers(self):
        return [CUDA, CPU]

    def get_provider_options(self):
        return {CUDA: {}}

    def get_provider_graph_assignment_info(self):
        node = SimpleNamespace(op_type="GRU", name="cell")
        return [SimpleNamespace(ep_name=CUDA, get_nodes=lambda: [node])]


def test_a_cuda_session_tells_how_it_differs_from_the_stored_answers(tmp_path):
    path = str(saved(tmp_path / "m.onnx", cell()))

    def evidence(version, provider=CUDA):
        return OrtSession(CudaSession(), provider, version, path=path).evidence()

    predicted = evidence("1.31.0")
    assert predicted["placement_predicted_by"] == "1.31.0 (CUDA 13)"
    assert predicted["placement_differs"] == [f"GRU 'cell' on {CUDA}, predicted on {CPU}"]
    unpredicted = evidence("1.2.0")
    assert unpredicted["placement_predicted_by"] is None
    assert "placement_differs" not in unpredicted
    assert "placement_predicted_by" not in evidence("1.31.0", CPU)


def test_versions_that_answer_alike_share_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "FOLDER", tmp_path)
    kernels = KERNELS["1.10.2"]

    def store(version, answers):
        versions = SimpleNamespace(onnxruntime=version, cuda="12.8")
        placement_tables.stored(versions, {"forms": FORMS, "kernels": answers})
        tables.stored.cache_clear()
        since = {t.onnxruntime: "22" if 22 in t.kernels["LSTM"] else "7" for t in tables.stored()}
        return sorted(path.stem for path in tmp_path.iterdir()), since

    older = {**kernels, "LSTM": {"7": {"float32": True}}}
    assert store("1.10.2", kernels) == (["1.10.2"], {"1.10.2": "22"})
    assert store("1.9.0", kernels) == (["1.9.0"], {"1.9.0": "22", "1.10.2": "22"})
    assert store("1.9.0", older) == (["1.10.2", "1.9.0"], {"1.9.0": "7", "1.10.2": "22"})
    assert store("1.10.2", older) == (["1.9.0"], {"1.9.0": "7", "1.10.2": "7"})
    tables.stored.cache_clear()
