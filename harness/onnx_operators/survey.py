"""Operator cases through a runtime, in a child that is replaced where a case kills it.

``python -m harness.onnx_operators.survey DESCRIPTOR`` is that child: it reads a runtime's name, the
targets of every name and the file that it may write, then cases, and answers each by its verdict.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from subprocess import DEVNULL

from harness.core.tolerance import FULL_PRECISION
from harness.onnx_operators.cases import CRASHED, OperatorCase, Verdict, judge
from harness.processes.limits import Limits, confine
from harness.processes.process import Process
from harness.runtimes import RUNTIMES, guard, load

PROGRAM = "harness.onnx_operators.survey"
Ask = Callable[[OperatorCase], Verdict]


@dataclass(frozen=True)
class Survey:
    """A runtime's version and its verdict on every case; ``unavailable`` says why there is none."""

    version: str
    verdicts: Mapping[str, Verdict]
    unavailable: str | None = None


def survey(
    name: str, cases: Sequence[OperatorCase], seconds: float, told: Callable[[str], None]
) -> Survey:
    """Judge ``cases`` in the runtime called ``name``, each of which may take ``seconds``."""
    runtime = load(name)
    if reason := guard.reason(runtime):
        return Survey("", {}, reason)
    found = {}
    with _asking(name, seconds) as ask:
        for case in cases:
            told(case.name)
            found[case.name] = ask(case)
    return Survey(guard.version(runtime), found)


@contextmanager
def _asking(name: str, seconds: float) -> Iterator[Ask]:
    """What judges a case in a child, which is started anew after one that it did not survive."""
    children: list[Process] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"

        def ask(case: OperatorCase) -> Verdict:
            if not children:
                children.append(Process(PROGRAM, output=DEVNULL))
                children[0].connection.send((name, dict(RUNTIMES), path))
            (child,) = children
            try:
                child.connection.send(case)
                if child.answers(seconds):
                    verdict: Verdict = child.connection.recv()
                    return verdict
                late = child.alive
            except (EOFError, OSError):
                late = False
            how = f"did not end within {seconds:g} s" if late else child.ended()
            stop()
            return Verdict(CRASHED, f"the process that ran it {how}")

        def stop() -> None:
            for child in children:
                child.kill()
                child.connection.close()
            children.clear()

        try:
            yield ask
        finally:
            stop()


def main() -> None:
    """Judge the cases that come, until the other end closes."""
    os.set_inheritable(descriptor := int(sys.argv[1]), False)
    confine(Limits().data)
    with Connection(descriptor) as connection, suppress(EOFError):
        os.register_at_fork(after_in_child=connection.close)
        name, targets, path = connection.recv()
        RUNTIMES.update(targets)
        runtime = load(name)
        while True:
            case = connection.recv()
            connection.send(judge(case, runtime, path, name in FULL_PRECISION))


if __name__ == "__main__":
    main()
