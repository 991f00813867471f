import sys

import pytest

from harness.exporting import source_hash


@pytest.fixture
def package(tmp_path, monkeypatch):
    folder = tmp_path / "planted_package"
    folder.mkdir()
    for name, text in (
        ("__init__", ""),
        ("one", "from planted_package import two\nimport json\n"),
        ("two", "from planted_package.three import value\n"),
        ("three", "value = 1\n"),
        ("apart", "raise RuntimeError('not to be imported')\n"),
    ):
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    sys.modules.pop("planted_package", None)


def test_a_change_in_what_is_imported_changes_the_hash(package):
    before = source_hash.digest(["planted_package.one"])
    assert source_hash.digest(["planted_package.one"]) == before
    (package / "apart.py").write_text("other = 1\n")
    assert source_hash.digest(["planted_package.one"]) == before
    (package / "three.py").write_text("value = 2\n")
    assert source_hash.digest(["planted_package.one"]) != before


def test_nothing_is_imported_and_a_missing_module_is_no_error(package):
    (package / "one.py").write_text("from planted_package.apart import nothing\n")
    assert source_hash.digest(["planted_package.one"])
    assert source_hash.digest(["planted_package.nowhere", "nowhere.at.all"])
    assert "planted_package.apart" not in sys.modules


def test_an_exporter_depends_on_its_own_room_alone():
    keras = source_hash.digest(["harness.exporters.keras.native"])
    torch = source_hash.digest(["harness.exporters.torch.native"])
    assert keras != torch


@pytest.mark.parametrize(
    "text",
    [
        "def run():\n    from planted_package import three\n",
        "class A:\n    def run(self):\n        import planted_package.three\n",
        "try:\n    pass\nexcept OSError:\n    from planted_package import three\n",
        "if 1:\n    pass\nelse:\n    with open('x'):\n        from planted_package import three\n",
        "match 1:\n    case 1:\n        from planted_package.three import value\n",
    ],
)
def test_an_import_counts_wherever_it_stands(package, text):
    (package / "one.py").write_text(text)
    before = source_hash.digest(["planted_package.one"])
    (package / "three.py").write_text("value = 2\n")
    assert source_hash.digest(["planted_package.one"]) != before


def test_a_module_that_lies_in_no_package_counts(tmp_path, monkeypatch):
    single = tmp_path / "planted_single.py"
    single.write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = source_hash.digest(["planted_single"])
    assert source_hash.digest(["planted_single"]) == before
    single.write_text("value = 2\n")
    assert source_hash.digest(["planted_single"]) != before


@pytest.mark.parametrize(
    ("importer", "text"),
    [
        ("one", "from .three import value\n"),
        ("one", "from . import three\n"),
        ("inner/__init__", "from .. import three\n"),
        ("inner/one", "from ..three import value\n"),
        ("inner/__init__", "from .low import value\n"),
        ("inner/one", "from .low import value\n"),
        ("inner/deep/one", "from ...three import value\n"),
    ],
)
def test_a_relative_import_is_followed(package, importer, text):
    file = package / f"{importer}.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    (package / "inner").mkdir(exist_ok=True)
    for name in ("three", "inner/low"):
        (package / f"{name}.py").write_text("value = 1\n")
    file.write_text(text)
    module = f"planted_package.{importer.removesuffix('/__init__').replace('/', '.')}"
    before = source_hash.digest([module])
    (package / "apart.py").write_text("other = 1\n")
    assert source_hash.digest([module]) == before
    (package / ("inner/low.py" if "low" in text else "three.py")).write_text("value = 2\n")
    assert source_hash.digest([module]) != before


@pytest.mark.parametrize("text", [b"def broken(:\n", b"\0\1\2"], ids=["syntax", "binary"])
def test_what_cannot_be_parsed_counts_as_its_bytes(package, text):
    (package / "three.py").write_bytes(text)
    before = source_hash.digest(["planted_package.one"])
    (package / "three.py").write_bytes(text + b"#")
    assert source_hash.digest(["planted_package.one"]) != before
