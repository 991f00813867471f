"""A survey of operator cases as JSON and as a table, and the cases that are known to be wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, Literal

import onnx
from msgspec import Struct, to_builtins

from harness.core.errors import UsageError
from harness.core.reading import TEXT_BYTES, read_bytes
from harness.onnx_operators.cases import AGREED, CRASHED, VERDICTS, WRONG, OperatorCase
from harness.onnx_operators.survey import Survey
from harness.runtimes import RUNTIMES
from harness.typed_json import Size

SCHEMA: Final = 1
NAME = "operators.json"
BAD = (WRONG, CRASHED)
"""The verdicts that fail."""
Kind = Literal[VERDICTS]  # type: ignore[valid-type]


class CaseVerdict(Struct, forbid_unknown_fields=True):
    verdict: Kind
    reason: str


class SurveyedRuntime(Struct, forbid_unknown_fields=True):
    """How a runtime fares; ``unavailable`` says why it was not tried."""

    version: str
    unavailable: str | None
    counts: dict[Kind, Size]
    cases: dict[str, CaseVerdict]


class OperatorsFile(Struct, forbid_unknown_fields=True):
    """A survey: ``onnx`` is the version that generated the cases, ``recurrent`` some of them."""

    schema: Literal[1]
    onnx: str
    selected: Size
    recurrent: list[str]
    runtimes: dict[str, SurveyedRuntime]


def known_bad(path: Path, runtimes: Sequence[str], cases: Sequence[str]) -> set[tuple[str, str]]:
    """Return the pairs of runtime and case in a file; those of other runtimes are left out."""
    pairs = set()
    try:
        lines = read_bytes(path, TEXT_BYTES).decode().splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no text in UTF-8: byte {error.start}") from None
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if not words:
            continue
        if len(words) != 2 or words[0] not in RUNTIMES:
            raise UsageError(f"{path}:{number}: {line.strip()!r}; expected RUNTIME CASE")
        if words[1] not in cases:
            near = " or ".join(get_close_matches(words[1], cases))
            hint = f" (did you mean {near}?)" if near else ""
            raise UsageError(f"{path}:{number}: onnx has no case {words[1]!r}{hint}")
        if words[0] in runtimes:
            pairs.add((words[0], words[1]))
    return pairs


def report(surveys: Mapping[str, Survey], cases: Sequence[OperatorCase]) -> dict[str, Any]:
    runtimes = {
        name: SurveyedRuntime(
            survey.version,
            survey.unavailable,
            dict(Counter(v.kind for v in survey.verdicts.values())),
            {case: CaseVerdict(v.kind, v.reason) for case, v in survey.verdicts.items()},
        )
        for name, survey in surveys.items()
    }
    recurrent = [case.name for case in cases if case.recurrent]
    file = OperatorsFile(SCHEMA, onnx.__version__, len(cases), recurrent, runtimes)
    entries: dict[str, Any] = to_builtins(file)
    return entries


def table(surveys: Mapping[str, Survey], cases: Sequence[OperatorCase], verbose: bool) -> str:
    """Return a row for each runtime, of all cases and of the recurrent ones; then the names."""
    recurrent = {case.name for case in cases if case.recurrent}
    lines = [f"{'runtime':<18}{'cases':<11}" + "".join(f"{kind:>14}" for kind in VERDICTS)]
    for name, survey in surveys.items():
        if survey.unavailable:
            lines.append(f"{name:<18}unavailable: {survey.unavailable}")
            continue
        for label, some in (("all", set(survey.verdicts)), ("recurrent", recurrent)):
            counts = Counter(survey.verdicts[case].kind for case in some)
            row = "".join(f"{counts[kind]:>14}" for kind in VERDICTS)
            lines.append(f"{name if label == 'all' else '':<18}{label:<11}{row}")
    for name, survey in surveys.items():
        for case, verdict in survey.verdicts.items():
            named = verbose or case in recurrent or verdict.kind in BAD
            if named and verdict.kind != AGREED:
                lines.append(f"{name}: {case}: {verdict.kind}: {verdict.reason}")
    return "\n".join(lines)
