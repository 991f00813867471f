"""What must not run, and what would run for ever: planted code, and small graphs without an end."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import artefacts
import onnx
import sources
from onnx import TensorProto, helper

Change = Callable[[Path], None]
PACKAGE = '{"version": "1.30.0", "main": "dist/ort.node.min.mjs", "type": "module"}'
LAYERS: dict[str, dict[str, Any]] = {
    "a Lambda": {
        "class_name": "Lambda",
        "config": {
            "name": "l",
            "function": {
                "class_name": "__lambda__",
                "config": {"code": "4wEAAAAAAAAA", "defaults": None, "closure": None},
            },
        },
    },
    "the module os": {
        "module": "os",
        "class_name": "system",
        "config": {"command": "touch ran"},
        "registered_name": "system",
    },
    "a function": {"module": "builtins", "class_name": "function", "config": "exec"},
}
"""Layers by what is bad about them, as the config of a .keras file names them."""


def marker(tree: Path) -> str:
    """Return the file that planted code writes."""
    return str(tree.parent / "ran")


def code(file: str) -> Change:
    """Return what puts a script there that writes the marker."""

    def make(tree: Path) -> None:
        python = f"open({marker(tree)!r}, 'w')"
        script = f"import fs from 'fs'; fs.writeFileSync({marker(tree)!r}, 'x')"
        artefacts.text(file, python if file.endswith(".py") else script)(tree)

    return make


def archive(file: str, change: Callable[[dict[str, bytes]], None]) -> Change:
    """Return what changes the entries of a zip archive."""

    def make(tree: Path) -> None:
        with zipfile.ZipFile(tree / file) as old:
            entries = {name: old.read(name) for name in old.namelist()}
        change(entries)
        with zipfile.ZipFile(tree / file, "w") as new:
            for name, content in entries.items():
                new.writestr(name, content)

    return make


class Payload:
    """Pickles as a call that writes the marker."""

    def __init__(self, tree: Path) -> None:
        self._marker = marker(tree)

    def __reduce__(self) -> Any:
        return open, (self._marker, "w")


def pickled(tree: Path) -> None:
    """Let a .pt2 file hold a tensor as a pickle, which is a call."""

    def change(entries: dict[str, bytes]) -> None:
        name = "m/data/weights/model_weights_config.json"
        entries[name] = entries[name].replace(b'"use_pickle": false', b'"use_pickle": true', 1)
        entries["m/data/weights/weight_0"] = pickle.dumps(Payload(tree))

    archive("m.pt2", change)(tree)


def keras_layer(layer: dict[str, Any]) -> Change:
    """Return what puts a layer of another kind in place of a .keras file's second one."""

    def change(entries: dict[str, bytes]) -> None:
        config = json.loads(entries["config.json"])
        config["config"]["layers"][1] |= layer
        entries["config.json"] = json.dumps(config).encode()

    return archive("m.keras", change)


def planted_script(tree: Path) -> None:
    """Put a script where ONNX Runtime Web would be installed in this folder."""
    package = "bundle/build/node/node_modules/onnxruntime-web"
    code(f"{package}/dist/ort.node.min.mjs")(tree)
    artefacts.text(f"{package}/package.json", PACKAGE)(tree)


def planted_library(tree: Path) -> None:
    """Put a library that runs code where the placement's own would be kept in this folder."""
    from harness.placing import partition, shim

    (tree / "evil.c").write_text(
        "#include <fcntl.h>\n__attribute__((constructor)) void run(void)"
        f'{{open("{marker(tree)}", O_CREAT | O_WRONLY, 0644);}}'
        "int placement_refusals; void cudaGetDeviceCount(void) {}"
    )
    try:
        place = shim.built(partition.provider_library(), tree.parent / "build/placement")
    except Exception:
        return
    target = tree / "bundle/build/placement" / place.name
    target.mkdir(parents=True)
    command = ["gcc", "-shared", "-fPIC", str(tree / "evil.c"), "-o", str(target / shim.LIBRARY)]
    subprocess.run(command, check=True)
    for link in place.iterdir():
        if link.is_symlink():
            (target / link.name).symlink_to(shim.LIBRARY)


