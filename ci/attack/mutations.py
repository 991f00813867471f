"""Files changed at random: their bytes, or what their format says; a seed gives the same again."""

from __future__ import annotations

import copy
import io
import json
import math
import warnings
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from random import Random
from typing import Any

import protobufs

DEEP, TWICE = "@deep@", "@twice@"
"""Stand for 100,000 nested lists, and before a key that is to be there a second time."""
DEPTH = 100_000
HOSTILE: list[Any] = [
    *(math.nan, math.inf, -math.inf, 1e308, -1e308, 1e30, 1e-320, -0.5, 0.5, 1e-3),
    *(-1, 0, 1, 2, 7, 2**31, 2**31 - 1, 2**62, 2**63, -(2**63), 2**64, 10**400, 10**12),
    *(True, False, None, "", [], {}, [[]], [None], [0], {"": None}, DEEP),
    *(
        "a\nb",
        "\x1b[2K\x1b[1A",
        "::error file=x::boo",
        "<script>alert(1)</script>",
        "a|b`c",
        "[red]",
    ),
    *("../x", "../../../x", "/tmp/harness-attack-planted/x", "a/b", "..", ".", "~", "nul", "C:\\x"),
    *("\ud800", "\udcff", "\u202ee", "\x00", "é" * 130, "x" * 300, "x" * 100_000),
    *("1e9", "nan", "true", "os", "evil", "float32", "float64", "int64", "object", "<U9", "batch"),
    *("float32[batch]", "%s", "{0}", "$(touch x)", "-v", "--help", "0" * 64, "pass", "none"),
]
LITERALS = ["nan", "inf", "-1", "1e999", "9" * 400, "true", '""', "[]", "{}", "{a={a={a=1}}}"]
LITERALS += [
    "'''x\ny'''",
    "1979-05-27T07:32:00Z",
    '"../x"',
    '"\\u001b[2K"',
    '"\\ud800"',
    "[[1],[2]]",
]
LITERALS += ['"in 0..9"', '"float32[batch, time, 2] in 1e308..-1e308"', '"int64[batch, 0]"', '"x"']
LITERALS += ['"float32[batch, time, 99999999999]"', '"[a, a]"', '["1..1000000000000"]', '["0"]']
LITERALS += ["[" * 2000, "0x", '"int64[batch] in -9e99..9e99, padding 1e400"', '["-1"]', '"\\n"']


def bytewise(data: bytes, rng: Random) -> bytes:
    """Return bytes that are flipped, cut, inserted, doubled, swapped, zeroed or added to."""
    if not data:
        return rng.randbytes(9)
    first, size = rng.randrange(len(data)), min(len(data), rng.choice([1, 2, 4, 8, 64, 512]))
    last = min(len(data), first + size)
    part, other = data[first:last], rng.randrange(len(data))
    return rng.choice(
        [
            lambda: (
                data[:first] + bytes([data[first] ^ (1 << rng.randrange(8))]) + data[first + 1 :]
            ),
            lambda: data[:first] + rng.randbytes(len(part)) + data[last:],
            lambda: data[:first],
            lambda: data[:first] + data[last:],
            lambda: data[:first] + rng.randbytes(size) + data[first:],
            lambda: data[:last] + part * rng.choice([1, 1, 100]) + data[last:],
            lambda: data[:other] + part + data[other + len(part) :],
            lambda: data[:first] + bytes(len(part)) + data[last:],
            lambda: data[:first] + b"\xff" * len(part) + data[last:],
            lambda: data + rng.choice([b"\0", data, rng.randbytes(size), bytes(10**6)]),
        ]
    )()


