"""An account as it is stored: where every parameter of a model lies in its exported graph."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from harness.core.errors import CheckError
from harness.core.reading import TEXT_BYTES, read_json
from harness.goldens.form import DTYPES
from harness.typed_json import typed

NOT_FOUND = ("altered", "missing", "misplaced", "doubled")
"""What fails a cell."""
SHOWN = 20
Status = Literal[
    "copied", "derived", "unused", "unproven", "altered", "missing", "misplaced", "doubled"
]
Size = Annotated[int, Meta(ge=0, le=2**40)]
Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
Dtype = Literal[(*DTYPES, "complex64", "complex128")]  # type: ignore[valid-type]
Dims = Annotated[tuple[Size, ...], Meta(max_length=64)]


class Block(Struct, forbid_unknown_fields=True, frozen=True):
    """Some rows of a constant.

    The constant, without its axes of size 1, has its axes in the order ``axes`` and is then a
    matrix of so many ``columns``, of which the first ``width`` count: the others are zero.
    """

    constant: str
    axes: Dims
    columns: Size
    width: Size
    start: Size
    rows: Size


class Parameter(Struct, forbid_unknown_fields=True, frozen=True):
    """Where a parameter lies, and ``how`` in words.

    One below the other the ``blocks`` are the parameter, without its axes of size 1, with the
    others in the order ``axes``. Those of a derived one are a constant that was computed from it,
    which has the hash ``constant``.
    """

    name: str
    status: Status
    shape: Dims
    dtype: Dtype
    how: str
    axes: Dims = ()
    blocks: tuple[Block, ...] = ()
    constant: Hash | None = None

    @property
    def elements(self) -> int:
        return _product(self.shape)

    @property
    def line(self) -> str:
        return f"{self.name} {self.how}"


class Unsourced(Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """A constant that comes from no parameter, and what is ``wrong`` with it, if anything is."""

    name: str
    shape: Dims
    wrong: str = ""

    @property
    def elements(self) -> int:
        return _product(self.shape)


class Account(Struct, forbid_unknown_fields=True, frozen=True):
    """Every parameter of a model, and the float constants of its graph that are of none."""

    schema: Literal[1]
    parameters: tuple[Parameter, ...]
    without_source: tuple[Unsourced, ...] = ()

    def of(self, *statuses: str) -> list[Parameter]:
        return [parameter for parameter in self.parameters if parameter.status in statuses]

    @property
    def failure(self) -> str:
        """What is wrong with the weights, in one line; empty where nothing is."""
        wrong = [parameter.line for parameter in self.of(*NOT_FOUND)]
        wrong += [f"constant {c.name!r} {c.wrong}" for c in self.without_source if c.wrong]
        if not wrong:
            return ""
        more = f"; and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        return f"weights: {wrong[0]}{more}"

    def evidence(self) -> dict[str, Any]:
        """Return what a report says of it."""
        statuses = Counter[str](parameter.status for parameter in self.parameters)
        proved = self.of("copied", "derived")
        named = {
            status: [p.name for p in self.of(status)]
            for status in ("unproven", *NOT_FOUND)
            if statuses[status] or status == "unproven"
        }
        return {
            "parameters": len(self.parameters),
            "elements": sum(parameter.elements for parameter in self.parameters),
            "elements_proved": sum(parameter.elements for parameter in proved),
            **{status: statuses[status] for status in ("copied", "derived", "unused")},
            **named,
            "lines": [parameter.line for parameter in self.parameters],
            "without_source": [
                {"name": c.name, "shape": list(c.shape), "elements": c.elements}
                for c in self.without_source
            ],
        }

    def refuse(self) -> None:
        """Raise CheckError, with the first parameter's name, where one is not as it should be."""
        if self.failure:
            raise CheckError(self.failure)

    def json(self) -> str:
        return json.dumps(msgspec.to_builtins(self), separators=(",", ":")) + "\n"


def read(path: Path) -> Account:
    """Return the account in a file; UsageError where it is none."""
    return typed(read_json(path, TEXT_BYTES), Account, str(path))


def _product(sizes: tuple[int, ...]) -> int:
    total = 1
    for size in sizes:
        total *= size
    return total
