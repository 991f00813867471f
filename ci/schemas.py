"""Writes docs/schemas/: a JSON Schema (2020-12) of every JSON file that the harness writes.

Usage: python ci/schemas.py. Each is derived from the types by which the file is written or read.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal

from msgspec import defstruct
from msgspec.json import schema_components

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness.accounting.form import Account
from harness.comparing.change import Change
from harness.comparing.text import ComparisonFile
from harness.core.results import Cell
from harness.diagnosis.form import DiagnosisFile
from harness.exporting.bundle import ExportedModel, FailedExport
from harness.goldens.form import GoldenManifest, Hash
from harness.linting.finding import Finding
from harness.linting.formats import LintFile
from harness.mutation.report import MutationFile
from harness.mutation.summary import DefectCount
from harness.mutation.trial import Trial
from harness.onnx_operators.report import OperatorsFile
from harness.placing.answer import PlacementFile
from harness.reports import forms
from harness.validation.outputs.manifest import KeptRun, Manifest

FOLDER = Path(__file__).parents[1] / "docs/schemas"
DRAFT = "https://json-schema.org/draft/2020-12/schema"
WHOLE = (Cell, Change, Finding, DefectCount, Trial)
"""The dataclasses of which all fields are written, and nothing else."""
REFERENCES = "#/$defs/{name}"
Schema = dict[str, Any]


def report() -> Schema:
    return _of(forms.whole())


def comparison() -> Schema:
    return _of(ComparisonFile)


def bundle() -> Schema:
    """Return that of a manifest with a model or, where it has a ``failure``, without one."""
    stated = {"type": "object", "properties": {"schema": {"const": 1}}, "required": ["schema"]}
    failed = {"required": ["failure"], "properties": {"failure": {"not": {"type": "null"}}}}
    branches = {
        "if": failed,
        "then": {"$ref": "#/$defs/FailedExport"},
        "else": {"$ref": "#/$defs/ExportedModel"},
    }
    return {**stated, **branches, "$defs": _definitions(ExportedModel, FailedExport)}


def account() -> Schema:
    return _of(Account)


def golden() -> Schema:
    return _of(defstruct("Golden", [("sha256", Hash)], bases=(GoldenManifest,), kw_only=True))


def outputs() -> Schema:
    written = [("cases", list[KeptRun]), ("schema", Literal[1]), ("sha256", Hash)]
    return _of(defstruct("Outputs", written, bases=(Manifest,), kw_only=True))


def lint() -> Schema:
    return _of(LintFile)


def mutation() -> Schema:
    return _of(MutationFile)


def diagnosis() -> Schema:
    return _of(DiagnosisFile)


def operators() -> Schema:
    return _of(OperatorsFile)


def placement() -> Schema:
    return _of(PlacementFile)


SCHEMAS: dict[str, Callable[[], Schema]] = {
    each.__name__: each
    for each in (
        *(report, comparison, bundle, account, golden, outputs),
        *(lint, mutation, diagnosis, operators, placement),
    )
}
"""What makes each schema, by its name."""


def _of(kind: type) -> Schema:
    return {"$ref": f"#/$defs/{kind.__name__}", "$defs": _definitions(kind)}


def _definitions(*kinds: type) -> Schema:
    _, definitions = schema_components(kinds, ref_template=REFERENCES)
    for kind in WHOLE:
        if kind.__name__ in definitions:
            names = [field.name for field in fields(kind)]
            definitions[kind.__name__] |= {"required": names, "additionalProperties": False}
    for definition in definitions.values():
        if "description" in definition:
            definition["description"] = " ".join(definition["description"].split())
    return definitions


def text(name: str) -> str:
    """Return a schema as it is published: a line for each definition."""
    about = {"$schema": DRAFT, "title": name, **SCHEMAS[name]()}
    definitions = _object(_members(about.pop("$defs")))
    return _object([*_members(about), f'"$defs":{definitions}']) + "\n"


def _members(entries: Schema) -> list[str]:
    return [f"{_compact(key)}:{_compact(value)}" for key, value in entries.items()]


def _object(members: list[str]) -> str:
    return "{\n" + ",\n".join(members) + "\n}"


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in SCHEMAS:
        (FOLDER / f"{name}.json").write_text(text(name), "utf-8")
