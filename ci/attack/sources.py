"""A tiny valid artefact of every kind that the harness reads, the commands that read it, and what
an attacker does about its hashes.

Two trees are made: ``good``, which conforms, and ``altered``, whose model has other weights than
those that its golden was recorded with: no command that judges may pass it, whatever is said in the
other files, which the attacker may sign anew.

Usage: python ci/attack/sources.py FOLDER
"""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from contextlib import suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import onnx
import tries
from kinds import SAVED, file_hash, replaced, resign_own
from onnx import numpy_helper

GOLDEN = tries.ROOT / "golden" / "gru_tagger" / "torch"
FACTOR = 1.7
GRAPH = """<ir_version: 8, opset_import: ["" : 18, "local" : 1]>
net (float[batch, time, 2] x) => (float[time, batch, 2] y)
<float[1,8,2] W = {1.0,0.2,0.3,-0.4,0.5,0.6,-0.7,0.8,0.9,0.1,-1.0,0.3,0.4,0.5,0.6,0.7},
 float[1,8,2] R = {0.1,0.2,0.3,0.4,-0.5,0.6,0.7,0.8,-0.9,0.1,0.2,0.3,0.4,0.5,-0.6,0.7},
 int64[1] one = {1}, int64 trips = {2}, bool go = {1}> {
  s = Transpose <perm = [1, 0, 2]> (x)
  h = LSTM <hidden_size = 2> (s, W, R)
  q = Squeeze (h, one)
  d = local.Twice (q)
  i = If (go) <then_branch = t () => (float[time, batch, 2] u) { u = Tanh (d) },
               else_branch = e () => (float[time, batch, 2] v) { v = Identity (d) }>
  y = Loop (trips, go, i) <body = b (int64 n, bool c, float[time, batch, 2] p) =>
      (bool k, float[time, batch, 2] r) { k = Identity (c) r = Add (p, p) }>
}
<domain: "local", opset_import: ["" : 18]> Twice (a) => (b) { b = Add (a, a) }"""
INPUTS = """outputs = ["y"]
lengths = ["1..2"]
batch = ["1"]
name = "net"
[inputs]
x = "float32[batch, time, 2] in -1..1, normal"
"""
EXPECT = """[[expect]]
cell = "gru_tagger/*"
stage = "load"
reason = "known"
upstream = "https://example.org/1"
"""
TORCH = """import torch
class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.gru = torch.nn.GRU(2, 3, batch_first=True)
    def forward(self, x):
        return self.gru(x)[0]
def make():
    return Net()
"""
KERAS = """import keras
def make():
    keras.utils.set_random_seed(1)
    x = keras.Input((None, 2), name="x")
    return keras.Model(x, keras.layers.GRU(3, return_sequences=True)(x))
"""
SAVE_TORCH = """import torch, net_torch
from safetensors.torch import save_file
n = net_torch.make().eval()
m = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Tanh()).eval()
dims = {"input": {0: torch.export.Dim("batch"), 1: torch.export.Dim("time")}}
torch.export.save(torch.export.export(m, (torch.ones(2, 4, 2),), dynamic_shapes=dims), "m.pt2")
torch.save(n.state_dict(), "w.pt")
save_file({k: v.contiguous() for k, v in n.state_dict().items()}, "w.safetensors")
"""
SAVE_KERAS = """import net_keras
n = net_keras.make()
n.save("m.keras")
n.save_weights("w.weights.h5")
"""


