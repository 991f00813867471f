"""A ``.pt2`` file, read without running code that it holds.

``torch.export.load`` unpickles, evaluates and imports what a file says. So what is known to be data
is checked and copied to a new archive, which has nothing else, and PyTorch reads that one.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch.export.pt2_archive import PT2ArchiveWriter
from torch.export.pt2_archive.constants import ARCHIVE_FORMAT_VALUE, ARCHIVE_VERSION_VALUE

from harness.core import archives
from harness.core.errors import UsageError, one_line
from harness.core.names import visible
from harness.core.reading import parse_json
from harness.core.temporary import temporary_folder
from harness.frameworks import pt2_program

EXPECTED = "expected what torch.export.save writes, with tensors that are stored raw"
WAY_OUT = (
    "save it again with today's torch.export.save, or give FILE.py:factory, with --weights FILE"
)
MODEL = "models/model.json"
SAMPLE = "data/sample_inputs/model.pt"
OLD = "serialized_exported_program.json"
MARKS = {
    "archive_format": ARCHIVE_FORMAT_VALUE,
    "archive_version": ARCHIVE_VERSION_VALUE,
    "byteorder": sys.byteorder,
}
FOLDERS = {"weights": "weight_", "constants": "tensor_"}
"""Where tensors lie below ``data/``, and what the names of their files begin with."""


def load(path: Path) -> torch.export.ExportedProgram:
    """Return the program in a ``.pt2`` file.

    UsageError, in one line with the entry at fault, where it is none, or may run code.
    """
    with (
        archives.opened(path, "torch.export program (.pt2)") as archive,
        temporary_folder() as folder,
    ):
        copy = folder / "model.pt2"
        _copy(_Source(path, archive), copy)
        return torch.export.load(copy)


class _Source:
    """The entries of an archive, by their names below its only folder."""

    def __init__(self, path: Path, archive: ZipFile) -> None:
        self.path, self._archive = path, archive
        self.names = {name.partition("/")[2]: name for name in archive.namelist()}
        if OLD in archive.namelist():
            raise self.refused(OLD, "is of an older layout, which holds pickles")
        if len({name.partition("/")[0] for name in archive.namelist()}) != 1:
            raise UsageError(f"{visible(str(path))} has no single folder; {EXPECTED}")
        if MODEL not in self.names:
            raise UsageError(f"{visible(str(path))} holds no {MODEL}; {EXPECTED}")

    def refused(self, name: str, reason: str) -> UsageError:
        place = visible(f"{self.path}: {name}")
        return UsageError(f"{place} {visible(reason)}; {EXPECTED}; {WAY_OUT}")

    def read(self, name: str) -> bytes:
        if name not in self.names:
            raise UsageError(f"{visible(str(self.path))} holds no {visible(name)}; {EXPECTED}")
        return archives.entry(self._archive, self.names[name])

    def checked(self, name: str, check: Callable[[Any], Any]) -> Any:
        """Return what ``check`` makes of a JSON entry; UsageError where it is refused."""
        data = parse_json(self.read(name), Path(f"{self.path}: {name}"))
        try:
            return check(data)
        except ValueError as error:
            raise self.refused(name, f"may run code: {error}") from None
        except Exception as error:  # the schema raises whatever does not fit
            raise self.refused(name, f"is no part of a program ({one_line(error)})") from None


def _copy(source: _Source, to: Path) -> None:
    """Write the program and its tensors, and nothing else, to a new archive."""
    for name, expected in MARKS.items():
        if name in source.names and source.read(name) != expected.encode():
            raise source.refused(name, f"is not {expected}")
    with PT2ArchiveWriter(str(to)) as writer:
        writer.write_string(MODEL, json.dumps(source.checked(MODEL, pt2_program.program)))
        writer.write_bytes(SAMPLE, b"")
        for folder, prefix in FOLDERS.items():
            place = f"data/{folder}"
            if f"{place}/model.pt" in source.names:
                raise source.refused(f"{place}/model.pt", "is a pickle, which runs code")
            config = f"{place}/model_{folder}_config.json"
            tensors = source.checked(config, pt2_program.payload)
            for file in sorted({_file(source, config, prefix, *one) for one in tensors.items()}):
                writer.write_bytes(f"{place}/{file}", source.read(f"{place}/{file}"))
            writer.write_string(config, json.dumps(pt2_program.as_json(tensors)))


def _file(source: _Source, config: str, prefix: str, name: str, tensor: Any) -> str:
    """Return the file of a tensor; UsageError where it is no raw one."""
    if tensor.use_pickle is not False:
        raise source.refused(config, f"has {name!r} as a pickle, which runs code when it is read")
    if not re.fullmatch(rf"{prefix}\d+", str(tensor.path_name)):
        raise source.refused(config, f"has {name!r} in {str(tensor.path_name)!r}, no {prefix}N")
    return str(tensor.path_name)
