"""``kill -9`` in the middle of a command leaves no process, nothing half-written, and no litter."""

import pytest

from ci import kill_nine

pytest.importorskip("torch")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not kill_nine.PROCESSES.is_dir(), reason="processes are found in /proc"),
]


@pytest.fixture(scope="module")
def scratch(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kill_nine")
    kill_nine.prepare(folder)
    return folder


@pytest.mark.parametrize("command", ["hangs", "workers", "convert"])
def test_kill_nine_leaves_nothing(scratch, monkeypatch, command):
    monkeypatch.setattr(kill_nine, "GRACE", 30.0)
    assert "4 kills" in kill_nine.tried(command, 4, scratch)
