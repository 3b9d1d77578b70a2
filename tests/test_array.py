"""Array: what becomes one, promotion and broadcasting, laziness, reading, provenance."""

from __future__ import annotations

import gc
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import anneal
from anneal.array import (
    MOST_PENDING,
    Array,
    as_dtype,
    asarray,
    broadcast,
    broadcast_shapes,
    make,
    promote,
    realize,
)
from anneal.provenance import lines_of
from anneal.uop import dtypes, ops
from anneal.uop.uop import live_nodes

# -- making ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "dtype", "weak", "shape"),
    [
        (True, "bool", False, ()),
        (3, "int32", True, ()),
        (2.5, "float32", True, ()),
        (np.float64(2.5), "float32", False, ()),
        (np.int64(3), "int32", False, ()),
        (np.zeros((2, 3)), "float32", False, (2, 3)),
        (np.zeros(2, np.uint64), "uint32", False, (2,)),
        (np.zeros(2, np.float16), "float16", False, (2,)),
        (np.zeros(2, ml_dtypes.bfloat16), "bfloat16", False, (2,)),
        ([1, 2], "int32", False, (2,)),
        ([[1.0], [2.0]], "float32", False, (2, 1)),
        ([], "float32", False, (0,)),
    ],
)
def test_asarray(value: Any, dtype: str, weak: bool, shape: tuple[int, ...]) -> None:
    x = asarray(value)
    assert (x.dtype.name, x.weak_type, x.shape) == (dtype, weak, shape)
    np.testing.assert_array_equal(x.numpy().astype("float64"), np.asarray(value, "float64"))


def test_asarray_with_a_dtype() -> None:
    x = asarray(2.75, "int8")
    assert (x.item(), x.dtype, x.weak_type) == (2, dtypes.int8, False)
    assert asarray([1, 2], float).dtype is dtypes.float32
    assert asarray(asarray(1), "float16").dtype is dtypes.float16
    y = asarray(1.0)
    assert asarray(y) is y


@pytest.mark.parametrize(
    ("value", "dtype", "error", "message"),
    [
        (2**31, None, OverflowError, "2147483648 does not fit int32"),
        (-1, "uint8", OverflowError, "-1 does not fit uint8"),
        (np.array([2**40]), None, OverflowError, "int64 values from 1099511627776"),
        ("text", None, TypeError, "got str"),
        (1j, None, TypeError, "got complex"),
        (np.array([1j]), None, TypeError, "complex128"),
        (np.array(["a"]), None, TypeError, "not NumPy's"),
        (1, "float31", TypeError, "unknown dtype 'float31'; known: bool"),
    ],
)
def test_asarray_refuses(value: Any, dtype: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        asarray(value, dtype)


def test_dtypes_in_every_spelling() -> None:
    spellings = (dtypes.float32, "float32", float, np.float32, np.dtype("float32"))
    assert all(as_dtype(s) is dtypes.float32 for s in spellings)
    assert as_dtype(bool) is dtypes.bool_ and as_dtype(ml_dtypes.bfloat16) is dtypes.bfloat16
    with pytest.warns(UserWarning, match="float64 was asked for"):
        assert as_dtype("float64") is dtypes.float32


def test_the_users_array_may_change_afterwards() -> None:
    data = np.ones(3, np.float32)
    x = asarray(data)
    data[:] = 7
    assert x.tolist() == [1, 1, 1]


# -- promotion and broadcasting --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b", "dtype", "weak"),
    [
        (1, 2.5, "float32", True),
        (np.float16(1), 2.5, "float16", False),
        (np.int8(1), 2, "int8", False),
        (np.int8(1), np.uint8(1), "int16", False),
        (True, 1, "int32", True),
        (np.int32(1), 0.5, "float32", True),
        (np.float16(1), ml_dtypes.bfloat16(1), "float32", False),
    ],
)
def test_promote(a: Any, b: Any, dtype: str, weak: bool) -> None:
    for pair in ((a, b), (b, a)):
        arrays, common, is_weak = promote(*pair)
        assert (common.name, is_weak) == (dtype, weak)
        assert all(x.dtype is common for x in arrays)


def test_promote_refuses_what_32_bits_cannot_hold() -> None:
    with pytest.raises(TypeError, match="no common dtype for uint32 and int8"):
        promote(np.uint32(1), np.int8(1))


def test_broadcast() -> None:
    a, b, c = broadcast(np.zeros((2, 1)), np.zeros(3), 1.0)
    assert (a.shape, b.shape, c.shape) == ((2, 3), (2, 3), ())
    assert broadcast_shapes((), (2, 1), (4,)) == (2, 4)
    x = asarray([1.0])
    assert broadcast(x, x)[0] is x
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(4,\).*-1 is 3 .* 4"):
        broadcast(np.zeros((2, 3)), np.zeros(4))


# -- laziness --------------------------------------------------------------------------------------


def plus(x: Array, n: float) -> Array:
    return make(x.uop + n)


def test_reading_computes_and_lets_go_of_the_graph() -> None:
    x = plus(plus(asarray([1.0, 2.0]), 1.0), 1.0)
    assert x.uop.op is ops.ADD
    assert x.tolist() == [3, 4]
    assert x.uop.op is ops.BUFFER
    assert plus(x, 1.0).uop.src[0] is x.uop


