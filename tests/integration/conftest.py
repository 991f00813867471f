"""What several files of integration tests ship a user's own models with.

What a command does in a child is done here in this process, so that the frameworks load once.
"""

import onnx
import pytest

import harness
from harness.recording import in_child, loading, user_model
from tests.support.own_shipping import SIZES


def in_this_process(order, progress, seconds=None):
    own = loading.load(order.source, order.weights)
    user_model.make(own, order.settings, order.folder, progress)


@pytest.fixture
def ship(tmp_path, monkeypatch):
    """Exports to a folder and gives it, the manifest and the golden of what was shipped."""
    monkeypatch.setattr(in_child, "make", in_this_process)

    def shipped(subject, inputs=None, lengths=SIZES, conforms=True, **options):
        folder = tmp_path / "bundle"
        report = harness.export(subject, folder, inputs=inputs, lengths=lengths, **options)
        assert report.conforms is conforms
        assert (folder / "model.onnx").exists() is conforms
        return folder, report

    return shipped


@pytest.fixture
def shipped(ship):
    """A GRU's bundle, its model and how it is exported again."""
    from tests.support import own_torch

    folder, _ = ship(own_torch.Net(lambda y, h: y), own_torch.FRAMES)
    return folder, onnx.load(folder / "model.onnx")
