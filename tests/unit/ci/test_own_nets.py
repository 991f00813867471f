"""ci.own_nets: what is made of right exports, wrong ones and planted defects."""

import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from ci.architectures import markdown
from ci.architectures import run as architectures
from ci.architectures.table import architectures as every_architecture
from ci.own_nets import honest, run
from ci.own_nets.table import NETS
from harness.goldens import store


def test_every_net_is_named_once_and_is_of_a_kind_in_both_frameworks():
    assert max(Counter(net.id for net in NETS).values()) == 1
    assert min(len({n.kind for n in NETS if n.framework == f}) for f in ("torch", "keras")) >= 10
    assert sum(len(net.exporters) for net in NETS) >= 60


def test_a_right_export_passes_and_a_wrong_declaration_is_told(tmp_path):
    path = tmp_path / "deep" / "rows.json"
    words = ["-k", "torch/pointer", "--runtime", "ort-cpu", "--lengths", "1,5"]
    assert run.main(["honest", *words, "--json", str(path)]) == 0
    rows = {row["exporter"]: row for row in json.loads(path.read_text())}
    assert {name: row["word"] for name, row in rows.items()} == {
        "native": "pass",
        "torch-script": "pass",
        "torch-dynamo": "wrong",
    }
    assert "expected 'time'" in rows["torch-dynamo"]["reason"]


def test_what_a_keras_layer_holds_as_a_tensor_is_no_input(tmp_path):
    pytest.importorskip("tensorflow")
    (net,) = (net for net in NETS if net.id == "keras/adapted")
    (outcome,) = honest.outcomes(net, "native", ["ort-cpu"], ("1,5",), tmp_path / "bundle")
    assert outcome.word == "pass"
    assert outcome.ratio < 1


def test_a_graph_of_other_weights_departs_from_the_golden(tmp_path):
    (net,) = (net for net in NETS if net.id == "torch/running_sum")
    (outcome,) = honest.outcomes(net, "native", ["ort-cpu"], ("1,4",), tmp_path / "bundle")
    assert outcome.word == "pass"
    golden = store.read(tmp_path / "bundle" / "golden")
    assert honest.departure(tmp_path / "bundle" / "model.onnx", golden) == ""
    other = replace(net, name="channels")
    (outcome,) = honest.outcomes(other, "native", ["ort-cpu"], ("1,4",), tmp_path / "other")
    departure = honest.departure(tmp_path / "other" / "model.onnx", golden)
    assert departure.endswith("output has other values in float64")


def test_a_large_planted_defect_is_caught_and_a_tiny_one_is_counted(capsys):
    words = ["-k", "torch/two_inputs native", "--lengths", "1,4"]
    assert run.main(["mutants", *words, "--defect", "last-layer-zeroed,output-negated"]) == 0
    shown = capsys.readouterr().out
    assert "last-layer-zeroed" in shown
    assert "3 caught,    0 missed,    0 equivalent" in shown


@pytest.mark.parametrize("value", [np.nan, 1.0 + 1e-4])
def test_other_values_are_not_close(value):
    expected = np.array([1.0, 2.0, -1e9])
    assert honest._close(expected * (1 + 1e-9), expected)
    assert not honest._close(np.array([value, 2.0, -1e9]), expected)


def test_factories_give_the_same_net_again():
    (net,) = (net for net in NETS if net.id == "torch/chrono")
    first, second = (dict(net.make().named_parameters()) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_hundred_architectures_are_described():
    every = list(every_architecture())
    assert len({(one.framework, one.place) for one in every}) == len(every) >= 100


def measured(exporter, word, by="", reason=""):
    return architectures.Outcome("torch", "ci/f.py:net", "a net", exporter, word, by, reason)


def test_a_table_of_architectures_has_what_was_measured_and_nothing_else():
    refused = measured(
        "default", "refused", reason="no | loop; torch-dynamo ends in: x; torch-script gives y"
    )
    by_another = measured("default", "pass", "torch-script", "a branch")
    rows = {
        (refused,): "| `f:net` | a net | refused | none | refused | no \\| loop |",
        (by_another, measured("torch-dynamo", "fail")): (
            "| `f:net` | a net | refused | torch-dynamo wrong, torch-script conforms"
            " | conforms by torch-script | a branch |"
        ),
        (measured("default", "pass", "native"),): (
            "| `f:net` | a net | conforms | not run | conforms |  |"
        ),
    }
    for found, row in rows.items():
        page = markdown.page(found)
        assert page.splitlines()[-1] == row
        assert "\n1 architectures, " in page
    assert "| `" not in markdown.page([measured("torch-dynamo", "pass")])


def test_a_table_says_what_came_of_running_graphs_beside_their_models():
    alone = measured("default", "pass", "native")
    figures = {"wrong": 0, "worst": 2e-6, "comparisons": 36, "drowned": 4, "unpromised": 5}
    beside = replace(alone, place="ci/f.py:other", eager=figures)
    apart = replace(alone, place="ci/f.py:third", eager={**figures, "wrong": 3, "worst": 0.5})
    page = " ".join(markdown.page([alone, beside]).split())
    assert "1 of the graphs were also run beside the model itself" in page
    assert "36 comparisons" in page
    assert "None of them are apart" in page
    assert "difference of the others is 2.0e-06. Left out are 4 comparisons" in page
    assert "and 5 where the bundle says" in page
    assert "3 of them are apart" in " ".join(markdown.page([beside, apart]).split())
    assert "beside the model itself" not in markdown.page([alone])


def test_what_was_not_run_beside_its_model_is_measured_again_for_that_alone(tmp_path, monkeypatch):
    asked = []

    def outcome(one, exporter, lengths, beside):
        asked.append(beside)
        figures = dict.fromkeys(("wrong", "worst", "drowned", "unpromised"), 0) | {
            "comparisons": 36
        }
        found = measured(exporter, "pass", "native")
        return replace(found, place=one.place, eager=figures if beside else None)

    some = [one for one in every_architecture() if one.name == "Packed"]
    monkeypatch.setattr(architectures, "architectures", lambda: some)
    monkeypatch.setattr(architectures, "outcome", outcome)
    words = ["-k", "Packed", "--exporter", "default", "--json", str(tmp_path / "found.jsonl")]
    for more in ([], [], ["--eager"], ["--eager"], []):
        assert architectures.main([*words, *more, "--docs", str(tmp_path / "page.md")]) == 0
    assert asked == [False, True]
    assert "36 comparisons" in (tmp_path / "page.md").read_text()
