"""Subjects that are no model, or not described: one line, exit code 2, and nothing written."""

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.commands.run import ended
from harness.recording import in_child, loading, user_model

torch = pytest.importorskip("torch")
keras = pytest.importorskip("keras")

from tests.support import own_keras, own_torch  # noqa: E402

ROOT = Path(__file__).parents[2]
TORCH, KERAS = (ROOT / f"tests/support/own_{name}.py" for name in ("torch", "keras"))
FRAMES = ("--input", "x: float32[batch, time, 4]")
PACKED = ("--input", "lengths: int64[batch], lengths of time", "--input")


def linear(axes=("batch", "time", 4), location=""):
    """A graph of one MatMul, whose weights are in a file of their own where ``location`` is."""
    weights = numpy_helper.from_array(np.ones((4, 3), np.float32), "w")
    if location:
        weights = TensorProto(name="w", dims=[4, 3], data_type=1, data_location=1)
        for key, value in (("location", location), ("length", "48")):
            weights.external_data.add(key=key, value=value)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"])],
        "linear",
        [value("x", TensorProto.FLOAT, list(axes))],
        [value("y", TensorProto.FLOAT, [*axes[:-1], 3])],
        [weights],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of files that are no model, or one that must not be read."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "secret.bin").write_bytes(np.ones(12, np.float32).tobytes())
    inside = folder / "in"
    inside.mkdir()
    (inside / "link.bin").symlink_to("../secret.bin")
    places = {"up": "../secret.bin", "absolute": str(folder / "secret.bin")}
    for name, place in {**places, "link": "link.bin", "missing": "missing.bin"}.items():
        (inside / f"{name}.onnx").write_bytes(linear(location=place).SerializeToString())
    onnx.save(linear(), folder / "good.onnx")
    (folder / "cut.onnx").write_bytes((folder / "good.onnx").read_bytes()[:60])
    (folder / "empty.onnx").touch()
    (folder / "words.dat").write_text("hello")
    (folder / "list.pkl").write_bytes(pickle.dumps([1]))
    torch.save(torch.nn.Linear(4, 3), folder / "whole.pt")
    torch.save(torch.nn.Linear(4, 3).state_dict(), folder / "state.pt")
    (folder / "weights.safetensors").touch()
    (folder / "cut.pt2").write_bytes((folder / "whole.pt").read_bytes()[:500])
    own_keras.lambdas().save(folder / "lambda.keras")
    own_keras.bilstm().save(folder / "bilstm.keras")
    own_keras.custom().save(folder / "custom.keras")
    (folder / "cut.keras").write_bytes((folder / "bilstm.keras").read_bytes()[:5000])
    (folder / "syntax.py").write_text("def make(:\n")
    (folder / "script.py").write_text("import sys\nsys.exit(0)\n\ndef make():\n    pass\n")
    (folder / "broken.toml").write_text("inputs = [\n")
    (folder / "key.toml").write_text("input = 1\n")
    (folder / "input.toml").write_text('[inputs]\nz = "float32[batch, time, 4]"\n')
    return folder


