"""The wheel holds all that it needs; a bundle is judged where only its core is installed.

The environment is a new one, without the packages of this one and without a network: it sees, by
links, the distributions that the wheel's core needs, and ONNX Runtime or nothing else, and pip
checks in it that these are enough. What they were installed from is not tried.
"""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import onnx
import pytest
from packaging.requirements import Requirement

from harness.core.environment import installed
from harness.runtimes.ort import DISTRIBUTIONS
from tests.support import doubler

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]
ROOT = Path(__file__).parents[2]
CORE = {"numpy", "onnx", "safetensors", "msgspec", "rich", "jinja2", "packaging"}
RUNTIME = next(iter(installed(DISTRIBUTIONS)))
PLUGIN = "pytest_onnx_sequence_harness.py"
FOREIGN = ("torch", "keras", "tensorflow", "tf2onnx", "onnxscript", "openvino", "pytest", "pip")
PROGRAM = """
import importlib, json, sys
from importlib.util import find_spec
import harness
from harness.__main__ import COMMANDS
for command in COMMANDS:
    importlib.import_module(f"harness.{command}").parser()
code = importlib.import_module("harness.validate").main(sys.argv[1:])
tops = {name.partition(".")[0] for name in sys.modules}
print(json.dumps({
    "code": code,
    "file": harness.__file__,
    "found": [name for name in %r if find_spec(name)],
    "loaded": sorted(tops - set(sys.stdlib_module_names)),
}))
"""


def call(*command, cwd=None, env=None):
    """What a command prints; it sees no module of ours but what is installed where it runs."""
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    options = {
        "capture_output": True,
        "text": True,
        "cwd": cwd,
        "env": bare if env is None else env,
    }
    done = subprocess.run(command, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def sources():
    return {PLUGIN} | {
        str(path.relative_to(ROOT))
        for package in ("harness", "reference_models")
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that nothing that an earlier build left gets into it."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("harness", "reference_models"):
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, folder / "source" / name, ignore=skipped)
    for name in ("pyproject.toml", "README.md", "LICENSE", PLUGIN):
        shutil.copy(ROOT / name, folder / "source")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    offline = ("--no-deps", "--no-build-isolation", "--no-index")
    call(*pip, "wheel", *offline, "-w", str(folder), str(folder / "source"))
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def clean(wheel, tmp_path_factory):
    """The Python of an environment with the wheel, its core dependencies and ONNX Runtime."""
    return environment(tmp_path_factory.mktemp("clean"), wheel, [*CORE, RUNTIME])


def environment(folder, wheel, names):
    """The Python of a new environment with the wheel and these distributions alone."""
    venv.create(folder, with_pip=False)
    (site,) = folder.glob("lib/python*/site-packages")
    for distribution in closure(names):
        for name in entries(distribution):
            (site / name).parent.mkdir(parents=True, exist_ok=True)
            (site / name).symlink_to(distribution.locate_file(name))
    python = folder / "bin/python"
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python))
    call(*pip, "install", "--no-index", str(wheel))
    call(*pip, "check")
    return python


def closure(names):
    """The installed distributions of these names, and all that they need here."""
    distributions = {}
    todo = list(names)
    while todo:
        name = re.sub(r"[-_.]+", "-", todo.pop()).lower()
        if name not in distributions:
            distributions[name] = metadata.distribution(name)
            needed = map(Requirement, distributions[name].requires or ())
            todo += [n.name for n in needed if not n.marker or n.marker.evaluate({"extra": ""})]
    return distributions.values()


def entries(distribution):
    """Its packages, modules and metadata; of a package that others share, its part."""
    places = set()
    for file in distribution.files:
        top = distribution.locate_file(file.parts[0])
        shared = len(file.parts) > 2 and not (top / "__init__.py").exists()
        bare = shared and not file.parts[0].endswith((".dist-info", ".libs"))
        places.add("/".join(file.parts[: 2 if bare else 1]))
    return {name for name in places if name not in ("..", "__pycache__") and name[:3] != "../"}


def test_everything_that_is_needed_is_in_the_wheel(wheel):
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        texts = {Path(name).name: file.read(name).decode() for name in names if "dist-info" in name}
    assert {name for name in names if ".dist-info/" not in name} == sources()
    for kind in (".mjs", ".toml", ".c", ".json", ".html", ".css", ".js", "py.typed"):
        assert any(name.endswith(kind) for name in names), kind
    lines = texts["METADATA"].splitlines()
    needed = [line.partition(": ")[2] for line in lines if line.startswith("Requires-Dist")]
    assert {Requirement(n).name for n in needed if "extra ==" not in n} == CORE
    points = texts["entry_points.txt"]
    assert f"[pytest11]\n{Path(PLUGIN).stem} = {Path(PLUGIN).stem}\n" in points
    assert "[console_scripts]\nharness = harness.__main__:main\n" in points
    assert "Apache License" in texts["LICENSE"]


