"""What a ``.keras`` or an HDF5 file may hold, checked before Keras reads it.

Keras imports some modules that a configuration names, calls any function of its own, and has layers
that are code or that load other files; HDF5 can take its data from any file of the machine.
"""

from __future__ import annotations

import io
import json
import math
from pathlib import Path
from typing import Any

import h5py  # type: ignore[import-untyped]

from harness.core import archives
from harness.core.errors import UsageError, one_line
from harness.core.names import check_printable, visible
from harness.core.reading import check_file

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
CODE = {"Lambda", "__lambda__"}
FOREIGN = {"TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__typespec__"}
"""Classes of Keras that run what another framework, or another file, holds."""
# fmt: off
MODULES = {
    "activations", "constraints", "dtype_policies", "initializers", "layers", "losses", "metrics",
    "models", "ops", "optimizers", "quantizers", "random", "regularizers", "src",
}
# fmt: on
"""Modules of Keras that a configuration may name: none reads files or changes a setting."""
H5_SUFFIXES = (".h5", ".hdf5")
_FILTERS = {1, 2, 3, 4, 5, 6, 32000}
"""HDF5's own filters and LZF: any other is a library that HDF5 looks for and loads."""
_OTHERWISE = "build the model in FILE.py:factory, with --weights for its weights"


def check(path: Path) -> None:
    """Raise UsageError where a ``.keras`` file names code, or data that lies outside it."""
    with archives.opened(path, ".keras file") as archive:
        for name in (CONFIG, WEIGHTS):
            if name not in archive.namelist():
                raise UsageError(f"{visible(str(path))} is no readable .keras file: no {name}")
        try:
            _check_config(json.loads(archives.entry(archive, CONFIG)), path)
        except (ValueError, RecursionError, MemoryError) as error:
            place = visible(f"{path}: {CONFIG}")
            raise UsageError(f"{place} is not JSON: {visible(one_line(error))}") from None
        data = io.BytesIO(archives.entry(archive, WEIGHTS))
        _check_hdf5(data, visible(f"{path}: {WEIGHTS}"))


def check_weights(path: Path) -> None:
    """Raise UsageError where a file of weights is none that Keras reads, or reads other files."""
    if path.suffix == ".keras":
        check(path)
    elif path.suffix in H5_SUFFIXES:
        check_file(path, archives.BYTES)
        _check_hdf5(path, visible(str(path)))
    else:
        expected = "what model.save_weights wrote (.weights.h5)"
        raise UsageError(f"{visible(str(path))} cannot be read; expected {expected}")


def _check_config(value: Any, path: Path) -> None:
    """Raise UsageError where an object's class is code, or is not one of Keras' modules."""
    if isinstance(value, list):
        for item in value:
            _check_config(item, path)
    elif isinstance(value, dict):
        if "class_name" in value:
            _check_class(value, path)
        for item in value.values():
            _check_config(item, path)


def _check_class(config: dict[str, Any], path: Path) -> None:
    place = visible(str(path))
    name, module, inner = str(config["class_name"]), config.get("module"), config.get("config")
    if isinstance(inner, dict) and isinstance(inner.get("name"), str):
        check_printable(inner["name"], f"{place}: the name of a {visible(name)}")
    if name in CODE:
        reason = "has a Lambda layer, which is code that a file must not run"
        raise UsageError(f"{place} {reason}; {_OTHERWISE}")
    if name in FOREIGN:
        raise UsageError(f"{place} has a {name}, which runs what another file holds; {_OTHERWISE}")
    if module is None or module == "builtins":
        return
    first, _, rest = str(module).partition(".")
    if first != "keras" or (rest and rest.partition(".")[0] not in MODULES):
        full = visible(f"{module}.{inner if name == 'function' else name}")
        raise UsageError(
            f"{place} needs a class that is not here ({full}); build the model in FILE.py:factory"
        )


def _check_hdf5(source: Any, place: str) -> None:
    try:
        with h5py.File(source, "r") as file:
            _check_group(file, place, set())
    except UsageError:
        raise
    except Exception as error:  # h5py raises whatever HDF5 does
        raise UsageError(f"{place} is no readable HDF5 file: {visible(one_line(error))}") from None


def _check_group(group: Any, place: str, seen: set[Any], total: int = 0) -> int:
    """Return the bytes of a group's datasets; UsageError where one's data is elsewhere."""
    for name in group:
        at = visible(f"{place}: {group.name.rstrip('/')}/{name}")
        if type(group.get(name, getlink=True)) is not h5py.HardLink:
            raise UsageError(f"{at} is a link; expected data in the file itself")
        found = group[name]
        if (address := h5py.h5o.get_info(found.id).addr) in seen:
            continue
        seen.add(address)
        if isinstance(found, h5py.Group):
            total = _check_group(found, place, seen, total)
        elif isinstance(found, h5py.Dataset):
            _check_dataset(found, at)
            total += math.prod(found.shape or ()) * found.dtype.itemsize
            if total > archives.BYTES:
                limit = f"expected at most {archives.BYTES:,}"
                raise UsageError(f"{at}: the tensors have {total:,} bytes; {limit}")
    return total


def _check_dataset(dataset: Any, at: str) -> None:
    if dataset.external or dataset.is_virtual:
        raise UsageError(f"{at} takes its data from another file; expected data in the file itself")
    plan = dataset.id.get_create_plist()
    codes = {plan.get_filter(n)[0] for n in range(plan.get_nfilters())}
    if unknown := codes - _FILTERS:
        raise UsageError(
            f"{at} is packed by HDF5's filter {min(unknown)}, which is no part of HDF5"
        )
