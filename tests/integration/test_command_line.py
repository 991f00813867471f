"""The commands as a user calls them: exit codes, one line for an error, no traceback."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from harness.__main__ import COMMANDS
from harness.goldens import manifest as manifests
from harness.goldens import store
from tests.support import doubler

ROOT = Path(__file__).parents[2]


def call(*arguments, cwd=ROOT, env=os.environ, how="-m", path=()):
    modules = os.pathsep.join(map(str, (*path, ROOT)))
    options = {"cwd": cwd, "env": {**env, "PYTHONPATH": modules}, "check": False}
    command = [sys.executable, how, *arguments]
    return subprocess.run(command, capture_output=True, text=True, **options)


@pytest.fixture
def onnx_file(tmp_path):
    doubler.record(tmp_path / "golden")
    onnx.save(doubler.graph(), tmp_path / "model.onnx")
    return [
        *(str(tmp_path / "model.onnx"), "--golden", str(tmp_path / "golden")),
        *("--report-dir", str(tmp_path / "report")),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_in_whichever_way_it_is_called(command):
    by_module, by_package = call(f"harness.{command}", "--help"), call("harness", command, "--help")
    assert by_module.returncode == by_package.returncode == 0
    assert by_module.stdout == by_package.stdout
    assert by_module.stdout.startswith(f"usage: python -m harness.{command} ")


def test_the_way_in_names_every_command_and_refuses_what_is_none():
    shown = call("harness", "--help")
    assert shown.returncode == 0
    assert all(f"  {name} " in shown.stdout for name in COMMANDS)
    nothing = call("harness")
    assert (nothing.returncode, nothing.stdout, nothing.stderr) == (2, "", shown.stdout)
    for word, near in (("validat", "did you mean validate?"), ("measure", ""), ("--vers", "")):
        result = call("harness", word, "a", "b")
        assert result.returncode == 2
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith(f"error: unknown command '{word}'")
        assert near in line
        assert "choose from: compare, convert, diagnose, export" in line


def test_a_command_ends_alike_in_whichever_way_it_is_called():
    by_module, by_package = (
        call("harness.validate", "two_input_q"),
        call("harness", "validate", "two_input_q"),
    )
    assert by_module.returncode == by_package.returncode == 2
    assert by_module.stderr == by_package.stderr
    assert "did you mean two_input_qa?" in by_module.stderr


def test_no_library_is_taken_for_a_command():
    result = call("harness.api")
    assert result.returncode == 2
    assert "unknown command 'api'" in result.stderr
    assert call("harness.measure", "a", "b").returncode == 1


def test_json_goes_to_standard_output_alone(onnx_file):
    result = call("harness.validate", *onnx_file, "--json")
    report = json.loads(result.stdout)
    assert result.returncode == 0, result.stderr
    assert report["schema"] == 1
    assert report["summary"]["comparisons"] == 2 * (len(doubler.CASES) + 1)
    assert "comparisons" in result.stderr


def test_quiet_prints_one_line(onnx_file, tmp_path):
    result = call("harness.validate", *onnx_file, "-q")
    names = {path.name for path in (tmp_path / "report").iterdir()}
    assert names == {"report.json", "report.html", "report.md", "junit.xml"}
    date = json.loads((tmp_path / "report/report.json").read_text())["environment"]["date"]
    assert date in (tmp_path / "report/report.html").read_text("utf-8")
    assert len(result.stdout.splitlines()) == 1
    assert "1 cell, 10 comparisons at 50 of 50 steps: 1 pass" in result.stdout
    assert result.stderr == ""


def test_a_replayed_line_judges_the_same_cell(onnx_file, tmp_path):
    call("harness.validate", *onnx_file)
    report = json.loads((tmp_path / "report/report.json").read_text())
    (replay,) = [result["replay"] for result in report["results"]]
    again = call(*replay.split()[2:], "--report-dir", str(tmp_path / "again"))
    assert again.returncode == 0
    assert report["results"][0]["id"] in again.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["no_such_model"], 2, ["no_such_model", "two_input_qa", "language_model"]),
        (["two_input_q"], 2, ["did you mean two_input_qa?"]),
        (["--lengths", "0.."], 2, ["'0..'", "4096"]),
        (["--lengths", "30"], 2, ["--lengths 30", "4096"]),
        (["--batch", "x"], 2, ["--batch 'x'"]),
        (["--exporter", "nativ"], 2, ["did you mean native?", "tf2onnx"]),
        (["--runtime", "cuda"], 2, ["'cuda'", "ort-cuda", "ort-cpu"]),
        (["--framework", "jax"], 2, ["keras, torch"]),
        (["--variant", "fp8"], 2, ["fp32"]),
        (["--shard", "3/2"], 2, ["I/N"]),
        (["-k", "and"], 2, ["-k"]),
        (["-k", "nothing_like_it"], 4, ["nothing would be compared"]),
        (["--no-such-flag"], 2, ["--no-such-flag"]),
        (["--frame", "torch"], 2, ["--frame"]),
        ([""], 2, ["choose from"]),
        (["missing.onnx"], 2, ["no such file"]),
        (["README.md/x.onnx"], 2, ["no such file"]),
        (["tests"], 2, ["not a bundle"]),
        (["--golden", "nowhere"], 2, ["no golden at nowhere"]),
        (["--require", "cuda"], 2, ["ort-cuda"]),
    ],
)
def test_an_unusable_call_ends_in_one_line(arguments, code, words, tmp_path):
    result = call("harness.validate", *arguments, "--report-dir", str(tmp_path / "report"))
    assert result.returncode == code, result.stderr
    assert len(result.stderr.splitlines()) == 1, result.stderr
    assert all(word in result.stderr for word in words), result.stderr
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["validate"],
        ["mutate"],
        ["diagnose", "gru_tagger"],
        ["export", "gru_tagger", "-o", "out"],
        ["record", "--check"],
    ],
)
def test_without_goldens_one_line_says_where_they_come_from(tmp_path, arguments):
    result = call("harness", *arguments, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith(
        "error: there is no folder golden: goldens of reference models come with"
    )
    assert "work in a checkout or give --golden DIR" in line
    assert not (tmp_path / "out").exists()


def test_an_onnx_file_needs_its_golden(onnx_file):
    result = call("harness.validate", onnx_file[0])
    assert result.returncode == 2
    assert "--golden DIR" in result.stderr


@pytest.mark.parametrize("content", [b"not an onnx model", None])
def test_an_unreadable_model_is_refused(onnx_file, content):
    path = Path(onnx_file[0])
    path.write_bytes(path.read_bytes()[:-40] if content is None else content)
    result = call("harness.validate", *onnx_file)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "not a readable ONNX model" in result.stderr


@pytest.mark.parametrize(
    "flags",
    [
        ("--framework", "keras"),
        ("--exporter", "tf2onnx"),
        ("--shard", "2/2"),
        ("-k", "nosuchcell"),
        ("-k", ""),
        ("--every-step",),
        ("--report-dir", "README.md"),
        ("--report-dir", "README.md/x"),
        ("--golden", "README.md"),
    ],
)
def test_a_flag_that_cannot_apply_is_not_ignored(onnx_file, flags):
    result = call("harness.validate", *onnx_file, *flags)
    assert result.returncode in (2, 4), result.stdout
    assert len(result.stderr.splitlines()) == 1, result.stderr


def test_subjects_may_stand_after_options(onnx_file):
    result = call("harness.validate", *onnx_file[1:], onnx_file[0], "-q")
    assert result.returncode == 0, result.stderr


def test_a_required_runtime_that_is_not_here_ends_with_three():
    from harness.runtimes.ort import CUDA

    if CUDA.check() is None:
        pytest.skip("there is a CUDA device here")
    result = call("harness.validate", "--runtime", "ort-cuda", "--require", "ort-cuda")
    assert result.returncode == 3
    assert len(result.stderr.splitlines()) == 1
    assert "ort-cuda" in result.stderr


def test_list_says_what_is_there_and_why_not():
    result = call("harness.list")
    assert result.returncode == 0
    for word in ("language_model", "tf2onnx", "fp32", "ort-cpu", "ort-cuda"):
        assert word in result.stdout


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["no_such_model"], "two_input_qa"),
        (["--framework", "jax"], "keras, torch"),
        (["--check", "--golden", "nowhere"], "there is no folder nowhere"),
        (["--reuse-weights", "--golden", "nowhere"], "there is no folder nowhere"),
        (["gru_tagger", "--check", "--golden", "tests"], "could not be read"),
    ],
)
def test_record_refuses_what_it_cannot_use(arguments, word):
    result = call("harness.record", *arguments)
    assert result.returncode == 2
    assert word in result.stderr
    assert "Traceback" not in result.stderr


def with_another_last_bit(golden):
    """The golden without its last case, the first one's output off by an ulp."""
    kept = manifests.part(golden.manifest, golden.cases[:-1])
    place = manifests.key(golden.cases[0], "output", golden.spec.outputs[0].name)
    tensors = {name: golden.tensors[name] for name in kept["stored"]}
    tensors[place] = np.nextafter(tensors[place], 1.0)
    (output,) = kept["cases"][0]["outputs"].values()
    output["sha256"] = manifests.sha256(tensors[place])
    return replace(golden, manifest=manifests.signed(kept), tensors=tensors)


