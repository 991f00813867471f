"""harness.runtimes.frames: what is written is what is read, bit for bit."""

import io

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.runtimes import frames

ARRAYS = hnp.arrays(
    st.sampled_from(sorted(frames.DTYPES)), hnp.array_shapes(min_dims=0, min_side=0, max_side=4)
)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.lists(st.tuples(st.text(max_size=5), ARRAYS), max_size=3))
def test_tensors_keep_order_names_dtype_shape_and_bits(tensors):
    stream = io.BytesIO()
    frames.write(stream, {"do": "rün"}, tensors)
    frames.write(stream, {"last": [1]})
    stream.seek(0)
    header, read = frames.read(stream)
    assert header == {"do": "rün"}
    assert [name for name, _ in read] == [name for name, _ in tensors]
    for (_, given_), (_, got) in zip(tensors, read, strict=True):
        assert (got.dtype, got.shape) == (given_.dtype, given_.shape)
        assert got.tobytes() == given_.tobytes()
    assert frames.read(stream) == ({"last": [1]}, [])
    assert frames.read(stream) is None


def test_other_memory_orders_arrive_in_c_order():
    value = np.arange(6, dtype=np.int64).reshape(2, 3)
    stream = io.BytesIO()
    frames.write(stream, {}, [("a", value.T), ("b", value.astype(">i8"))])
    stream.seek(0)
    (_, a), (_, b) = frames.read(stream)[1]
    np.testing.assert_array_equal(a, value.T)
    np.testing.assert_array_equal(b, value)


def test_a_cut_frame_is_the_end():
    stream = io.BytesIO()
    frames.write(stream, {"do": "run"}, [("a", np.ones(3, np.float32))])
    data = stream.getvalue()
    assert all(frames.read(io.BytesIO(data[:size])) is None for size in range(len(data)))


@pytest.mark.parametrize("value", [np.array(["text"]), np.array([1j]), np.array([None])])
def test_what_cannot_be_sent_is_refused_before_anything_is_written(value):
    stream = io.BytesIO()
    with pytest.raises(TypeError, match=r"tensor 'a' has dtype .*, which cannot be sent"):
        frames.write(stream, {}, [("a", value)])
    assert stream.getvalue() == b""