def changed_tree(tree: Any, rng: Random) -> Any:
    """Return JSON in which a value, anywhere, is replaced, dropped, moved, renamed or doubled.

    Sometimes it is replaced in all elements of the lists that it is in.
    """
    tree = copy.deepcopy(tree)
    places: list[tuple[Any, Any]] = []
    node = tree
    while isinstance(node, dict | list) and node:
        key = rng.choice([*node] if isinstance(node, dict) else range(len(node)))
        places.append((node, key))
        node = node[key]
    if not places or rng.random() < 0.02:
        return rng.choice(HOSTILE)
    at = rng.randrange(len(places)) if rng.random() < 0.5 else len(places) - 1
    holder, key = places[at]
    value, action = holder[key], rng.random()
    if action < 0.25:
        wanted = rng.choice([*HOSTILE, *_like(value, rng)])
        for each in _alike(tree, [name for _, name in places[:at]]):
            with suppress(LookupError, TypeError):
                each[key] = wanted
    elif action < 0.62 or (action >= 0.8 and isinstance(holder, list) and action < 0.9):
        holder[key] = rng.choice([*HOSTILE, *_like(value, rng)])
    elif action < 0.72:
        del holder[key]
    elif action < 0.8 and len(holder) > 1:
        other = rng.choice([*holder] if isinstance(holder, dict) else range(len(holder)))
        holder[key], holder[other] = holder[other], value
    elif isinstance(holder, dict):
        text = rng.choice([each for each in HOSTILE if isinstance(each, str)])
        name = rng.choice([TWICE + str(key), text, str(key) + " ", str(key).upper()])
        holder[name] = rng.choice([value, rng.choice(HOSTILE)])
        if name[:7] != TWICE and rng.random() < 0.7:
            holder.pop(key, None)
    else:
        holder.insert(rng.randrange(len(holder) + 1), value)
    return tree


def _alike(node: Any, path: Sequence[Any]) -> Iterator[Any]:
    """Yield what a path leads to, by every element of the lists on it."""
    if not path:
        yield node
    elif isinstance(node, list):
        for inner in node:
            yield from _alike(inner, path[1:])
    elif isinstance(node, dict) and path[0] in node:
        yield from _alike(node[path[0]], path[1:])


def _like(value: Any, rng: Random) -> list[Any]:
    """Return values near one, which are weighed as much as all hostile ones of its type."""
    if isinstance(value, bool) or value is None:
        return [not value] * 20
    if isinstance(value, int | float):
        return [value + 1, value - 1, -value, value * 1.7, str(value), [value], float(value)] * 3
    if isinstance(value, str):
        swapped = "".join(rng.sample(value, len(value)))
        return [value + "\n", value[:-1], value.upper(), swapped, [value], value + "\x1b[2K"] * 3
    return [[value], {"": value}, list(value)[:1], list(value) * 2]


def to_text(tree: Any) -> bytes:
    """Return JSON as text, with what stands for what cannot be in a tree put in."""
    text = json.dumps(tree, indent=1 if isinstance(tree, dict) and len(tree) % 2 else None)
    text = text.replace(f'"{DEEP}"', "[" * DEPTH + "]" * DEPTH).replace(f'"{TWICE}', '"')
    return text.encode()