@pytest.fixture
def refuse(files, tmp_path, monkeypatch, capsys):
    """Runs the command in this process; its one line on standard error, with exit code 2."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    monkeypatch.chdir(files)
    monkeypatch.setattr(
        in_child,
        "make",
        lambda order, progress, seconds: user_model.make(
            loading.load(order.source, order.weights), order.settings, order.folder, progress
        ),
    )
    from harness.export import main

    def refused(*call):
        before = sorted(files.rglob("*"))
        argv = [*map(str, call), "-o", str(tmp_path / "out"), "--lengths", "1..4"]
        assert ended(main, argv) == 2
        printed = capsys.readouterr()
        assert printed.out == ""
        (line,) = printed.err.splitlines()
        assert line.startswith("error: ")
        assert not (tmp_path / "out").exists()
        assert not list(scratch.glob("harness-*"))
        assert [p for p in sorted(files.rglob("*")) if p.suffix != ".pyc"] == before
        return line

    return refused


FILES = {
    "no such file": (["nothing.keras"], "no such file"),
    "a folder": (["in"], "is a folder; expected"),
    "an unknown kind": (["words.dat"], "is no model that can be read; expected"),
    "a pickle": (["list.pkl"], "is a pickle, which runs code"),
    "a pickled model": (["whole.pt"], "is a pickle, which runs code"),
    "a state dict alone": (["state.pt"], "--weights FILE for a state dict"),
    "weights alone": (["weights.safetensors"], "it holds weights alone"),
    "a truncated program": (["cut.pt2"], "no readable torch.export program"),
    "a truncated keras file": (["cut.keras"], "no readable .keras file"),
    "a lambda layer": (["lambda.keras"], "has a Lambda layer"),
    "a class that is not here": (["custom.keras"], "needs a class that is not here"),
    "a truncated graph": (["cut.onnx"], "cut.onnx is not"),
    "an empty file": (["empty.onnx"], "empty.onnx is not valid ONNX"),
    "data above its folder": (["in/up.onnx"], "points outside the directory"),
    "data at a path": (["in/absolute.onnx"], "is an absolute path"),
    "data behind a link": (["in/link.onnx"], "symbolic link"),
    "no data": (["in/missing.onnx"], "missing.bin"),
    "a file to judge that is cut": (["bilstm.keras", "--onnx", "cut.onnx"], "cut.onnx is not"),
    "a file to judge that is not there": (["bilstm.keras", "--onnx", "no.onnx"], "no such file"),
    "weights for a file": (["good.onnx", "--weights", "state.pt"], "holds its own"),
    "a judge of a graph": (["good.onnx", "--onnx", "good.onnx"], "is judged as it is"),
}
FACTORIES = {
    "a file without a factory": ([TORCH], "needs the name of its factory"),
    "no such factory": ([f"{TORCH}:nothing"], "defines no 'nothing'; it defines: Net"),
    "no such module": (["nothing.nowhere:make"], "cannot be imported: ModuleNotFoundError"),
    "a syntax error": (["syntax.py:make"], "cannot be imported: SyntaxError"),
    "a script": (["script.py:make"], "ends the process when imported"),
    "not a model": ([f"{TORCH}:three"], "expected a keras.Model or a torch.nn.Module"),
    "an argument": ([f"{TORCH}:needs"], "missing 1 required positional argument: 'size'"),
    "an exit": ([f"{TORCH}:leaves"], "raises SystemExit"),
    "no description": ([f"{TORCH}:net"], "'x' needs a description of its dtype and axes"),
    "not all described": ([f"{TORCH}:packed", "--input", own_torch.TOKENS], "lengths"),
    "another input": ([f"{TORCH}:net", "--input", "z: float32[batch, t]"], "it takes: x"),
    "TOML that is cut": ([f"{TORCH}:net", "--inputs", "broken.toml"], "broken.toml is not TOML"),
    "TOML of another form": ([f"{TORCH}:net", "--inputs", "key.toml"], "unknown key 'input'"),
    "TOML of another model": ([f"{TORCH}:net", "--inputs", "input.toml"], "no input 'z'"),
    "no such TOML": ([f"{TORCH}:net", "--inputs", "no.toml"], "no such file"),
    "an unknown dtype": ([f"{TORCH}:net", "--input", "x: float[batch, t, 4]"], "choose from"),
    "an unknown word": ([f"{TORCH}:net", *FRAMES[:1], "x: padded 0"], "is not understood"),
    "another dtype": (["bilstm.keras", "--input", "tokens: int64[batch, t]"], "is int32 in the"),
    "another rank": (["bilstm.keras", "--input", "tokens: [batch, t, 2]"], "has 2 axes in the"),
    "another size": (["good.onnx", "--input", "x: [batch, t, 5]"], "has the fixed size 4"),
    "beyond a keras table": (
        ["bilstm.keras", "--input", "tokens: in 0..20"],
        "refuses 20, described as within 1..20",
    ),
    "below a keras table": (
        [f"{KERAS}:bilstm", "--input", "tokens: in -21..19, padding -21"],
        "itself",
    ),
    "beyond a torch table": (
        [f"{TORCH}:packed", *PACKED, "tokens: int64[batch, time] in 1..20, padding 0"],
        "refuses 20, described as within 1..20: IndexError",
    ),
    "padding outside a table": (
        [f"{TORCH}:packed", *PACKED, "tokens: int64[batch, time] in 1..19, padding -1"],
        "refuses its padding -1",
    ),
    "no range": ([f"{TORCH}:packed", *PACKED, "tokens: int64[batch, time]"], "needs its range"),
    "a name that is a path": ([f"{TORCH}:net", *FRAMES, "--name", "a/b"], "name 'a/b'"),
    "an unknown exporter": ([f"{TORCH}:net", *FRAMES, "--exporter", "no"], "choose from"),
    "an unknown variant": ([f"{TORCH}:net", *FRAMES, "--variant", "no"], "choose from"),
    "an unknown runtime": ([f"{TORCH}:net", *FRAMES, "--runtime", "no"], "choose from"),
    "another framework's exporter": (
        [f"{TORCH}:net", *FRAMES, "--exporter", "tf2onnx"],
        "takes no torch model; choose from",
    ),
    "names of outputs": (
        [f"{TORCH}:net", *FRAMES, "--outputs", "a,b,c"],
        "3 outputs are named; the model gives 1",
    ),
}


@pytest.mark.parametrize("name", [*FILES, *FACTORIES])
def test_it_is_told_in_one_line_and_nothing_is_written(refuse, name):
    call, message = {**FILES, **FACTORIES}[name]
    assert message in refuse(*call)


def test_nor_does_the_child_say_more(files, tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "harness.export", files / "cut.pt2", "-o", tmp_path / "out"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
