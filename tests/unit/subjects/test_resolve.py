"""What a subject on the command line names."""

import os
import sys
import zipfile
from pathlib import Path

import pytest

from harness.core.errors import UsageError
from harness.subjects.onnx_file import OnnxFile
from harness.subjects.resolve import EXPORTABLE, Kind, resolve
from tests.support.small_graphs import cell


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a.keras", "a.PT2", "a.onnx", "a.jit", "words.bin", "a.h5", "a.tflite"):
        (tmp_path / name).write_bytes(b"words")
    with zipfile.ZipFile("script.pt", "w") as archive:
        archive.writestr("script/data.pkl", "x" * (1 << 17))
        archive.writestr("script/code/net.py", "")
    with zipfile.ZipFile("state.pt", "w") as archive:
        archive.writestr("state/data.pkl", "")
    (tmp_path / "old.pt").write_bytes(b"\x80\x02")
    (tmp_path / "nets.py").write_text("from torch import nn\nN = 3\n\ndef make():\n    pass\n")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / "saved_model.pb").write_bytes(b"words")
    (tmp_path / "star.py").write_text("from nets import *\n")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "kind", "place", "factory", "name"),
    [
        ("a.keras", Kind.KERAS, "a.keras", "", "a"),
        ("a.PT2", Kind.PT2, "a.PT2", "", "a"),
        ("./a.onnx", Kind.ONNX, "./a.onnx", "", "a"),
        ("a.jit", Kind.TORCHSCRIPT, "a.jit", "", "a"),
        ("script.pt", Kind.TORCHSCRIPT, "script.pt", "", "script"),
        ("nets.py:make", Kind.FACTORY, "nets.py", "make", "make"),
        ("nets.py:N", Kind.FACTORY, "nets.py", "N", "N"),
        ("star.py:anything", Kind.FACTORY, "star.py", "anything", "anything"),
        ("package.module:make", Kind.FACTORY, "package.module", "make", "make"),
    ],
)
def test_it_names_a_file_or_a_factory(here, text, kind, place, factory, name):
    subject = resolve(text, EXPORTABLE)
    assert (subject.kind, subject.place, subject.factory, subject.name) == (
        kind,
        place,
        factory,
        name,
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("b.keras", "no such file or reference model"),
        (".", "is a folder"),
        ("words.bin", "is no model that can be read"),
        ("state.pt", "is a pickle, which runs code"),
        ("old.pt", "is a pickle, which runs code"),
        ("a.h5", "save it as .keras"),
        ("a.tflite", "python -m tf2onnx.convert --tflite"),
        ("saved", "python -m tf2onnx.convert --saved-model"),
        ("nets.py", "needs the name of its factory: FILE.py:factory (it defines: make)"),
        ("nets.py:other", "nets.py defines no 'other'; it defines: make"),
        ("none.py:make", "none.py: no such file"),
        ("a-b:make", "'a-b' is no module"),
    ],
)
def test_what_it_does_not_name_is_told(here, text, message):
    with pytest.raises(UsageError) as error:
        resolve(text, EXPORTABLE)
    assert message in str(error.value)


def test_where_its_description_may_lie(here):
    assert str(resolve("a.keras", EXPORTABLE).description) == "a.toml"
    assert str(resolve("nets.py:make", EXPORTABLE).description) == "nets.toml"
    assert resolve("package.module:make", EXPORTABLE).description is None


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_pipes_and_sources_without_end_are_told(here):
    os.mkfifo("pipe.bin")
    os.mkfifo("pipe.py")
    for text in ("pipe.bin", "pipe.py"):
        with pytest.raises(UsageError, match=r"is a pipe; expected a file|no such file"):
            resolve(text, EXPORTABLE)
    Path("deep.py").write_text("a = " + "(" * 100_000)
    assert resolve("deep.py:make", EXPORTABLE).factory == "make"
    Path("zip.bin").write_bytes(b"PK\3\4 and no more")
    with pytest.raises(UsageError, match=r"zip\.bin is no readable model: File is not a zip file"):
        resolve("zip.bin", EXPORTABLE)


def test_a_long_name_is_cut_to_what_a_path_allows(here):
    Path(f"{'a' * 240}.onnx").touch()
    assert resolve(f"{'a' * 240}.onnx", EXPORTABLE).name == "a" * 200


def test_names_and_types_that_no_graph_has_are_told(here):
    graph = cell("GRU")
    graph.graph.input[0].type.tensor_type.elem_type = 65
    Path("type.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(UsageError, match="has the unknown element type 65"):
        OnnxFile(Path("type.onnx")).inputs()
    graph = cell("GRU")
    for node in graph.graph.node:
        node.output[:] = [name and f"{name}\x1b" for name in node.output]
        node.input[:] = [f"{n}\x1b" if n == "h" else n for n in node.input]
    for value in graph.graph.output:
        value.name += "\x1b"
    Path("name.onnx").write_bytes(graph.SerializeToString())
    with pytest.raises(UsageError, match=r"name\.onnx.*") as error:
        OnnxFile(Path("name.onnx"))
    assert str(error.value).isprintable()
