"""The oracle's operators of ONNX Runtime's own domain, against its kernels."""

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from harness.core.errors import LoadError
from harness.oracle import microsoft
from harness.oracle.runtime import DECLARED, ORACLE

RNG = np.random.default_rng(0)
UNITS, STEPS = 4, 6
MASK = np.array([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]], np.int32)
IDS, SEGMENTS = np.array([[3, 1, 0, 6, 2], [5, 5, 4, 0, 1]], np.int32), MASK
LENGTHS = np.array([4, 1, 5], np.int32)


def f(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def scales(*shape):
    return np.abs(f(*shape)) * np.float32(0.02) + np.float32(0.01)


def i8(*shape):
    return RNG.integers(-128, 128, shape).astype(np.int8)


def u8(*shape):
    return RNG.integers(0, 256, shape).astype(np.uint8)


def lstm(direction, lengths, *per_channel, peephole=False):
    """An LSTM of three rows; its scales are one for each direction, or one for each column."""
    n = 2 if direction == "bidirectional" else 1
    shape = (n, 4 * UNITS) if per_channel else (n,)
    zero = np.zeros(shape, np.int8)
    start = [f(n, 3, UNITS), f(n, 3, UNITS)]
    weights = [i8(n, 3, 4 * UNITS), i8(n, UNITS, 4 * UNITS), f(n, 8 * UNITS)]
    p = f(n, 3 * UNITS) if peephole else None
    ends = [scales(*shape), zero, scales(*shape), zero]
    attributes = {"hidden_size": UNITS, "direction": direction}
    inputs = [f(STEPS, 3, 3), *weights, lengths, *start, p, *ends]
    return inputs, attributes, ["y", "h", "c"], (1, 2, 3, 8, 9, 10, 11)


def nbits(bits, zero=None, bias=False, k=40, n=6, size=16):
    blocks = -(-k // size)
    packed = {None: None, "packed": u8(n * -(-blocks * bits // 8)), "float": f(n, blocks)}[zero]
    inputs = [f(3, 2, k), u8(n, blocks, size * bits // 8), scales(n * blocks), packed, None]
    inputs += [f(n)] if bias else []
    return inputs, {"K": k, "N": n, "bits": bits, "block_size": size}, ["y"], (1, 2, 3, 5)


def grouped(steps, ends, *, past=0, total=None, packed=False, bias=False, sink=False, **options):
    """Four heads of queries and two of keys; a row of each of ``ends``, its last place."""
    rows = len(ends)
    total = max(ends) + 1 if total is None else total
    parts = [f(rows, steps, 128), None, None]
    if not packed:
        parts = [f(rows, steps, 64), f(rows, steps, 32), f(rows, steps, 32)]
    cache = [f(rows, 2, past, 16), f(rows, 2, past, 16)] if past else [None, None]
    counts = [np.array(ends, np.int32), np.array(total, np.int32)]
    angles = [f(9, 8), f(9, 8)] if options.get("do_rotary") else [None, None]
    more = [None, f(rows, 4, steps, total) if bias else None, f(4) if sink else None]
    inputs = [*parts, *cache, *counts, *angles, *more]
    attributes = {"num_heads": 4, "kv_num_heads": 2, **options}
    return inputs, attributes, ["y", "keys", "values"], ()


def node(*inputs, outputs=("y",), constants=(), **attributes):
    return inputs, attributes, list(outputs), constants


ATTENTION = f(2, 5, 6), f(6, 24), f(24)
QUERY, KEY, VALUE = f(2, 5, 8), f(2, 7, 8), f(2, 7, 8)
NORM = f(2, 3, 8), f(2, 3, 8), f(8)
SCALE = np.array(0.002, np.float32)
PLACES = np.array([[4, 1, 0, 6, 2], [0, 1, 2, 3, 4]])
ANGLES = [np.reshape(turn(np.arange(18)), (9, 2)).astype(np.float32) for turn in (np.cos, np.sin)]
EMBED = f(7, 8), f(9, 8), f(2, 8), f(8), f(8)
CASES = {
    "Gelu": node(f(3, 4)),
    "BiasGelu": node(f(3, 4), f(4)),
    "FastGelu": node(f(3, 4)),
    "FastGelu bias": node(f(3, 4), f(4)),
    "QuickGelu": node(f(3, 4)),
    "QuickGelu alpha": node(f(3, 4), alpha=1.5),
    "FusedMatMul": node(f(2, 3, 4, 5), f(2, 3, 6, 5), transB=1, alpha=0.5),
    "FusedMatMul batch": node(f(5, 2, 3), f(2, 5, 6), transA=1, transBatchA=1),
    "FusedMatMul batches": node(f(2, 5, 3), f(5, 2, 6), transA=1, transBatchB=1),
    "FusedGemm": node(f(3, 4), f(5, 4), f(5), transB=1, alpha=0.5, beta=0.25, activation="Relu"),
    "FusedGemm alpha": node(f(3, 4), f(4, 5), activation="LeakyRelu", activation_alpha=0.1),
    "SkipLayerNormalization": node(*NORM, f(8), f(8), outputs=("y", "", "", "sum"), epsilon=1e-5),
    "SkipLayerNormalization steps": node(f(2, 3, 8), f(3, 8), f(8)),
    "SkipSimplifiedLayerNormalization": node(
        *NORM, f(8), outputs=("y", "", "", "sum"), epsilon=1e-5
    ),
    "EmbedLayerNormalization": node(
        *(IDS, SEGMENTS, *EMBED, MASK),
        outputs=("y", "int_count", "sum"),
        constants=(2, 3, 4, 5, 6),
        epsilon=1e-6,
    ),
    "EmbedLayerNormalization places": node(
        *(IDS, None, *EMBED[:2], None, *EMBED[3:], None, IDS),
        outputs=("y", "int_count"),
        constants=(2, 3, 5, 6),
    ),
    "Attention": node(*ATTENTION, num_heads=2),
    "Attention mask": node(*ATTENTION, MASK, num_heads=2, unidirectional=1),
    "Attention ends": node(*ATTENTION, LENGTHS[1:], num_heads=2),
    "Attention starts": node(*ATTENTION, np.array([3, 5, 1, 0], np.int32), num_heads=2),
    "Attention pairs": node(
        *ATTENTION,
        RNG.integers(0, 2, (2, 5, 5)).astype(np.int32) | np.eye(5, dtype=np.int32),
        num_heads=2,
    ),
    "Attention past": node(
        *(*ATTENTION, np.concatenate([np.ones((2, 3), np.int32), MASK], 1), f(2, 2, 2, 3, 4)),
        outputs=("y", "present"),
        num_heads=2,
        unidirectional=1,
        mask_filter_value=-1e9,
    ),
    "Attention sizes": node(
        f(2, 5, 6), f(6, 20), f(20), num_heads=2, qkv_hidden_sizes=[8, 8, 4], scale=0.3
    ),
    "Attention bias": node(*ATTENTION, None, None, f(2, 2, 5, 5), num_heads=2),
    "MultiHeadAttention": node(QUERY, KEY, VALUE, f(24), num_heads=2),
    "MultiHeadAttention heads": node(
        QUERY, f(2, 2, 7, 4), f(2, 2, 7, 4), f(24), num_heads=2, scale=0.2
    ),
    "MultiHeadAttention mask": node(
        *(QUERY, KEY, VALUE, None, (np.arange(7) < [[3], [7]]).astype(np.int32)), num_heads=2
    ),
    "MultiHeadAttention ends": node(QUERY, KEY, VALUE, None, LENGTHS[:2], num_heads=2),
    "MultiHeadAttention past": node(
        *(QUERY, f(2, 5, 8), f(2, 5, 8), f(24), None, None, f(2, 2, 3, 4), f(2, 2, 3, 4)),
        outputs=("y", "keys", "values"),
        num_heads=2,
        unidirectional=1,
    ),
    "MatMulNBits 2": nbits(2),
    "MatMulNBits 4": nbits(4, bias=True),
    "MatMulNBits 8": nbits(8, "packed"),
    "MatMulNBits zero": nbits(4, "packed"),
    "MatMulNBits float": nbits(4, "float"),
    "MatMulIntegerToFloat": node(u8(3, 4), i8(4, 5), scales(1), scales(5), u8(1), i8(5), f(5)),
    "DynamicQuantizeMatMul": node(f(2, 3, 4), i8(4, 5), scales(5), i8(5), f(5)),
    "DynamicQuantizeLSTM": lstm("forward", None),
    "DynamicQuantizeLSTM lengths": lstm("reverse", LENGTHS, "channels", peephole=True),
    "DynamicQuantizeLSTM both": lstm("bidirectional", LENGTHS),
    "QAttention": node(
        *(u8(2, 5, 6), i8(6, 24), f(24), SCALE, SCALE, LENGTHS[1:]),
        *(np.array(120, np.uint8), np.array(3, np.int8)),
        constants=(1,),
        num_heads=2,
    ),
    "QAttention columns": node(
        *(
            u8(2, 5, 6),
            i8(6, 24),
            f(24),
            SCALE,
            scales(24) / 9,
            None,
            np.array(9, np.uint8),
            i8(24),
        ),
        f(2, 2, 2, 3, 4),
        outputs=("y", "present"),
        constants=(1,),
        num_heads=2,
        unidirectional=1,
    ),
    "RotaryEmbedding": node(f(2, 5, 8), PLACES, *ANGLES, num_heads=2),
    "RotaryEmbedding heads": node(f(2, 3, 5, 4), np.array([2]), *ANGLES, interleaved=1),
    "RotaryEmbedding part": node(f(2, 5, 12), PLACES, *ANGLES, num_heads=2, rotary_embedding_dim=4),
    "RotaryEmbedding width": node(f(2, 5, 8), PLACES, *ANGLES),
    "GroupQueryAttention": grouped(5, [4, 4]),
    "GroupQueryAttention rows": grouped(5, [2, 4]),
    "GroupQueryAttention packed": grouped(5, [4, 4], packed=True, scale=0.3),
    "GroupQueryAttention step": grouped(1, [3, 1], past=3, do_rotary=1),
    "GroupQueryAttention interleaved": grouped(
        4, [3, 3], do_rotary=1, rotary_interleaved=1, local_window_size=2
    ),
    "GroupQueryAttention room": grouped(1, [3, 1], past=6, total=4, softcap=0.5),
    "GroupQueryAttention chunk": grouped(3, [6], past=4, do_rotary=1, smooth_softmax=1),
    "GroupQueryAttention window": grouped(1, [5, 3], past=5, local_window_size=3),
    "GroupQueryAttention sinks": grouped(5, [4, 4], bias=True, sink=True),
    "GroupQueryAttention open": grouped(5, [4, 4], causal=0),
    "FusedConv": node(f(2, 3, 9), f(4, 3, 3), f(4), activation="Relu", pads=[1, 1], strides=[2]),
    "FusedConv clip": node(
        *(f(2, 4, 6, 6), f(4, 2, 3, 3), f(4)),
        activation="Clip",
        activation_params=[-0.5, 0.75],
        group=2,
        dilations=[2, 1],
    ),
    "FusedConv sum": node(
        *(f(2, 3, 9), f(4, 3, 3), None, f(2, 4, 7)),
        activation="HardSigmoid",
        activation_params=[0.25, 0.4],
    ),
    "SimplifiedLayerNormalization": node(f(2, 3, 8), f(8), epsilon=1e-6),
}


def made(op, inputs, attributes, outputs, constants=(), domain=microsoft.DOMAIN):
    """A model of one node, and what it is fed with; an output named ``int`` holds integers."""
    names = ["" if value is None else f"x{n}" for n, value in enumerate(inputs)]
    given = {name: value for name, value in zip(names, inputs, strict=True) if name}
    weights = [f"x{n}" for n in constants if f"x{n}" in given]
    fed = {name: value for name, value in given.items() if name not in weights}
    entering = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(value.dtype), [None] * value.ndim
        )
        for name, value in fed.items()
    ]
    leaving = [
        helper.make_tensor_value_info(
            name, TensorProto.INT32 if name.startswith("int") else TensorProto.FLOAT, None
        )
        for name in outputs
        if name
    ]
    graph = helper.make_graph(
        [helper.make_node(op, names, outputs, domain=domain, **attributes)],
        "g",
        entering,
        leaving,
        [numpy_helper.from_array(given[name], name) for name in weights],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid(microsoft.DOMAIN, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10), fed


def test_every_operator_has_a_case():
    assert {name.split()[0] for name in CASES} == {
        *microsoft.OPERATORS,
        *microsoft.MAIN_OPERATORS,
    }


@pytest.mark.parametrize("name", CASES)
def test_an_operator_gives_what_its_kernel_gives(name):
    op = name.split()[0]
    domain = "" if op in microsoft.MAIN_OPERATORS else microsoft.DOMAIN
    proto, fed = made(op, *CASES[name], domain=domain)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    kernel = session.run(None, fed)
    wide = [value for _, value in ORACLE.open(proto).run(fed)]
    narrow = [value for _, value in DECLARED.open(proto).run(fed)]
    for exact, own, expected in zip(wide, narrow, kernel, strict=True):
        scale = np.abs(expected).max(initial=1.0)
        assert exact.dtype == (np.float64 if expected.dtype == np.float32 else expected.dtype)
        assert own.dtype == expected.dtype
        assert exact.shape == own.shape == expected.shape
        np.testing.assert_allclose(exact, expected, rtol=0, atol=3e-6 * scale)
        apart = 0.02 if op == "DynamicQuantizeLSTM" else 3e-6  # each row by itself
        np.testing.assert_allclose(own, expected, rtol=0, atol=apart * scale)


def test_what_a_file_allows_is_rounding_in_its_own_types_alone():
    inputs, attributes, outputs, constants = nbits(4)
    proto, fed = made("MatMulNBits", inputs, attributes, outputs, constants)
    loose, _ = made("MatMulNBits", inputs, attributes | {"accuracy_level": 4}, outputs, constants)
    session = ort.InferenceSession(loose.SerializeToString(), providers=["CPUExecutionProvider"])
    (kernel,) = session.run(None, fed)
    ((_, exact),) = ORACLE.open(loose).run(fed)
    ((_, narrow),) = DECLARED.open(loose).run(fed)
    np.testing.assert_array_equal(exact, ORACLE.open(proto).run(fed)[0][1])
    assert np.abs(narrow - exact).max() > 1e-3
    np.testing.assert_allclose(narrow, kernel, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("op", "case", "words"),
    [
        ("GridCell", node(f(2, 3)), "the oracle has no operator com.microsoft.GridCell"),
        ("Attention", node(*ATTENTION, LENGTHS, num_heads=2), "no attention with a mask of 3"),
        ("Attention", node(*ATTENTION, num_heads=2, do_rotary=1), "no attention with do_rotary"),
        (
            *("GroupQueryAttention", grouped(5, [4, 4], qk_output=1)),
            "no GroupQueryAttention with qk_output",
        ),
        ("FusedGemm", node(f(2, 3), f(3, 2), activation="Sin"), "no FusedGemm with the activation"),
    ],
)
def test_what_the_oracle_lacks_is_said_to_be_lacking_there(op, case, words):
    proto, fed = made(op, *case)
    with pytest.raises(LoadError, match=words):
        ORACLE.open(proto).run(fed)
