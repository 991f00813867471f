"""The line that installs an extra names where this distribution came from."""

import json
import shlex
from importlib import metadata

import pytest

from harness.core import install

REQUIRES = [
    "numpy>=2.0",
    'onnxruntime>=1.24.1; extra == "cpu"',
    'torch>=2.9; extra == "torch"',
    'onnxscript>=0.5; extra == "torch"',
    "tensorflow-cpu>=2.20; platform_machine == 'x86_64' and extra == 'keras'",
]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Stand for a distribution whose ``direct_url.json`` is what is given, or absent."""
    monkeypatch.setattr(install, "CHECKOUT", tmp_path / "site-packages")

    def stand(origin=None):
        folder = tmp_path / "site-packages/onnx_sequence_harness-1.dist-info"
        folder.mkdir(parents=True)
        about = ["Metadata-Version: 2.4", "Name: onnx-sequence-harness", "Version: 1"]
        about += [f"Requires-Dist: {entry}" for entry in REQUIRES]
        (folder / "METADATA").write_text("\n".join(about) + "\n")
        if origin is not None:
            (folder / "direct_url.json").write_text(json.dumps(origin))
        here = metadata.Distribution.at(folder)
        monkeypatch.setattr(metadata, "distribution", lambda name: here)

    return stand


def test_a_checkout_is_named_and_stays_editable(tmp_path, monkeypatch):
    place = tmp_path / "my checkout"
    place.mkdir()
    (place / "pyproject.toml").touch()
    monkeypatch.setattr(install, "CHECKOUT", place)
    assert shlex.split(install.line("torch")) == ["pip", "install", "-e", f"{place}[torch]"]


def test_this_copy_is_a_checkout():
    assert install.line("torch").startswith("pip install -e ")
    assert (install.CHECKOUT / "harness/core/install.py").is_file()


def test_the_folder_or_wheel_that_it_was_installed_from_is_named(installed, tmp_path):
    wheel = tmp_path / "a b.whl"
    wheel.touch()
    installed({"url": wheel.as_uri(), "archive_info": {}})
    assert shlex.split(install.line("torch")) == ["pip", "install", f"{wheel}[torch]"]


@pytest.mark.parametrize(
    ("origin", "source"),
    [
        (
            {"url": "https://host/h.git", "vcs_info": {"vcs": "git", "commit_id": "abc"}},
            "onnx-sequence-harness[torch] @ git+https://host/h.git@abc",
        ),
        (
            {"url": "https://host/h.whl", "archive_info": {}},
            "onnx-sequence-harness[torch] @ https://host/h.whl",
        ),
    ],
)
def test_an_address_is_named(installed, origin, source):
    installed(origin)
    assert shlex.split(install.line("torch")) == ["pip", "install", source]


@pytest.mark.parametrize("origin", [None, {"url": "file:///nowhere/at/all.whl"}])
@pytest.mark.parametrize(
    ("extra", "requirements"),
    [
        ("torch", ["torch>=2.9", "onnxscript>=0.5"]),
        ("cpu", ["onnxruntime>=1.24.1"]),
        ("keras", ["tensorflow-cpu>=2.20; platform_machine == 'x86_64'"]),
    ],
)
def test_where_that_is_gone_the_distributions_are_named(installed, origin, extra, requirements):
    installed(origin)
    assert shlex.split(install.line(extra)) == ["pip", "install", *requirements]


def test_a_copy_without_metadata_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setattr(install, "CHECKOUT", tmp_path)
    monkeypatch.setattr(install, "NAME", "no-such-distribution")
    assert install.line("torch") == "install the extra torch of no-such-distribution"
