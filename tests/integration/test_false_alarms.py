"""Honest variation of small models raises no alarm; where the tolerance is too small, it does."""

import json
from pathlib import Path

import pytest

from ci import false_alarms, four_way
from harness.core.tolerance import Row
from harness.goldens import store
from harness.runtimes import ort, row

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[2] / "golden" / "sequence_encoder" / "keras"


def test_quick_variation_of_small_models_raises_no_alarm(tmp_path, capsys):
    file = tmp_path / "figures" / "alarms.json"
    assert false_alarms.main(["--quick", "--json", str(file)]) == 0
    report = json.loads(file.read_text())
    assert report["alarms"] == []
    assert report["comparisons"] > 1000
    assert min(count["comparisons"] for count in report["variations"].values()) > 0
    assert 0 < report["runtimes"]["ort-cpu"]["worst_floors"] < row("ort-cpu").k
    assert f"{report['comparisons']:,} honest comparisons, 0 alarms" in capsys.readouterr().out


def test_too_small_a_tolerance_is_an_alarm(monkeypatch, capsys):
    monkeypatch.setitem(ort.ROWS, ort.CPU_PROVIDER, Row(0.01, "planted"))
    assert false_alarms.main(["sequence_encoder", "--quick"]) == 1
    assert "ALARM golden inputs" in capsys.readouterr().out


@pytest.mark.parametrize("k", [None, 0.01])
def test_the_weights_of_both_frameworks_agree_in_both(k, monkeypatch, capsys):
    if k is not None:
        monkeypatch.setitem(ort.ROWS, ort.CPU_PROVIDER, Row(k, "planted"))
    assert four_way.main(["sequence_encoder"]) == (0 if k is None else 1)
    out = capsys.readouterr().out
    [row] = [line.split() for line in out.splitlines() if line.startswith("sequence_encoder")]
    ratios = [float(figure) for figure in row[1:]]
    assert len(ratios) == 5
    assert ratios[-1] == max(ratios[:4])
    assert all(0 < ratio < 1 for ratio in ratios) == (k is None)
    cases = store.read(GOLDEN).cases
    assert f"{4 * (len(cases) + 1)} comparisons, " in out
