"""Operator cases through a runtime, in a child that is replaced where a case kills it."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from harness.operator_cases import CRASHED, OperatorCase, Verdict, judge
from harness.runtimes import RUNTIMES, load
from harness.tolerance import FULL_PRECISION

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
    if reason := runtime.check():
        return Survey("", {}, reason)
    found = {}
    with _asking(name, seconds) as ask:
        for case in cases:
            told(case.name)
            found[case.name] = ask(case)
    return Survey(runtime.version(), found)


@contextmanager
def _asking(name: str, seconds: float) -> Iterator[Ask]:
    """What judges a case in a child, which is started anew after one that it did not survive."""
    context = get_context("spawn")
    children: list[tuple[Connection, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"

        def start() -> None:
            ours, theirs = context.Pipe()
            child = context.Process(target=_serve, args=(theirs, name, dict(RUNTIMES), path))
            child.start()
            theirs.close()
            children.append((ours, child))

        def stop() -> int | None:
            ours, child = children.pop()
            ours.close()
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)  # type: ignore[attr-defined]
            child.join()  # type: ignore[attr-defined]
            return child.exitcode  # type: ignore[attr-defined,no-any-return]

        def ask(case: OperatorCase) -> Verdict:
            if not children:
                start()
            ours, child = children[-1]
            try:
                ours.send(case)
                if ours.poll(seconds):
                    verdict: Verdict = ours.recv()
                    return verdict
                how = f"did not end within {seconds:g} s"
            except (EOFError, OSError):
                child.join(5)  # type: ignore[attr-defined]
                how = _ended(child.exitcode)  # type: ignore[attr-defined]
            stop()
            return Verdict(CRASHED, f"the process that ran it {how}")

        try:
            yield ask
        finally:
            if children:
                stop()


def _serve(connection: Connection, name: str, targets: Mapping[str, str], path: Path) -> None:
    """Judge the cases that come, until the other end closes; nothing is printed."""
    os.setsid()
    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silent, stream)
    RUNTIMES.update(targets)
    runtime = load(name)
    with suppress(EOFError):
        while True:
            case = connection.recv()
            connection.send(judge(case, runtime, path, name in FULL_PRECISION))


def _ended(status: int | None) -> str:
    if status is None or status >= 0:
        return f"ended with exit code {status}"
    names = {one.value: one.name for one in signal.Signals}
    return f"ended with signal {names.get(-status, -status)}"
