"""Data that the file stores elsewhere or in vain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from onnx import TensorProto

from harness.graphs import walk
from harness.graphs.inference import Facts
from harness.linting.finding import Finding


def external_data(facts: Facts) -> Iterator[Finding]:
    """Weights lie in another file, which has to be shipped along and must not be missing."""
    places: dict[str, list[TensorProto]] = {}
    stored = (tensor for scope in facts.scopes for tensor in scope.own_constants.values())
    for tensor in stored:
        if tensor.data_location == TensorProto.EXTERNAL:
            entries = {entry.key: entry.value for entry in tensor.external_data}
            places.setdefault(entries.get("location", ""), []).append(tensor)
    folder = facts.path.parent if facts.path else None
    for location, outside in places.items():
        wrong = _unusable(location, folder, outside)
        count = "1 tensor" if len(outside) == 1 else f"{len(outside)} tensors"
        yield Finding(
            "external-data",
            "error" if wrong else "warning",
            f"initializer {outside[0].name!r}",
            wrong or f"{count} in the file {location!r}",
            "store the weights in the model file, or beside it and ship both",
        )


def unused(facts: Facts) -> Iterator[Finding]:
    """An input or a constant that nothing reads."""
    read = walk.used(facts.graph)
    for value in walk.inputs(facts.graph):
        if value.name not in read:
            problem, remedy = "nothing reads it", "leave it out, or look for what should read it"
            yield Finding("unused", "warning", f"input {value.name!r}", problem, remedy)
    for scope in facts.scopes:
        for tensor in scope.graph.initializer:
            if tensor.name not in read:
                place = f"{scope.within}initializer {tensor.name!r}"
                yield Finding("unused", "warning", place, "nothing reads it", "leave it out")


def _unusable(location: str, folder: Path | None, tensors: Iterable[TensorProto]) -> str:
    """Return what is wrong with the place of external data; empty where nothing is."""
    if not location:
        return "external data without a location"
    if Path(location).is_absolute():
        return f"external data at the absolute path {location!r}"
    if ".." in Path(location).parts:
        return f"external data outside the model's folder, at {location!r}"
    if folder is None:
        return ""
    if not (folder / location).is_file():
        return f"external data {location!r} is missing beside the model"
    size = (folder / location).stat().st_size
    for tensor in tensors:
        entries = {entry.key: entry.value for entry in tensor.external_data}
        try:
            end = int(entries.get("offset", 0)) + int(entries.get("length", 0))
        except ValueError:
            return f"the offset or the length of {tensor.name!r} in {location!r} is no number"
        if end > size:
            return f"{tensor.name!r} ends at byte {end} of {location!r}, which has {size}"
    return ""
