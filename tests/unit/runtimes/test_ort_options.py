"""harness.runtimes.ort_options and .settings: what is asked for is what a session gets."""

import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from harness.commands.run import ended
from harness.core.errors import UsageError
from harness.runtimes.onnx_reference import REFERENCE
from harness.runtimes.ort import CPU, CUDA
from harness.runtimes.ort_options import EXECUTION, LEVELS, OrtOptions
from harness.runtimes.settings import Settings
from harness.validate import main as validate
from tests.support import doubler


@pytest.fixture
def model(tmp_path: Path) -> str:
    path = tmp_path / "model.onnx"
    onnx.save(doubler.graph(), path)
    return str(path)


def test_every_level_and_mode_of_onnx_runtime_has_a_name() -> None:
    import onnxruntime

    assert sorted(LEVELS.values()) == sorted(onnxruntime.GraphOptimizationLevel.__members__)
    assert sorted(EXECUTION.values()) == sorted(onnxruntime.ExecutionMode.__members__)


@pytest.mark.parametrize(
    ("settings", "attribute", "value"),
    [
        *(
            ({"optimization": level}, "graph_optimization_level", name)
            for level, name in LEVELS.items()
        ),
        *(({"execution": mode}, "execution_mode", name) for mode, name in EXECUTION.items()),
        ({}, "graph_optimization_level", "ORT_ENABLE_ALL"),
        ({}, "intra_op_num_threads", 0),
        ({"intra_op_threads": 1}, "intra_op_num_threads", 1),
        ({"intra_op_threads": 8}, "intra_op_num_threads", 8),
        ({"memory_pattern": False}, "enable_mem_pattern", False),
        ({}, "enable_mem_pattern", True),
        ({"arena": False}, "enable_cpu_mem_arena", False),
        ({}, "enable_cpu_mem_arena", True),
    ],
)
def test_a_session_has_the_options_and_the_evidence_says_them(
    model: str, settings: dict[str, object], attribute: str, value: object
) -> None:
    session = CPU.configured(**settings).prepare(model)
    setting = getattr(session._session.get_session_options(), attribute)
    assert getattr(setting, "name", setting) == value
    evidence = session.evidence()
    assert {name: evidence[name] for name in settings} == settings
    assert evidence["tf32"] is False


def test_the_evidence_of_a_session_with_defaults(model: str) -> None:
    evidence = CPU.prepare(model).evidence()
    expected = {
        "optimization": "all",
        "intra_op_threads": None,
        "execution": "sequential",
        "memory_pattern": True,
        "arena": True,
        "spinning": False,
        "provider_options": {},
    }
    assert {name: evidence[name] for name in expected} == expected


@pytest.mark.parametrize(("spinning", "entry"), [(True, "1"), (False, "0")])
def test_threads_without_work_spin_only_where_asked(model: str, spinning: bool, entry: str) -> None:
    session = CPU.configured(spinning=spinning).prepare(model)
    options = session._session.get_session_options()
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == entry
    assert session.evidence()["spinning"] is spinning


def test_options_of_cuda_reach_its_provider(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    import onnxruntime

    requests = []

    class Session:
        def __init__(self, path: str, options: object, providers: list[object], **_: object):
            requests.append(providers[0])

        get_providers = staticmethod(lambda: ["CUDAExecutionProvider"])
        get_inputs = get_outputs = get_provider_graph_assignment_info = staticmethod(list)
        get_provider_options = staticmethod(lambda: dict([requests[-1]]))

    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    assert CUDA.prepare(model).evidence()["tf32"] is False
    evidence = CUDA.configured(provider={"use_tf32": "1", "device_id": "1"}).prepare(model)
    assert evidence.evidence()["tf32"] is True
    assert evidence.evidence()["provider_options"] == {"use_tf32": "1", "device_id": "1"}
    assert requests == [
        ("CUDAExecutionProvider", {"use_tf32": "0"}),
        ("CUDAExecutionProvider", {"use_tf32": "1", "device_id": "1"}),
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimization": "most"}, "optimization 'most'; choose from: none, basic, extended"),
        ({"execution": "both"}, "execution 'both'; choose from: sequential, parallel"),
        ({"intra_op_threads": 0}, "intra_op_threads 0; expected 1 to 256"),
        ({"intra_op_threads": 257}, "intra_op_threads 257; expected 1 to 256"),
        ({"provider": {"use_tf32": "1"}}, "CPUExecutionProvider has no options"),
    ],
)
def test_values_that_are_none_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        CPU.configured(**settings)


def test_configuring_leaves_the_registered_runtime_alone() -> None:
    assert CPU.configured(optimization="none") == replace(CPU, options=OrtOptions("none"))
    assert CPU.options == OrtOptions()


def test_without_settings_every_runtime_stays_as_it_is() -> None:
    assert Settings().on("onnx-reference", REFERENCE) is REFERENCE
    assert not Settings()
    assert Settings().flags == ""


def test_settings_are_told_as_flags() -> None:
    settings = Settings("basic", 2, {"use_tf32": "1", "a": "b c"})
    assert settings.flags == (
        " --optimization basic --intra-op-threads 2"
        " --provider-option use_tf32=1 --provider-option 'a=b c'"
    )


@pytest.fixture
def call(tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]):
    """Run validate on the doubler; returns its exit code, standard error and first result."""
    doubler.record(tmp_path / "golden")
    place = ["--golden", str(tmp_path / "golden"), "--report-dir", str(tmp_path)]

    def run(*flags: str):
        try:
            code = ended(validate, [model, *place, "-q", *flags])
        except SystemExit as end:
            code = end.code
        report = tmp_path / "report.json"
        results = json.loads(report.read_text())["results"] if report.is_file() else []
        return code, capsys.readouterr().err, results

    return run


def test_the_command_line_reaches_the_session_and_the_replay(call) -> None:
    flags = "--optimization extended --intra-op-threads 2"
    code, _, [result] = call("--runtime", "ort-cpu", *flags.split())
    assert code == 0
    assert result["evidence"]["optimization"] == "extended"
    assert result["evidence"]["intra_op_threads"] == 2
    assert result["replay"].endswith(f"--runtime ort-cpu {flags}")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--optimization most", "'most' (choose from "),
        ("--intra-op-threads 0", "'0'; expected a whole number from 1"),
        ("--intra-op-threads two", "'two'; expected a whole number from 1"),
        ("--provider-option use_tf32", "'use_tf32'; expected KEY=VALUE, such as use_tf32=1"),
        ("--provider-option =1", "'=1'; expected KEY=VALUE, such as use_tf32=1"),
        (
            "--runtime ort-cpu --provider-option use_tf32=1",
            "--provider-option use_tf32=1: runtime ort-cpu: CPUExecutionProvider has no options",
        ),
        (
            "--runtime ort-cpu,onnx-reference --optimization basic",
            "--optimization basic: runtime onnx-reference has no such settings",
        ),
    ],
)
def test_what_cannot_be_set_is_refused_in_one_line(call, flags: str, message: str) -> None:
    code, said, results = call(*flags.split())
    assert code == 2
    assert message in said
    assert len(said.splitlines()) == 1
    assert not results
