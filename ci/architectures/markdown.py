"""The table of architectures as a page of docs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ci.architectures.eager import BOUND, OPERATORS

LONGEST = 150


class Found(Protocol):
    framework: str
    place: str
    kind: str
    exporter: str
    word: str
    by: str
    reason: str
    cases: int
    eager: Mapping[str, Any] | None


HEAD = """# Architectures

{nets} architectures, each built with random weights and given to `harness.export` as a user gives
his own: the default exporter first, which is `native` and, where that cannot, PyTorch's own in
turn; then stock exporters by name. `conforms` means that the bundle was written: every output
at lengths from 1 to 100, several batches and every kind of padding is what the model itself gives
in float64, within the rounding that was measured. `wrong` means that there is a graph and that it
was rejected. {conform} conform by the default exporter, {refused} are refused, {wrong} end in a
graph that is rejected. `none` under stock means that PyTorch's exporters were tried in `native`'s
place and neither gave what the model gives; `not run` that none was run.
{eager}
`python ci/architectures/run.py --eager --docs docs/architectures.md` measures and writes this page;
nothing in it is written by hand. Each row's net is a factory, FILE:FACTORY under `ci/`, that
`python -m harness.export` takes; its inputs are described beside it.

| net | what | native | stock | verdict | reason |
| --- | --- | --- | --- | --- | --- |
"""
EAGER = """
{checked} of the graphs were also run beside the model itself in float64, by means of their own
(`ci/architectures/eager.py`): {comparisons:,} comparisons at up to 9 lengths, most of them others
than those that were exported at, with 4 batches and each kind of padding. {apart} of them are apart
by more than {bound:g} of the values' size, or {rounded:g} with a DFT, whose angles ONNX Runtime
rounds; the largest difference of the others is {worst:.1e}. Left out are {drowned} comparisons
where the model itself in float32 is as far from float64: rounding decides an integer, or what a
fill of -1e9 leaves of what it is added to; and {unpromised} where the bundle says that it makes no
promise, as of rows without a valid step.
"""
TRIED = "; torch-dynamo "
"""What follows the native reason where other exporters were tried."""
WORDS = {"pass": "conforms", "fail": "wrong", "refused": "refused"}


def page(found: Sequence[Found]) -> str:
    """Return the page; a net without an outcome of the default exporter has no row."""
    rows: dict[tuple[str, str], dict[str, Found]] = {}
    for one in found:
        rows.setdefault((one.place, one.framework), {})[one.exporter] = one
    rows = {name: row for name, row in sorted(rows.items()) if "default" in row}
    words = [row["default"].word for row in rows.values()]
    head = HEAD.format(
        nets=len(rows),
        conform=words.count("pass"),
        refused=words.count("refused"),
        wrong=len(words) - words.count("pass") - words.count("refused"),
        eager=_eager([row["default"].eager or {} for row in rows.values()]),
    )
    return head + "".join(map(_row, rows.values()))


def _eager(found: Sequence[Mapping[str, Any]]) -> str:
    """Return what came of running the graphs beside their models; nothing where none was."""
    found = [one for one in found if one]
    if not found:
        return ""
    return EAGER.format(
        checked=len(found),
        bound=BOUND,
        rounded=OPERATORS["DFT"],
        worst=max((one["worst"] for one in found if not one["wrong"]), default=0.0),
        apart=sum(one["wrong"] for one in found) or "None",
        comparisons=sum(one["comparisons"] for one in found),
        drowned=sum(one["drowned"] for one in found),
        unpromised=sum(one["unpromised"] for one in found),
    )


def _row(row: dict[str, Found]) -> str:
    default = row["default"]
    by_native = default.by == "native"
    verdict = WORDS.get(default.word, default.word)
    native = verdict if by_native else "refused"
    if default.by and not by_native:
        verdict += f" by {default.by}"
    file, _, name = default.place.rpartition(":")
    net = f"`{file.removeprefix('ci/').removesuffix('.py')}:{name}`"
    if default.place.startswith("reference"):
        net += f" ({default.framework})"
    reason, _, others = default.reason.partition(TRIED)
    cells = (net, default.kind, native, _stock(row, bool(others)), verdict, _text(reason))
    return f"| {' | '.join(cells)} |\n"


def _stock(row: dict[str, Found], tried: bool) -> str:
    """Return what stock exporters do, as they were run by name or in the default one's place."""
    default = row["default"]
    named = {n: WORDS.get(one.word, one.word) for n, one in row.items() if n != "default"}
    if default.by not in ("", "native"):
        named.setdefault(default.by, WORDS.get(default.word, default.word))
    if not named:
        return "none" if tried else "not run"
    return ", ".join(f"{name} {word}" for name, word in named.items())


def _text(reason: str) -> str:
    text = " ".join(reason.replace("|", "\\|").replace("<", "\\<").split())
    return text if len(text) <= LONGEST else text[: LONGEST - 2] + " …"