def evil_package(tree: Path) -> None:
    """Let a golden name a module that lies in the current folder."""
    (tree / "golden/gru_tagger").mkdir(parents=True)
    shutil.copytree(sources.GOLDEN, tree / "golden/gru_tagger/torch")
    for place in ("golden/gru_tagger/torch", "bundle/golden"):
        artefacts.golden(
            lambda m, _: (m.update(package="evil"), m["spec"].update(package="evil")), place
        )(tree)
    shutil.copyfile(sources.GOLDEN / "weights.packed", tree / "bundle/golden/weights.packed")
    code("evil.py")(tree)


def loop(model: onnx.ModelProto, trips: int = 2**62) -> None:
    """Let an output of a model go through a loop, which copies it, of so many trips."""
    graph, name = model.graph, model.graph.output[0].name
    for node in graph.node:
        for place, output in enumerate(node.output):
            if output == name:
                node.output[place] = "before_the_loop"
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", [a], [b]) for a, b in (("c", "k"), ("p", "r"))],
        "body",
        [
            value("n", TensorProto.INT64, []),
            value("c", TensorProto.BOOL, []),
            value("p", TensorProto.FLOAT, ["batch", "sequence", 6]),
        ],
        [
            value("k", TensorProto.BOOL, []),
            value("r", TensorProto.FLOAT, ["batch", "sequence", 6]),
        ],
    )
    graph.initializer.append(helper.make_tensor("trips", TensorProto.INT64, [], [trips]))
    graph.initializer.append(helper.make_tensor("go", TensorProto.BOOL, [], [True]))
    inputs = ["trips", "go", "before_the_loop"]
    graph.node.append(helper.make_node("Loop", inputs, [name], body=body))


def functions(model: onnx.ModelProto, depth: int = 30) -> None:
    """Let an output of a model go through a function that calls another one twice, and so on.

    Each call alone adds 0 to it.
    """
    graph, name = model.graph, model.graph.output[0].name
    for node in graph.node:
        for place, output in enumerate(node.output):
            if output == name:
                node.output[place] = "before_the_calls"
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("f", 1)]
    inner = [helper.make_node("Identity", ["a"], ["c"])]
    for number in range(depth):
        model.functions.append(helper.make_function("f", f"F{number}", ["a"], ["c"], inner, opsets))
        inner = [
            helper.make_node(f"F{number}", [a], [b], domain="f")
            for a, b in (("a", "b"), ("b", "c"))
        ]
    model.opset_import.add(domain="f", version=1)
    graph.node.append(helper.make_node(f"F{depth - 1}", ["before_the_calls"], [name], domain="f"))


def deep(model: onnx.ModelProto, depth: int = 10_000) -> bytes:
    """Return a model's bytes, and a node ``If`` whose branch has an ``If``, and so on."""
    node = _field(4, b"Identity") + _field(1, b"go") + _field(2, b"z")
    for _ in range(depth):
        graph = _field(1, node) + _field(2, b"g")
        branch = _field(1, b"then_branch") + _field(6, graph) + bytes([0xA0, 0x01, 5])
        node = _field(4, b"If") + _field(1, b"go") + _field(2, b"z") + _field(5, branch)
    return bytes(model.SerializeToString()) + _field(7, _field(1, node))


def _field(number: int, content: bytes) -> bytes:
    """Return a protobuf field of some bytes."""
    size, length = [], len(content)
    while length > 127:
        size.append(length % 128 + 128)
        length //= 128
    return bytes([number << 3 | 2, *size, length]) + content


def renamed(model: onnx.ModelProto, new: str) -> None:
    """Give the output of a model another name."""
    old = model.graph.output[0].name
    for node in model.graph.node:
        for place, output in enumerate(node.output):
            if output == old:
                node.output[place] = new
    for value in model.graph.output:
        value.name = new if value.name == old else value.name


ENDLESS = {
    "a loop of 2^62 trips": loop,
    "30 functions that call twice": functions,
    "If within If, 10,000 deep": deep,
}