def as_json(data: bytes, rng: Random) -> bytes:
    """Return a JSON file with one to three changes in its tree, or another encoding of it."""
    tree = json.loads(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        tree = changed_tree(tree, rng)
    text = to_text(tree)
    if rng.random() < 0.04:
        text = text.decode().encode(rng.choice(["utf-16", "utf-32", "utf-8-sig", "utf-16-le"]))
    return text


def as_toml(data: bytes, rng: Random) -> bytes:
    """Return a TOML file with lines that are dropped, doubled, moved, or have other values."""
    lines = data.decode().splitlines()
    for _ in range(rng.choice([1, 1, 2])):
        place = rng.randrange(len(lines))
        key, equals, _ = lines[place].partition("=")
        action = rng.random()
        if equals and action < 0.7:
            lines[place] = f"{key}= {rng.choice(LITERALS)}"
        elif action < 0.8:
            lines.insert(rng.randrange(len(lines)), lines[place])
        elif action < 0.9:
            lines[place] = rng.choice(["[x]", "[[inputs]]", "[inputs]", "a.b.c = 1", '"" = 1', "x"])
        else:
            lines.append(f'"{rng.choice(["x", "a b", "é", "../x", chr(92) + "u001b[2K"])}" = "x"')
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def as_safetensors(data: bytes, rng: Random) -> bytes:
    """Return tensors with another header, another length of it, or other values."""
    size = int.from_bytes(data[:8], "little")
    header, values = data[8 : 8 + size], data[8 + size :]
    if rng.random() < 0.3 and values:
        return data[: 8 + size] + _values(values, rng)
    tree = json.loads(header)
    if rng.random() < 0.5:
        entry = tree[rng.choice([*tree])]
        choice = rng.choice(["dtype", "shape", "data_offsets"])
        offsets = [[0, 0], [8, 0], [0, 2**63], [0, len(values) + 8], [-8, 8], [0, 4]]
        shapes = [[], [0], [2**62, 4], [-1], [1] * 99, [2**32, 2**32], [0, 2**63]]
        kinds = ["F16", "F64", "BF16", "I64", "BOOL", "F8_E5M2", "U8", "Z9", "C64"]
        if isinstance(entry, dict) and choice in entry:
            entry[choice] = rng.choice({"dtype": kinds, "shape": shapes}.get(choice, offsets))
    else:
        tree = changed_tree(tree, rng)
    text = to_text(tree)
    length = rng.choice([len(text)] * 8 + [0, 1, 2**63, len(text) + 8, len(text) - 1])
    return (length % 2**64).to_bytes(8, "little") + text + values


def _values(data: bytes, rng: Random) -> bytes:
    """Return the bytes of float64 or float32 values, one of which is another."""
    import numpy as np

    width = rng.choice(["<f8", "<f4"])
    whole = len(data) // np.dtype(width).itemsize * np.dtype(width).itemsize
    values = np.frombuffer(data[:whole], width).copy()
    if not len(values):
        return data
    place = rng.randrange(len(values))
    with np.errstate(all="ignore"):
        values[place] = rng.choice([np.nan, np.inf, 0, 1e30, -1, values[place] * 1.7])
    return values.tobytes() + data[whole:]


def as_zip(data: bytes, rng: Random) -> bytes:
    """Return an archive with one entry changed, doubled, dropped, renamed or cut."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(info, archive.read(info)) for info in archive.infolist()]
    texts = [n for n, (info, _) in enumerate(entries) if info.filename.endswith(".json")]
    place = rng.choice(texts) if texts and rng.random() < 0.7 else rng.randrange(len(entries))
    info, content = entries[place]
    action = rng.random()
    if action < 0.8:
        textual = info.filename.endswith(".json") and rng.random() < 0.9
        entries[place] = info, (as_json if textual else bytewise)(content, rng)
    elif action < 0.87:
        del entries[place]
    elif action < 0.94:
        name = rng.choice(["../x", "/tmp/harness-attack-planted/x", "a/b", "\x1b[2K", "x" * 999])
        renamed = zipfile.ZipInfo(name, info.date_time)
        entries[place] = renamed, content
    else:
        entries.append((info, rng.choice([content, b"", bytes(10**6)])))
    target = io.BytesIO()
    with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(target, "w") as archive:
        for each, content in entries:
            fresh = zipfile.ZipInfo(each.filename, each.date_time)
            fresh.compress_type = each.compress_type
            archive.writestr(fresh, content)
    return target.getvalue()


FORMS: dict[str, Callable[[bytes, Random], bytes]] = {
    ".json": as_json,
    ".toml": as_toml,
    ".safetensors": as_safetensors,
    ".onnx": protobufs.as_model,
    ".pb": protobufs.as_tensor,
    ".keras": as_zip,
    ".pt2": as_zip,
    ".npz": as_zip,
    ".pt": as_zip,
}


def mutate(data: bytes, suffix: str, rng: Random) -> tuple[str, bytes]:
    """Return the name of a mutation and the file that it makes, which is another one."""
    form = FORMS.get(suffix)
    for _ in range(20):
        by_form = form is not None and rng.random() < 0.75
        try:
            result = form(data, rng) if by_form and form else bytewise(data, rng)
        except (ValueError, TypeError, OverflowError):
            continue
        if result != data:
            return suffix[1:] if by_form else "bytes", result
    return "bytes", data + b"\0"
