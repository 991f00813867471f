"""harness.runtimes.guard: what anyone's runtime answers, and what is made of what is no answer."""

import enum
import json
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from harness.core.errors import LoadError, RunError
from harness.onnx_operators.survey import survey
from harness.runtimes.guard import GuardedRuntime, GuardedSession
from tests.support import planted


def gives(answer):
    """A runtime and a session, every method of which gives ``answer`` or raises it."""

    def method(*arguments):
        print("aside")
        if isinstance(answer, BaseException):
            raise answer
        return answer

    names = ("check", "version", "prepare", "run", "evidence")
    return SimpleNamespace(**dict.fromkeys(names, method))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, None),
        ("no such device", "no such device"),
        ("two\nlines ", "two lines"),
        ("", "check() returned str, expected None or a reason"),
        (True, "check() returned bool, expected None or a reason"),
        (0, "check() returned int, expected None or a reason"),
        (OSError("no\nfile"), "check() raised OSError: no"),
        (SystemExit(), "check() raised SystemExit"),
        (planted.PanicError("no"), "check() raised PanicError: no"),
        (LoadError("gone"), "check() raised LoadError: gone"),
    ],
)
def test_why_a_runtime_is_unavailable(answer, reason):
    assert GuardedRuntime(gives(answer)).check() == reason


@pytest.mark.parametrize("answer", [None, 3, OSError("no"), SystemExit(0), LoadError("no")])
def test_a_version_that_is_not_told_is_empty(answer):
    assert GuardedRuntime(gives(answer)).version() == ""
    assert GuardedRuntime(gives("1.2")).version() == "1.2"


ASKED = {
    "reason": lambda runtime: GuardedRuntime(runtime).check(),
    "version": lambda runtime: GuardedRuntime(runtime).version(),
    "prepared": lambda runtime: GuardedRuntime(runtime).prepare("m.onnx"),
    "outputs": lambda session: GuardedSession(session).run({}),
    "evidence": lambda session: GuardedSession(session).evidence(),
}


@pytest.mark.parametrize("name", ASKED)
def test_an_interrupt_stays_one(name):
    with pytest.raises(KeyboardInterrupt):
        ASKED[name](gives(KeyboardInterrupt()))


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        *(("reason", None), ("version", "1"), ("prepared", planted.Session(None))),
        *(("outputs", []), ("evidence", {})),
    ],
)
def test_what_is_printed_goes_to_standard_error(name, answer, capsys):
    before = sys.stdout
    ASKED[name](gives(answer))
    assert capsys.readouterr() == ("", "aside\n")
    assert sys.stdout is before


@pytest.mark.parametrize(
    ("name", "error"), [("prepared", LoadError), ("outputs", RunError), ("evidence", RunError)]
)
@pytest.mark.parametrize(
    ("raised", "crashed"),
    [
        (ValueError("no"), False),
        (MemoryError("no"), True),
        (SystemExit("no"), True),
        (planted.PanicError("no"), True),
        (RunError("no", crashed=True), True),
    ],
)
def test_what_is_raised_is_a_failure_of_its_stage(name, error, raised, crashed):
    with pytest.raises((error, type(raised)) if name == "prepared" else error) as caught:
        ASKED[name](gives(raised))
    assert caught.value.crashed is crashed
    assert str(caught.value).endswith("no")


@pytest.mark.parametrize("session", [None, planted.CLEAN, SimpleNamespace(run=print)])
def test_what_is_no_session_is_not_prepared(session):
    with pytest.raises(LoadError, match=r"prepare\(\) returned \w+, which has no (run|evidence)"):
        GuardedRuntime(gives(session)).prepare("m.onnx")


@pytest.mark.parametrize(
    "value",
    [
        np.arange(6, dtype=np.float32).reshape(2, 3).T,
        np.arange(3, dtype=">i8"),
        np.array([1.5, -0.0], dtype=">f4"),
        np.array(["a", "bc"], dtype=object),
        np.array(["a", "bc"], dtype=">U2"),
        np.float32(3),
        np.zeros((0, 2), bool),
        np.rec.array([1.0, 2.0]).view(np.recarray),
    ],
)
def test_outputs_keep_their_values_in_the_byte_order_of_the_machine(value):
    ((name, output),) = GuardedSession(gives([["y", value]])).run({})
    assert name == "y"
    assert type(output) is np.ndarray
    assert output.dtype == np.asarray(value).dtype.newbyteorder("=")
    assert output.dtype.isnative
    np.testing.assert_array_equal(output, value)


def test_outputs_in_the_right_order_are_not_copied():
    value = np.ones(3, np.float32)
    ((_, output),) = GuardedSession(gives([("y", value)])).run({})
    assert np.shares_memory(output, value)


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (np.array([[1, 2]], np.uint8), [[1, 2]]),
        (np.array([0.5, np.inf]), [0.5, "inf"]),
        (float("nan"), "nan"),
        ((1, None, "a"), [1, None, "a"]),
        ({("a", 1): {2: np.float64(1)}}, {"('a', 1)": {"2": 1.0}}),
        (Colour.RED, "Colour.RED"),
        (np.longdouble(1), "1.0"),
        (np.str_("s"), "s"),
    ],
)
def test_evidence_is_what_json_gives_back(value, plain):
    evidence = GuardedSession(gives({"of": value})).evidence()
    assert evidence == {"of": plain}
    assert json.loads(json.dumps(evidence, allow_nan=False)) == evidence
    assert type(evidence["of"]) is type(plain)


def test_evidence_that_holds_itself_is_refused():
    evidence = {}
    evidence["of"] = evidence
    with pytest.raises(RunError, match=r"^evidence\(\) raised RecursionError"):
        GuardedSession(gives(evidence)).evidence()


def test_a_survey_of_a_runtime_whose_check_fails_says_why(monkeypatch):
    monkeypatch.setitem(sys.modules["harness.runtimes"].RUNTIMES, "theirs", f"{__name__}:FAILS")
    surveyed = survey("theirs", [], 1, print)
    assert (surveyed.version, surveyed.unavailable) == ("", "check() raised OSError: no")
    monkeypatch.setitem(sys.modules["harness.runtimes"].RUNTIMES, "theirs", f"{__name__}:MUTE")
    surveyed = survey("theirs", [], 1, print)
    assert (surveyed.version, surveyed.unavailable) == ("", None)


FAILS, MUTE = gives(OSError("no")), gives(None)