def make(folder: Path, frameworks: bool = True) -> None:
    """Make both trees in ``folder``: those of the frameworks only where they are to be tried."""
    good, altered = folder / "good", folder / "altered"
    good.mkdir(parents=True)
    _ran(folder, "export", f"gru_tagger --framework torch --golden {GOLDEN.parents[1]} -o whole -q")
    shutil.copytree(folder / "whole", good / "bundle")
    _fewer(good / "bundle")
    shutil.copytree(good / "bundle", altered / "bundle")
    alter(altered / "bundle")
    for tree, status in ((good, 0), (altered, 1)):
        words = "bundle --save-outputs saved --report-dir . --intra-op-threads 1"
        _ran(tree, "validate", words, status)
        shutil.rmtree(tree / "build", ignore_errors=True)
        if tree is good:
            _ran(tree, "convert", "bundle -o made")
        else:
            shutil.copytree(good / "made", tree / "made")
            for name, place in (("model.onnx", "made"), ("manifest.json", "made/harness/bundle")):
                shutil.copyfile(tree / "bundle" / name, tree / place / name)
        shutil.copytree(
            tree / "made", tree / "tests", ignore=shutil.ignore_patterns("rem*", "harn*")
        )
        for name in ("report.md", "report.html", "junit.xml"):
            (tree / name).unlink()
        _timeless(tree / "report.json")
        _timeless(tree / SAVED / "manifest.json")
        (tree / "inputs.toml").write_text(INPUTS)
        (tree / "expect.toml").write_text(EXPECT)
        (tree / "graph.onnx").write_bytes(onnx.parser.parse_model(GRAPH).SerializeToString())
        (tree / "net_torch.py").write_text(TORCH)
        (tree / "net_keras.py").write_text(KERAS)
    for code in (SAVE_TORCH, SAVE_KERAS) if frameworks else ():
        _started(good, ["-c", code])


def _ran(folder: Path, command: str, words: str, status: int = 0) -> None:
    _started(folder, ["-m", f"harness.{command}", *words.split()], status)


def _started(folder: Path, words: list[str], status: int = 0) -> None:
    ended = tries.fresh(words, folder, 600, {"PYTHONPATH": f"{tries.ROOT}{os.pathsep}."})
    if ended.status != status:
        raise SystemExit(f"{words}: {ended.status}, not {status}: {ended.err[-2000:]}{ended.out}")


def _fewer(bundle: Path) -> None:
    """Leave a few short cases in a bundle's golden, and one that stores some of its steps."""
    from harness.goldens import manifest as manifests
    from harness.goldens import store

    whole = store.read(bundle / "golden")
    entries = whole.manifest["cases"]
    short = [e for e in entries if max(e["lengths"].values()) in (2, 3)][:5]
    partly = [e for e in entries if e["steps"]][:1]
    kept = manifests.part(whole.manifest, [manifests.case_of(e) for e in (*short, *partly)])
    tensors = {name: whole.tensors[name] for name in kept["stored"]}
    store.copy(replace(whole, manifest=kept, tensors=tensors), bundle / "golden")
    about = json.loads((bundle / "manifest.json").read_text())
    about["golden_sha256"] = sha256((bundle / "golden/manifest.json").read_bytes()).hexdigest()
    (bundle / "manifest.json").write_text(json.dumps(about, indent=1))


def alter(bundle: Path, factor: float = FACTOR) -> None:
    """Multiply the recurrent layer's weights in a bundle's model, and state the new hash."""
    model = onnx.load(bundle / "model.onnx")
    (node,) = (node for node in model.graph.node if node.op_type == "GRU")
    for tensor in model.graph.initializer:
        if tensor.name in node.input[1:4]:
            value = numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    data, before = model.SerializeToString(), (bundle / "model.onnx").read_bytes()
    (bundle / "model.onnx").write_bytes(data)
    replaced(bundle / "manifest.json", {file_hash(before): file_hash(data)})


def _timeless(path: Path) -> None:
    """Set all times in a file to 0, so that two runs make the same sources."""
    text = re.sub(r'"seconds": [\d.e-]+', '"seconds": 0.0', path.read_text())
    path.write_text(re.sub(r'"date": "[^"]+"', '"date": "1970-01-01T00:00:00Z"', text))
    with suppress(KeyError):
        resign_own(path, json.loads(path.read_text())["sha256"])


if __name__ == "__main__":
    make(Path(sys.argv[1]).resolve())
