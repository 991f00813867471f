"""``python -m harness.runtimes.serve MODULE:ATTRIBUTE``: a runtime behind its streams.

The child of ``harness.runtimes.served``: frames of ``harness.runtimes.frames`` ask it to ``load`` a
file (the answer names a ``session``), to ``run`` a session, or for its ``evidence``; ``close``
lists sessions to forget. An ``error`` is answered in one line. It ends with its standard input.
"""

from __future__ import annotations

import os
import sys
from itertools import count
from typing import Any, BinaryIO

from harness.core.errors import HarnessError, one_line
from harness.core.registry import resolve
from harness.core.schema import Runtime, Session
from harness.runtimes import frames


def serve(runtime: Runtime, questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer every question until there is none."""
    sessions: dict[int, Session] = {}
    numbers = count()
    while (frame := frames.read(questions)) is not None:
        header, tensors = frame
        for number in header["close"]:
            sessions.pop(number, None)
        outputs: frames.Tensors = ()
        answer: dict[str, Any] = {}
        try:
            if header["do"] == "load":
                answer["session"] = next(numbers)
                sessions[answer["session"]] = runtime.prepare(header["path"])
            elif header["do"] == "run":
                outputs = sessions[header["session"]].run(dict(tensors))
            else:
                answer["evidence"] = sessions[header["session"]].evidence()
            frames.write(answers, answer, outputs)
        except BrokenPipeError:
            return
        except Exception as error:
            told = str(error) if isinstance(error, HarnessError) else one_line(error)
            frames.write(answers, {"error": told})


def main() -> None:
    """Serve on what was standard output; whatever else prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(resolve(sys.argv[1]), sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
