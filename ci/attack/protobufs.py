"""ONNX models and tensors with one field changed at random, or with a part that no exporter writes.

What Python's protobuf refuses, such as a name that is not UTF-8, is put into the bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

import onnx
from onnx import TensorProto, helper

MARK = "@not@utf8@"
TEXTS = ["", "x", "a\nb", "\x1b[2K\x1b[1A", "../x", "/tmp/harness-attack-planted/x", "::error::boo"]
TEXTS += [MARK, "x" * 100_000, "batch", "<script>", "Loop", "LSTM", "ai.onnx.ml", "\u202e", "\x00"]
INTEGERS = [0, 1, -1, 2, 3, 7, 16, 127, 2**31 - 1, 2**31, 2**62, 2**63 - 1, -(2**63), 10**6]
FLOATS = [float("nan"), float("inf"), -1.0, 0.0, 1e30, 1e-40, 3.4e38]
TYPE_TEXT, TYPE_BYTES, TYPE_MESSAGE, TYPE_ENUM = 9, 12, 11, 14


def as_model(data: bytes, rng: Random) -> bytes:
    """Return a model with one to three fields, or parts, that are others."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        rng.choice([_field, _field, _field, _weight, _part])(model, rng)
    return _bytes(model, rng)


def as_tensor(data: bytes, rng: Random) -> bytes:
    """Return a tensor with one to three fields that are others, or without a value in it."""
    tensor = TensorProto.FromString(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        rng.choice([_field, _field, _tensor])(tensor, rng)
    return _bytes(tensor, rng)


def _bytes(message: Any, rng: Random) -> bytes:
    bad = bytes(rng.choice([0xFF, 0xC0, 0x80]) for _ in MARK)
    result: bytes = message.SerializeToString(deterministic=True).replace(MARK.encode(), bad)
    return result


def _places(message: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every message in one, itself first, and its fields that are set."""
    for field, value in message.ListFields():
        yield message, field
        if field.type == TYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                yield from _places(inner)


def _field(message: Any, rng: Random) -> None:
    """Change a field: one of each kind, by its full name, is as likely as any other."""
    places: dict[str, list[tuple[Any, Any]]] = {}
    for holder, field in _places(message):
        places.setdefault(field.full_name, []).append((holder, field))
    if not places or rng.random() < 0.1:
        _set(message, rng.choice(message.DESCRIPTOR.fields), rng)
        return
    holder, field = rng.choice(places[rng.choice(sorted(places))])
    if rng.random() < 0.15:
        field = rng.choice(holder.DESCRIPTOR.fields)
    _set(holder, field, rng)


def _set(holder: Any, field: Any, rng: Random) -> None:
    if rng.random() < 0.12:
        holder.ClearField(field.name)
        return
    if not field.is_repeated:
        if field.type == TYPE_MESSAGE:
            inner = getattr(holder, field.name)
            _set(inner, rng.choice(inner.DESCRIPTOR.fields), rng)
        else:
            _assign(holder, field.name, _value(field, getattr(holder, field.name), rng))
        return
    values = getattr(holder, field.name)
    action, place = rng.random(), rng.randrange(len(values)) if len(values) else None
    if place is None or action < 0.15:
        if field.type == TYPE_MESSAGE:
            values.add()
        else:
            values.append(_fitting(field, _value(field, None, rng)))
    elif action < 0.35:
        del values[place]
    elif action < 0.5:
        values.append(values[place])
    elif action < 0.6:
        kept = list(values)
        rng.shuffle(kept)
        copies = (
            [type(v).FromString(v.SerializeToString()) for v in kept] if _inner(field) else kept
        )
        del values[:]
        values.extend(copies)
    elif field.type == TYPE_MESSAGE:
        _set(values[place], rng.choice(values[place].DESCRIPTOR.fields), rng)
    else:
        values[place] = _fitting(field, _value(field, values[place], rng))


def _inner(field: Any) -> bool:
    return bool(field.type == TYPE_MESSAGE)


def _assign(holder: Any, name: str, value: Any) -> None:
    try:
        setattr(holder, name, value)
    except (ValueError, TypeError):
        setattr(holder, name, 0)


def _fitting(field: Any, value: Any) -> Any:
    """Return a value that a field can hold; 32 bits are cut."""
    narrow = field.type in (5, 13)
    return (value + 2**31) % 2**32 - 2**31 if narrow and isinstance(value, int) else value


def _value(field: Any, now: Any, rng: Random) -> Any:
    if field.type == TYPE_TEXT:
        return rng.choice([*TEXTS, f"{now or ''}x", (now or "")[:-1]])
    if field.type == TYPE_BYTES:
        data = now or b""
        return rng.choice([b"", data[:-1], data + b"\0", data * 2, rng.randbytes(8), b"\xff" * 8])
    if field.type in (1, 2):
        return rng.choice([*FLOATS, (now or 0.0) * 1.7])
    if field.type == TYPE_ENUM:
        return rng.choice([*range(25), 99, -1])
    number = rng.choice([*INTEGERS, (now or 0) + 1, (now or 0) - 1, *range(20)])
    limit = 2**31 if field.type == 5 else 2**63
    return number if -limit <= number < limit else 0


def _weight(model: Any, rng: Random) -> None:
    """Multiply an initializer, or one value of it, or let its data be of another length or type."""
    import numpy as np
    from onnx import numpy_helper

    if not model.graph.initializer:
        return
    tensor = rng.choice(list(model.graph.initializer))
    action = rng.random()
    if action < 0.5:
        try:
            value = numpy_helper.to_array(tensor)
        except (TypeError, ValueError):
            return
        if value.dtype.kind == "f" and value.size:
            scale = np.ones_like(value)
            scale.flat[rng.randrange(value.size) if rng.random() < 0.4 else slice(None)] = 1.7
            tensor.CopyFrom(numpy_helper.from_array(value * scale, tensor.name))
    else:
        _tensor(tensor, rng)


def _tensor(tensor: Any, rng: Random) -> None:
    """Change how a tensor says that it holds what it holds."""
    action = rng.randrange(8)
    if action == 0:
        tensor.data_location = TensorProto.EXTERNAL
        places = [
            "../x",
            "/etc/hostname",
            "missing",
            "",
            "model.onnx",
            "/dev/zero",
            "\x1b[2K",
            MARK,
        ]
        tensor.external_data.add(key="location", value=rng.choice(places))
        for key in ("offset", "length"):
            if rng.random() < 0.5:
                value = rng.choice(["0", "-1", "x", str(2**63), "8", ""])
                tensor.external_data.add(key=key, value=value)
    elif action == 1:
        tensor.raw_data = rng.choice([b"", tensor.raw_data[:-3], tensor.raw_data + b"\0"])
    elif action == 2:
        tensor.data_type = rng.choice([*range(25), 99])
    elif action == 3:
        tensor.ClearField("raw_data")
        tensor.data_type = TensorProto.STRING
        tensor.string_data.extend([b"\xff\xfe", b"x"])
    elif action == 4:
        del tensor.dims[:]
        sizes = [[0], [-1], [2**62, 4], [2**31], [1] * 99, [0, 2**62], [10**12]]
        tensor.dims.extend(rng.choice(sizes))
    elif action == 5:
        tensor.float_data.extend([1.0] * rng.choice([1, 99]))
    elif action == 6:
        tensor.segment.begin, tensor.segment.end = -1, 2**62
    else:
        tensor.name = rng.choice(TEXTS)


def _part(model: Any, rng: Random) -> None:
    """Add or move a part of a graph: cycles, functions, nested graphs, dangling names, opsets."""
    graph, action = model.graph, rng.randrange(12)
    node = rng.choice(list(graph.node)) if graph.node else graph.node.add(op_type="Identity")
    name = node.output[0] if node.output else "x"
    if action == 0 and node.input:
        node.input[0] = name
    elif action == 1:
        calls = [helper.make_node("F", ["a"], ["b"], domain="f")]
        function = helper.make_function("f", "F", ["a"], ["b"], calls, [])
        model.functions.append(function)
        model.opset_import.add(domain="f", version=1)
        node.op_type, node.domain = "F", rng.choice(["f", "", "f"])
    elif action == 2:
        inner = helper.make_graph(
            [onnx.NodeProto.FromString(node.SerializeToString())], "g", [], []
        )
        attribute = rng.choice(["then_branch", "else_branch", "body"])
        node.op_type = rng.choice(["If", "Loop", "Scan", "SequenceMap"])
        node.attribute.append(helper.make_attribute(attribute, inner))
    elif action == 3 and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(["missing", "", *TEXTS])
    elif action == 4:
        for opset in model.opset_import:
            opset.version = rng.choice([0, 1, 6, 13, 27, 99, 2**62, -1])
    elif action == 5:
        kept = list(graph.output)
        del graph.output[:]
        graph.output.extend(rng.choice([[], [*kept, *kept], list(graph.input), kept[:-1]]))
    elif action == 6:
        target = rng.choice(list(graph.input) + list(graph.output) or [graph.input.add()])
        dims = target.type.tensor_type.shape.dim
        dims.add().dim_value = rng.choice([0, -1, 2**62])
        if rng.random() < 0.5:
            del dims[0]
    elif action == 7:
        node.attribute.add(name=rng.choice(["axis", "perm", "x"]), type=rng.randrange(16))
    elif action == 8:
        node.op_type = rng.choice(["Loop", "Scan", "If", "LSTM", "RNN", "Nope", "Tanh", "Gather"])
    elif action == 9:
        sparse = graph.sparse_initializer.add()
        sparse.dims.extend([2**40])
        sparse.values.name = rng.choice([name, "sparse", ""])
    elif action == 10:
        for each in node.attribute:
            each.ref_attr_name = rng.choice(["x", ""])
    elif graph.initializer:
        first = rng.choice(list(graph.initializer))
        graph.input.append(helper.make_tensor_value_info(first.name, first.data_type, first.dims))