@pytest.mark.parametrize(
    ("system", "machine", "runtime", "tensorflow"),
    [
        ("linux", "x86_64", "onnxruntime-gpu", "tensorflow-cpu"),
        ("linux", "aarch64", "onnxruntime", "tensorflow"),
        ("darwin", "arm64", "onnxruntime", "tensorflow"),
        ("win32", "AMD64", "onnxruntime-gpu", "tensorflow-cpu"),
    ],
)
def test_each_system_is_given_what_has_a_wheel_for_it(system, machine, runtime, tensorflow):
    here = {"sys_platform": system, "platform_machine": machine}

    def chosen(texts):
        marked = [requirement for requirement in map(Requirement, texts) if requirement.marker]
        return [
            requirement.name
            for requirement in marked
            if requirement.marker.evaluate({**here, "extra": ""})
        ]

    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert chosen(re.findall(r'"(onnxruntime.*?)"', (ROOT / "Makefile").read_text())) == [runtime]
    assert chosen(about["optional-dependencies"]["keras"]) == [tensorflow]
    assert not any(map(chosen, (about["dependencies"], about["optional-dependencies"]["cpu"])))


def test_a_bundle_is_judged_where_no_framework_is_installed(clean, tmp_path):
    bundle = tmp_path / "bundle"
    export = ("-m", "harness.export", "sequence_encoder", "--runtime", "ort-cpu")
    call(sys.executable, *export, "-o", str(bundle), cwd=ROOT, env=os.environ)
    empty = tmp_path / "empty"
    empty.mkdir()
    bare = {"PATH": os.environ["PATH"], "HOME": str(empty)}
    program = PROGRAM % (FOREIGN,)
    judge = ("-c", program, str(bundle), "--runtime", "ort-cpu")
    printed = call(str(clean), *judge, cwd=empty, env=bare)
    assert "sequence_encoder/torch/native/fp32/ort-cpu" in printed
    outcome = json.loads(printed.splitlines()[-1])
    assert outcome["code"] == 0
    assert outcome["found"] == []
    assert Path(outcome["file"]).is_relative_to(clean.parents[1])
    core = {
        re.split(r"[/.]", name)[0]
        for distribution in closure([*CORE, RUNTIME])
        for name in entries(distribution)
    }
    own = ("__", "_cython", "cython_runtime")  # numpy.random brings modules of its compiler
    loaded = {name for name in outcome["loaded"] if not name.startswith(own)}
    assert loaded - {"harness", "reference_models", "sitecustomize"} <= core
    report = json.loads((empty / "build/report/report.json").read_text())
    assert report["summary"]["comparisons"] > 50
    assert "torch" not in report["environment"]
    listed = call(str(clean.parent / "harness"), "list", cwd=empty, env=bare)
    assert re.search(r"torch is not installed: pip install \S+\.whl\[torch\]", listed)
    assert "language_model" in listed


def test_without_onnx_runtime_one_line_says_what_to_install(wheel, tmp_path):
    python = environment(tmp_path / "bare", wheel, CORE)
    doubler.record(tmp_path / "golden")
    onnx.save(doubler.graph(), tmp_path / "model.onnx")
    judge = ("validate", "model.onnx", "--golden", "golden")
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    options = {"capture_output": True, "text": True, "cwd": tmp_path, "env": bare, "check": False}
    done = subprocess.run([python.parent / "harness", *judge], **options)
    assert (done.returncode, done.stdout) == (3, "")
    message = (
        "there is no runtime to judge in: onnxruntime is not installed: pip install onnxruntime"
    )
    assert done.stderr == f"error: {message}\n"
    done = subprocess.run([python.parent / "harness", "lint", "model.onnx"], **options)
    assert done.returncode == 0, done.stderr


def test_the_console_script_is_the_module(clean, tmp_path):
    bare = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    options = {"capture_output": True, "text": True, "cwd": tmp_path, "env": bare, "check": False}
    script = clean.parent / "harness"
    for words in (["validate"], ["validat"], ["--version"], ["validate", "--version"]):
        by_script = subprocess.run([script, *words], **options)
        by_module = subprocess.run([clean, "-m", "harness", *words], **options)
        outcome = (by_script.returncode, by_script.stdout, by_script.stderr)
        assert outcome == (by_module.returncode, by_module.stdout, by_module.stderr)
    shown = subprocess.run([script, "validate", "--help"], **options).stdout
    assert shown.startswith("usage: harness validate ")
    assert "\n  harness validate path/to/bundle\n" in shown


def test_pytest_finds_the_plugin_of_an_installed_wheel(wheel, tmp_path):
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--no-index")
    call(*pip, "--no-deps", "--target", str(tmp_path / "site"), str(wheel))
    (tmp_path / "test_it.py").write_text("def test_it(assert_conforms): pass\n")
    flags = (f"--harness-golden={ROOT / 'golden/gru_tagger/torch'}", "--harness-runtime=ort-cpu")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site")}
    printed = call(
        *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "test_it.py"),
        *flags,
        cwd=tmp_path,
        env=environment,
    )
    assert re.search(r"^plugins: .*onnx-sequence-harness", printed, re.MULTILINE)
    assert "<Function test_it>" in printed
    assert "<CellItem gru_tagger/torch/native/fp32/ort-cpu>" in printed
