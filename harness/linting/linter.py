"""Every rule of the static lint over one model file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from harness.core.errors import CheckError, UsageError
from harness.core.registry import resolve
from harness.graphs.inference import Facts, gather
from harness.graphs.interface import read_structure
from harness.linting import RULES
from harness.linting.finding import Finding

FIRST = ("external-data", "deprecated-op", "invalid-onnx")


def read(path: Path, example: Mapping[str, int]) -> Facts:
    """Return the facts of the model in ``path``, its external data left where it is.

    ``example`` holds the sizes it was exported with, by axis, where they are known. UsageError
    where the file is no ONNX model.
    """
    return gather(read_structure(path), example, path)


def run(facts: Facts) -> list[Finding]:
    """Return the findings of every rule, errors first.

    A graph whose data is missing, or that is not valid, is checked no further.
    """
    by_rule: dict[str, list[Finding]] = {}
    for name in FIRST:
        by_rule[name] = [*resolve(RULES[name])(facts)]
        if refused := [finding for finding in by_rule[name] if finding.severity == "error"]:
            return refused
    for name, target in RULES.items():
        if name not in by_rule:
            by_rule[name] = [*resolve(target)(facts)]
    return ordered(finding for name in RULES for finding in by_rule[name])


def of_file(path: Path, example: Mapping[str, int]) -> list[Finding]:
    """Return the findings of every rule; CheckError where ``path`` is no ONNX model."""
    try:
        return run(read(path, example))
    except UsageError as error:
        raise CheckError(str(error)) from None


def ordered(findings: Iterable[Finding]) -> list[Finding]:
    """Return errors first, else in the given order."""
    return sorted(findings, key=lambda finding: finding.severity)


def rules() -> dict[str, str]:
    """Return every rule's name and its description in one sentence."""
    return {name: resolve(target).__doc__.partition("\n")[0] for name, target in RULES.items()}


def refuse(findings: Sequence[Finding]) -> None:
    """Raise CheckError, in one line, where one of the findings is an error."""
    if errors := [finding for finding in findings if finding.severity == "error"]:
        more = f" (and {len(errors) - 1} more errors)" if len(errors) > 1 else ""
        raise CheckError(f"{errors[0]}{more}")