@pytest.mark.slow
def test_record_adds_cases_and_leaves_others_as_they_are(tmp_path):
    pytest.importorskip("tensorflow")
    name = "gru_tagger_reset_before"
    whole, folder = store.read(ROOT / "golden" / name / "keras"), tmp_path / name / "keras"
    before = with_another_last_bit(whole)
    store.copy(before, folder)
    flags = (name, "--framework", "keras", "--new-cases", "--golden", str(tmp_path))
    bare = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    result = call("harness.record", *flags, env=bare)
    assert (result.returncode, result.stderr) == (0, "")
    assert len(result.stdout.splitlines()) == 1
    assert result.stdout.startswith(f"recorded {name}/keras: score ")
    after = store.read(folder)
    assert after.cases == whole.cases
    assert after.manifest["cases"][:-1] == before.manifest["cases"]
    assert all(value.tobytes() == after.tensors[n].tobytes() for n, value in before.tensors.items())


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_record_says_what_installs_a_framework(tmp_path, framework):
    """The framework is missing in every process, as where it is not installed."""
    hidden, folder = tmp_path / "hidden", tmp_path / "folder"
    hidden.mkdir()
    folder.mkdir()
    missing = f"raise ModuleNotFoundError('No module named {framework}', name={framework!r})"
    (hidden / f"{framework}.py").write_text(missing, encoding="utf-8")
    flags = ("encoder_decoder", "--framework", framework)
    result = call("harness.record", *flags, cwd=folder, path=[hidden])
    assert result.returncode == 3
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {framework} is not installed here ({framework} is missing): ")
    assert line.endswith((f"[{framework}]'", f"[{framework}]"))
    assert not list(folder.iterdir())


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["no_such_model", "-o", "/tmp/never"], "two_input_qa"),
        (["two_input_qa", "-o", "tests"], "not a bundle"),
        (["two_input_qa", "-o", "golden/two_input_qa/torch"], "not a bundle"),
        (["two_input_qa"], "-o"),
        (["two_input_qa", "-o", "/tmp/never", "--framework", "jax"], "keras, torch"),
        (["*", "-o", "/tmp/never"], "one model"),
    ],
)
def test_export_refuses_what_it_cannot_use(arguments, word):
    result = call("harness.export", *arguments)
    assert result.returncode == 2, result.stderr
    assert word in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not Path("/tmp/never").exists()
