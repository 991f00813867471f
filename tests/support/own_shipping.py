"""What the folder of an exported model says."""

import json
from pathlib import Path

from harness.goldens import store

ROOT = Path(__file__).parents[2]
NETS = ROOT / "tests/support"
SIZES = [1, 2, 3, 8, 17]


def axes(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["tolerance"]["ort-cpu"]
    return manifest["axes"]


def kinds(folder):
    return {case.raggedness.value for case in store.read(folder / "golden").cases}


def refused(folder):
    return json.loads((folder / "manifest.json").read_text())["refused"]
