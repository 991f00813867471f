"""Cells of a report where they lie, in its file; their cases are read as they are needed."""

from __future__ import annotations

import json
from abc import abstractmethod
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, overload

from harness.core.results import CaseResult
from harness.reports.scanning import VALUE_BYTES, Scanner, Source

_CHUNK = 2**18


class Cases(Sequence[CaseResult]):
    """Cases that are not held: each is made when it is asked for."""

    __slots__ = ()

    @abstractmethod
    def at(self, number: int) -> CaseResult:
        """Return the case at a place from 0 on."""

    @overload
    def __getitem__(self, number: int) -> CaseResult: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[CaseResult]: ...
    def __getitem__(self, number: int | slice) -> CaseResult | Sequence[CaseResult]:
        places = range(len(self))[number]
        return self.at(places) if isinstance(places, int) else tuple(map(self.at, places))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(lambda a, b: a == b, self, other))

    __hash__ = None  # type: ignore[assignment]


class Places:
    """Where the cases of one file lie, in their order."""

    def __init__(self, source: Source, decode: Callable[[bytes], CaseResult]) -> None:
        self.source = source
        self.decode = decode
        self.starts = array("Q")
        self.sizes = array("I")

    def scan(self, scanner: Scanner) -> None:
        """Take the next array, and note where its elements lie."""
        for _ in scanner.elements():
            scanner.peek()
            self.starts.append(scanner.offset)
            self.sizes.append(len(scanner.value()))

    def texts(self, first: int, end: int) -> Iterator[bytes]:
        """Yield the text of each case from ``first`` to before ``end``; those near at once."""
        starts, sizes = self.starts, self.sizes
        while first < end:
            start, next_one = starts[first], first + 1
            while next_one < end and starts[next_one] + sizes[next_one] - start <= _CHUNK:
                next_one += 1
            data = self.source.read(start, starts[next_one - 1] + sizes[next_one - 1] - start)
            for number in range(first, next_one):
                place = starts[number] - start
                yield data[place : place + sizes[number]]
            first = next_one


class StoredCases(Cases):
    """The cases of one cell: those of a file from ``first`` to before ``end``."""

    __slots__ = ("_end", "_first", "_places")

    def __init__(self, places: Places, first: int, end: int) -> None:
        self._places = places
        self._first = first
        self._end = end

    def __len__(self) -> int:
        return self._end - self._first

    def at(self, number: int) -> CaseResult:
        (text,) = self._places.texts(self._first + number, self._first + number + 1)
        return self._places.decode(text)

    def __iter__(self) -> Iterator[CaseResult]:
        return map(self._places.decode, self.texts())

    def texts(self) -> Iterator[bytes]:
        return self._places.texts(self._first, self._end)


class EvidenceText(Mapping[str, Any]):
    """What a JSON object holds, as text, which takes a fifth of the space, and ``more`` entries."""

    __slots__ = ("_more", "_text")

    def __init__(self, text: bytes, more: Mapping[str, Any] = MappingProxyType({})) -> None:
        self._text = text
        self._more = more

    def __getitem__(self, name: str) -> Any:
        return self._more[name] if name in self._more else _entries(self._text)[name]

    def __iter__(self) -> Iterator[str]:
        return iter({**_entries(self._text), **self._more})

    def __len__(self) -> int:
        return len(_entries(self._text) | self._more.keys())


@lru_cache(maxsize=1)
def _entries(text: bytes) -> dict[str, Any]:
    """Return what a text holds; the last one is kept, as its entries are asked for in turn."""
    entries: dict[str, Any] = json.loads(text)
    return entries


def with_more(entries: Mapping[str, Any], more: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return these entries and more, which replace those of the same name."""
    if not isinstance(entries, EvidenceText):
        return {**entries, **more}
    return EvidenceText(entries._text, {**entries._more, **more} if entries._more else more)


def object_without(scanner: Scanner, name: str, take: Callable[[], None]) -> bytes:
    """Return the text of the next object with an empty array for ``name``.

    ``take`` takes the array that is there. What is left may have ``VALUE_BYTES``.
    """
    parts, size = [], 0
    for text, key in scanner.members():
        if key == name and scanner.peek() == b"[":
            take()
            parts.append(text + b":[]")
        else:
            parts.append(text + b":" + scanner.value())
        size += len(parts[-1])
        if size > VALUE_BYTES:
            raise scanner.too_large()
    return b"{" + b",".join(parts) + b"}"
