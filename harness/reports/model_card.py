"""``MODEL.md``: a bundle's inputs, outputs, and how far it was proved, for people."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any

from harness.core.escaping import block, code, markdown, table_code
from harness.core.names import visible
from harness.core.results import Report
from harness.core.schema import BATCH, ModelSpec, TensorSpec
from harness.core.summary import count
from harness.goldens.store import Golden
from harness.reports import weights

_LINT = "{severity}: {place}: {found}; {remedy} ({rule})"
_RUN = """```python
import numpy as np, onnxruntime as ort

session = ort.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
outputs = session.run({outputs}, {{
{inputs}
}})
```"""

_AGAIN = (
    "Prove it again, with onnx-sequence-harness and no framework, from outside this folder: from",
    "inside it, Python may run a file that lies here, such as a `numpy.py`, in place of what is",
    "installed.",
)


def tolerances(report: Report) -> dict[str, Any]:
    """Return the largest tolerance and the worst ratio to it, by runtime and output."""
    by_runtime: dict[str, Any] = {}
    for result in report.results:
        rows: dict[str, dict[str, float]] = {}
        for case in result.cases:
            for output in case.outputs:
                row = rows.setdefault(output.name, {"largest": 0.0, "worst_ratio": 0.0})
                row["largest"] = max(row["largest"], output.tolerance)
                row["worst_ratio"] = max(row["worst_ratio"], output.ratio)
        if rows:
            by_runtime[result.cell.runtime] = rows
    return by_runtime


def text(stored: Golden, manifest: Mapping[str, Any], report: Report) -> str:
    """Return the card as Markdown."""
    spec = stored.spec
    compared, steps = report.steps
    lengths = {axis: sorted({c.lengths[axis] for c in stored.cases}) for axis in spec.axes}
    batches = sorted({case.batch for case in stored.cases})
    kinds = list(dict.fromkeys(case.padding for case in stored.cases))
    lines = [
        f"# {markdown(spec.name)}",
        "",
        f"Made from {code(str(manifest['subject']))} ({markdown(stored.framework)}) by the exporter"
        f" {code(manifest['exporter'])}{_kept(manifest)}, variant {markdown(manifest['variant'])}.",
        *_instead(manifest),
        "",
        "| | name | type | values |",
        "| --- | --- | --- | --- |",
        *[
            f"| input | {table_code(t.name)} | {_type(t)} | {_values(spec, t)} |"
            for t in spec.inputs
        ],
        *[f"| output | {table_code(t.name)} | {_type(t)} | |" for t in spec.outputs],
        "",
        _RUN.format(
            outputs=[t.name for t in spec.outputs], inputs="\n".join(map(_example, spec.inputs))
        ),
        "",
        "## What was proved",
        "",
        f"Every output was compared with {_reference(stored)} in {count(len(stored.cases), 'case')}"
        f" ({count(report.comparisons, 'comparison')} at {compared:,} of {steps:,} steps):",
        "",
        *[f"- {markdown(axis)}: {', '.join(map(str, sizes))}" for axis, sizes in lengths.items()],
        f"- {BATCH}: {', '.join(map(str, batches))}",
    ]
    if kinds != ["none"]:
        lines.append(f"- padding: {', '.join(kinds)}")
    evidence = next((r.evidence for r in report.results), {})
    lines += [f"- {markdown(line)}" for line in (*read(evidence), *decided(evidence))]
    lines += ["", "| runtime | version | output | worst error | largest tolerance |"]
    lines.append("| --- | --- | --- | ---: | ---: |")
    for result in report.results:
        rows = manifest["tolerance"].get(result.cell.runtime, {})
        runtime = markdown(result.cell.runtime)
        version = markdown(str(result.evidence.get("version", "")))
        if not rows:
            lines.append(f"| {runtime} | | {result.status.value}: {markdown(result.reason)} | | |")
        for name, row in rows.items():
            lines.append(
                f"| {runtime} | {version} | {table_code(name)} |"
                f" {row['worst_ratio']:.2f} x tolerance | {row['largest']:.2g} |"
            )
    lines += _weights(report)
    findings: list[Any] = next((e for r in report.results if (e := r.evidence.get("lint"))), [])
    if findings:
        lines += ["", "## Lint", "", *[f"- {markdown(_LINT.format(**f))}" for f in findings]]
    if manifest.get("refused"):
        lines += [
            "",
            "## Not compared",
            "",
            "The model itself does not run, cannot be judged, or promises nothing, at:",
        ]
        lines += ["", *[f"- {markdown(line)}" for line in manifest["refused"]]]
    again = shlex.join(["harness", "validate", f"path/to/{spec.name}"])
    return "\n".join([*lines, "", *_AGAIN, "", block(visible(again)), ""])


def _kept(manifest: Mapping[str, Any]) -> str:
    return " with native recurrent nodes" if "recurrent_nodes" in manifest else ""


def _instead(manifest: Mapping[str, Any]) -> list[str]:
    """Return why another exporter than the one asked for made the model; nothing where none did."""
    if why := manifest.get("instead"):
        return ["", f"The native exporter refused it: {markdown(str(why))}."]
    return []


def read(evidence: Mapping[str, Any]) -> list[str]:
    """Return how many values of each range of integers the cases hold.

    Where that is a sample, it is said whether the account proves the tables that it reads.
    """
    values = evidence.get("coverage", {}).get("values", {}).items()
    account = evidence.get("account")
    proved = account is not None and not account.get("unproven", True)
    rest = "every weight is proved to the bit" if proved else "nothing proves the others"
    return [
        f"{name}: {some:,} of {every:,} values read" + (f"; {rest}" if some < every else "")
        for name, (some, every) in values
    ]


def decided(evidence: Mapping[str, Any]) -> list[str]:
    """Return how many decisions of the graph were taken both ways, and each that was not."""
    decisions = evidence.get("decisions", {})
    if why := decisions.get("unmeasured"):
        return [f"decisions of the graph: not measured: {why}"]
    if not decisions.get("count"):
        return []
    lines = [f"decisions of the graph: {decisions['both_ways']} of {decisions['count']} both ways"]
    return lines + [
        "{operator} {node!r}: {condition}: never {never}".format(**way)
        for way in decisions["one_way"]
    ]


def _weights(report: Report) -> list[str]:
    """Return how the weights were found, and a line for each that was not simply copied."""
    account = next((a for r in report.results if (a := r.evidence.get("account"))), None)
    found = weights.line(account)
    if account is None or not found:
        return []
    others = [line for line in account["lines"] if " → " not in line or " in " in line]
    return ["", "## Weights", "", markdown(found), "", *[f"- {markdown(line)}" for line in others]]


def _reference(stored: Golden) -> str:
    if "float64_relative_difference" in stored.manifest:
        return "the model's oracle in float64 NumPy"
    if stored.framework == "onnx":
        return "the float64 evaluation of the file's own graph"
    return f"the model run in float64 by {markdown(stored.framework)}"


def _type(tensor: TensorSpec) -> str:
    return f"{tensor.dtype}[{', '.join(markdown(str(axis)) for axis in tensor.axes)}]"


def _values(spec: ModelSpec, tensor: TensorSpec) -> str:
    if tensor.name in spec.masks:
        valid, padded = spec.mark(tensor.name)
        axis = markdown(spec.masks[tensor.name])
        return f"{valid:g} at valid steps of {axis}, {padded:g} at padded ones"
    if tensor.name in spec.lengths:
        return f"the number of valid steps of {markdown(spec.lengths[tensor.name])}"
    integers = tensor.whole or not tensor.dtype.startswith("float")
    high = tensor.high - 1 if integers else tensor.high
    text = f"{tensor.low:g} to {high:g}"
    padding = spec.paddings.get(tensor.name)
    return text if padding is None else f"{text}; {padding:g} is padding"


def _example(tensor: TensorSpec) -> str:
    sizes = [axis if isinstance(axis, int) else 1 if axis == BATCH else 9 for axis in tensor.axes]
    return f"    {tensor.name!r}: np.ones({tuple(sizes)}, np.{tensor.dtype}),"
