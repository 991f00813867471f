import json
import time

import pytest

from harness.core.errors import UsageError
from harness.core.schema import Stage
from harness.exporters import EXPORTERS
from harness.exporting import bundle, cache
from harness.exporting import key as keys
from harness.processes.limits import GIB, Limits
from reference_models import catalog
from tests.support import doubler
from tests.support.planted_exporters import NAMES, TARGETS
from tests.support.processes import ends


@pytest.fixture
def ensure(tmp_path, monkeypatch):
    """Run planted exporters in order; returns the bundles by exporter."""
    folder = doubler.record(tmp_path / "golden")
    monkeypatch.setitem(cache.FRAMEWORKS, "torch", "tests.support.planted_exporters")
    monkeypatch.setitem(catalog.MODELS, "doubler", "tests.support.doubler:SPEC")
    for key, target in TARGETS.items():
        monkeypatch.setitem(EXPORTERS, key, target)
    monkeypatch.setattr(keys, "installed_versions", lambda framework: {framework: "1.0"})
    messages = []

    def run(names, opset=18, limits=None):
        messages.clear()
        jobs = [
            cache.ExportJob("doubler", "torch", n, "fp32", opset, str(folder), str(tmp_path / n))
            for n in names
        ]
        stored = cache.ensure(jobs, messages.append, limits=limits)
        return {job.exporter: stored[job.name] for job in jobs}, list(messages)

    return run


def test_a_child_that_dies_costs_one_export(ensure):
    stored, messages = ensure(NAMES)
    assert len(messages) == len(NAMES)
    reasons = {name: str(stored[name].failure) for name in NAMES if stored[name].failure}
    assert reasons == {
        "crash": "the exporting process ended with signal SIGSEGV: the last words",
        "leave": "the exporting process ended with exit code 7",
        "refuse": "this layer cannot be exported",
        "stumble": reasons["stumble"],
    }
    assert reasons["stumble"].startswith("KeyError: ")
    assert "\n" not in reasons["stumble"]
    assert all(stored[name].failure.stage is Stage.EXPORT for name in reasons)
    crashed = {name for name in reasons if stored[name].failure.crashed}
    assert crashed == {"crash", "leave", "stumble"}
    assert stored["succeed"].model.is_file()
    assert set(stored["succeed"].manifest["example"]) == {"batch", "sequence"}


@pytest.mark.slow
def test_an_export_beyond_its_limits_is_killed_and_the_rest_goes_on(ensure):
    started = time.monotonic()
    ensure(["succeed"], opset=17)
    enough = max(4, round(5 * (time.monotonic() - started)))
    limits = Limits(seconds=enough, memory=GIB, output=2**20)
    stored, messages = ensure(["hang", "flood", "succeed"], limits=limits)
    assert len(messages) == 3
    reasons = {name: str(stored[name].failure) for name in ("hang", "flood")}
    reason, _, pid = reasons["hang"].partition("waits for ")
    assert reason == f"the exporting process did not end within {enough} s and was killed: "
    assert ends(pid)
    assert reasons["flood"].startswith("the exporting process wrote over 1,048,576 bytes of output")
    assert all(stored[name].failure.crashed for name in reasons)
    assert all(not stored[name].folder.exists() for name in reasons)
    assert stored["succeed"].model.is_file()


def test_a_child_that_dies_is_noticed_though_what_it_forked_lives(ensure):
    stored, done = ensure(["fork", "succeed"], limits=Limits(seconds=120.0))
    assert len(done) == 2
    assert "ended with signal SIGABRT" in str(stored["fork"].failure)
    assert stored["succeed"].model.is_file()


@pytest.mark.parametrize("name", ["hoard", "wrapped"])
def test_an_export_that_lacks_memory_is_a_crash_and_not_stored(ensure, name):
    stored, _ = ensure([name, "succeed"], limits=Limits(memory=GIB))
    assert stored[name].failure.crashed
    assert stored[name].failure.stage is Stage.EXPORT
    assert "ended with exit code 1" in str(stored[name].failure)
    assert not stored[name].folder.exists()
    assert stored["succeed"].model.is_file()


@pytest.mark.parametrize("name", ["full", "inside"])
def test_an_export_that_the_system_refused_a_file_is_a_crash_and_not_stored(ensure, name):
    stored, _ = ensure([name, "succeed"])
    assert stored[name].failure.crashed
    assert "ended with exit code 1" in str(stored[name].failure)
    assert not stored[name].folder.exists()
    assert len(ensure([name])[1]) == 1
    assert stored["succeed"].model.is_file()


def test_an_os_error_of_no_file_is_the_exporters_own(ensure):
    stored, _ = ensure(["mute"])
    assert str(stored["mute"].failure) == "lambdas are not supported"
    assert stored["mute"].folder.exists()


def test_a_crash_that_is_stored_stays_one(ensure):
    ensure(["stumble", "refuse"])
    stored, messages = ensure(["stumble", "refuse"])
    assert messages == []
    assert stored["stumble"].failure.crashed
    assert not stored["refuse"].failure.crashed


def test_a_death_is_told_and_not_stored(ensure):
    stored, _ = ensure(["crash"])
    assert "SIGSEGV" in str(stored["crash"].failure)
    assert not stored["crash"].folder.exists()
    assert len(ensure(["crash"])[1]) == 1


def test_nothing_is_exported_twice_until_something_changes(ensure, monkeypatch):
    ensure(["succeed", "refuse"])
    assert ensure(["succeed", "refuse"])[1] == []
    assert len(ensure(["succeed", "refuse"], opset=19)[1]) == 2
    monkeypatch.setattr(keys, "installed_versions", lambda framework: {framework: "1.1"})
    assert len(ensure(["succeed", "refuse"], opset=19)[1]) == 2


def test_without_the_framework_a_stored_export_is_used_and_a_missing_one_told(ensure, monkeypatch):
    ensure(["succeed"])
    monkeypatch.setattr(keys, "installed_versions", lambda framework: {})
    stored, messages = ensure(["succeed", "refuse"])
    assert messages == []
    assert stored["succeed"].model.is_file()
    assert "torch is not installed" in stored["refuse"]


def test_an_altered_or_incomplete_bundle_is_not_used(ensure):
    model = ensure(["succeed"])[0]["succeed"].model
    model.write_bytes(b"altered")
    with pytest.raises(UsageError, match="altered"):
        bundle.read(model.parent)
    assert len(ensure(["succeed"])[1]) == 1
    (model.parent / bundle.MANIFEST).write_text(json.dumps({"schema": 0}))
    assert len(ensure(["succeed"])[1]) == 1
    model.unlink()
    assert len(ensure(["succeed"])[1]) == 1