def test_realize_many_at_once() -> None:
    x = asarray([1.0])
    arrays = [plus(x, 1.0), x, plus(x, 2.0), plus(x, 1.0), asarray(3.0)]
    realize(arrays)
    assert [a.uop.op for a in arrays] == [ops.BUFFER] * 4 + [ops.CONST]
    assert [a.tolist() for a in arrays] == [[2], [1], [3], [2], 3]
    assert arrays[0].uop is arrays[3].uop


def test_a_long_loop_does_not_grow() -> None:
    x = asarray([1.0])
    sizes = []
    for i in range(3 * MOST_PENDING):
        x = plus(x, 1.0)
        if i % MOST_PENDING == MOST_PENDING - 1:
            gc.collect()
            sizes.append(live_nodes())
    assert x.uop.depth <= MOST_PENDING
    assert sizes[2] - sizes[1] < 100
    assert x.tolist() == [1 + 3 * MOST_PENDING]


# -- reading ---------------------------------------------------------------------------------------


def test_scalars() -> None:
    x = asarray([2.5]).reshape(())
    assert (float(x), int(x), bool(x), x.item()) == (2.5, 2, True, 2.5)
    assert [5, 6, 7][asarray(np.int32(1))] == 6
    assert f"{x:.2f}" == "2.50"
    with pytest.raises(TypeError, match="only integer arrays"):
        [1][x]
    with pytest.raises(ValueError, match=r"\(2,\).*2 elements.*\.all\(\)"):
        bool(asarray([1, 2]))


def test_printing() -> None:
    assert repr(asarray([1.0, 2.5])) == "Array([1. , 2.5], dtype=float32)"
    assert repr(asarray(1)) == "Array(1, dtype=int32, weak_type=True)"


def test_to_numpy() -> None:
    x = asarray([[1, 2], [3, 4]])
    assert np.asarray(x).dtype == np.int32
    assert np.asarray(x, np.float64).tolist() == [[1, 2], [3, 4]]
    assert x.block_until_ready() is x
    assert (len(x), x.ndim, x.size, x.nbytes) == (2, 2, 4, 16)


def test_operators_and_methods() -> None:
    x = asarray([1.0, -2.0, 3.0])
    assert (x + 1).tolist() == (1 + x).tolist() == [2, -1, 4]
    assert (x - np.ones(3, np.float32)).tolist() == [0, -3, 2]
    assert (np.ones(3, np.float32) - x).tolist() == [0, 3, -2]
    assert (2 / x)[0].item() == 2 and (x**2).tolist() == [1, 4, 9]
    assert (-x).tolist() == [-1, 2, -3] and abs(x).tolist() == [1, 2, 3]
    assert (x > 0).tolist() == [True, False, True]
    assert (~(x == 3.0)).tolist() == [True, True, False]
    assert float(x @ x) == 14 and float(x.sum()) == 2 and float(x.max()) == 3
    assert [float(v) for v in x] == [1, -2, 3]
    assert x.reshape(3, 1).T.shape == (1, 3)
    assert x.astype(int).dtype is dtypes.int32
    assert [v.tolist() for v in divmod(x, 2)] == [[0, -1, 1], [1, 0, 1]]
    assert [v.tolist() for v in divmod(7, x)] == [[7, -4, 2], [0, -1, 1]]
    with pytest.raises(TypeError):
        x + "text"
    with pytest.raises(TypeError):
        divmod(x, "text")
    with pytest.raises(TypeError, match=r"x\.at\[i\]\.set"):
        x[0] = 1.0
    with pytest.raises(TypeError, match="unhashable"):
        hash(x)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "min", "prod", "std", "var", "all", "any",
                                  "argmax", "argmin", "cumsum"])  # fmt: skip
def test_numpys_reductions_call_ours(name: str) -> None:
    values = np.array([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]], np.float32)
    f = getattr(np, name)
    for options in ({}, {"axis": 0}, {"axis": 1}):
        got = f(asarray(values), **options)
        assert isinstance(got, Array)
        np.testing.assert_allclose(np.asarray(got), f(values, **options), rtol=1e-6)
        traced = anneal.jit(lambda x, options=options: f(x, **options))(values)
        np.testing.assert_array_equal(np.asarray(traced), np.asarray(got))


def test_numpys_reductions_cannot_write_to_out() -> None:
    with pytest.raises(TypeError, match="sum: .*out"):
        np.sum(asarray([1.0]), out=np.zeros(()))  # type: ignore[call-overload]


def test_numpys_mean_has_a_derivative() -> None:
    assert anneal.grad(lambda x: np.mean(x) * x[0])(asarray([1.0, 2.0])).tolist() == [2.0, 0.5]


def test_nodes_know_the_users_line() -> None:
    x = plus(asarray([1.0]), 2.0)
    (origin,) = lines_of(x.uop)
    assert origin.file == __file__ and origin.phase == "forward"
    assert lines_of(x.uop.src[0]) == ()  # data: nothing computes it
