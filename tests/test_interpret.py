"""The oracle itself, against plain NumPy and against what ops.py says."""

from __future__ import annotations

import math
import warnings
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anneal.interpret import evaluate, numpy_dtype
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.ops import Op
from anneal.uop.uop import UOp, arange, const, param, scatter, var

f16, bf16, f32, f64 = dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64
i8, i32, u8, u32 = dtypes.int8, dtypes.int32, dtypes.uint8, dtypes.uint32
INF, NAN = math.inf, math.nan
rng = np.random.default_rng(0)


def leaf(values: Any, dtype: DType) -> tuple[UOp, np.ndarray[Any, Any]]:
    data = np.array(values, numpy_dtype(dtype))
    return param(dtype, data.shape), data


def apply(op: Op, dtype: DType, *columns: Any, to: DType | None = None) -> list[Any]:
    """`op` on columns of values of one dtype, as Python scalars; warnings are errors here."""
    leaves = [leaf(c, dtype) for c in columns]
    result = to or (dtypes.bool_ if op in ops.COMPARISONS else dtype)
    node = UOp(op, result, tuple(p for p, _ in leaves))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (out,) = evaluate([node], dict(leaves))
    assert out.dtype == numpy_dtype(result)
    return out.astype(np.float64).tolist() if result.is_float else out.tolist()


def same(a: list[Any], b: list[Any]) -> bool:
    """Equal, NaN with NaN, and zeros by sign."""
    return all(x == y and math.copysign(1, x) == math.copysign(1, y) or x != x and y != y
               for x, y in zip(a, b, strict=True))  # fmt: skip


EDGES: list[tuple[Op, DType, tuple[Any, ...], list[Any]]] = [
    (ops.ADD, i8, ([127, -128], [1, -1]), [-128, 127]),
    (ops.SUB, u8, ([0], [1]), [255]),
    (ops.MUL, i8, ([64, -128], [2, -1]), [-128, -128]),
    (ops.NEG, i8, ([-128],), [-128]),
    (ops.NEG, u8, ([1],), [255]),
    (ops.ABS, i8, ([-128, -3],), [-128, 3]),
    (ops.FLOORDIV, i8, ([7, -7, 7, -7], [2, 2, -2, -2]), [3, -4, -4, 3]),
    (ops.FLOORDIV, i8, ([5, -128, 0], [0, -1, 0]), [0, -128, 0]),
    (ops.FLOORDIV, u8, ([5, 0], [0, 0]), [0, 0]),
    (ops.MOD, i8, ([7, -7, 7, -7], [3, 3, -3, -3]), [1, 2, -2, -1]),
    (ops.MOD, i8, ([5, -128], [0, -1]), [0, 0]),
    (ops.MOD, u8, ([5], [0]), [0]),
    (ops.MOD, f32, ([5.5, -5.5, 5.5, -6.0, 6.0, 1.0, INF], [INF, INF, -2.0, 3.0, -3.0, 0.0, 3.0]),
     [5.5, INF, -0.5, 0.0, -0.0, NAN, NAN]),
    (ops.MOD, bf16, ([300.0], [7.0]), [6.0]),
    (ops.LOG1P, f32, ([-1.0, -2.0, INF, -0.0],), [-INF, NAN, INF, -0.0]),
    (ops.SHL, i8, ([1, 1, 1, 1], [7, 8, 100, -1]), [-128, 0, 0, 0]),
    (ops.SHL, u8, ([1, 1], [7, 8]), [128, 0]),
    (ops.SHR, i8, ([-128, -1, 64, 64], [7, 100, 8, -1]), [-1, -1, 0, 0]),
    (ops.SHR, u8, ([255, 255], [7, 8]), [1, 0]),
    (ops.NOT, u8, ([1],), [254]),
    (ops.MAX, f32, ([NAN, 1.0, 2.0], [1.0, NAN, 3.0]), [NAN, NAN, 3.0]),
    (ops.MIN, f32, ([NAN, 1.0, 2.0], [1.0, NAN, 3.0]), [NAN, NAN, 2.0]),
    (ops.DIV, f32, ([1.0, -1.0, 0.0, 1.0], [0.0, 0.0, 0.0, -0.0]), [INF, -INF, NAN, -INF]),
    (ops.POW, f32, ([0.0, -2.0, NAN, 1.0, -2.0], [0.0, 3.0, 0.0, NAN, 0.5]),
     [1.0, -8.0, 1.0, 1.0, NAN]),
    (ops.LOG, f32, ([0.0, -1.0, INF],), [-INF, NAN, INF]),
    (ops.SQRT, f32, ([-1.0, 4.0, -0.0],), [NAN, 2.0, -0.0]),
    (ops.ROUND, f32, ([0.5, 1.5, 2.5, -0.5],), [0.0, 2.0, 2.0, -0.0]),
    (ops.FLOOR, f32, ([-0.5, 1.5],), [-1.0, 1.0]),
    (ops.LT, f32, ([NAN, 1.0], [1.0, 2.0]), [False, True]),
    (ops.EQ, f32, ([NAN, 0.0], [NAN, -0.0]), [False, True]),
    (ops.NE, f32, ([NAN, 0.0], [NAN, -0.0]), [True, False]),
    (ops.ADD, dtypes.bool_, ([True, False], [True, False]), [True, False]),
    (ops.MUL, dtypes.bool_, ([True, True], [True, False]), [True, False]),
    (ops.MAX, dtypes.bool_, ([True, False], [False, False]), [True, False]),
    (ops.ADD, f16, ([2048.0, 65504.0], [1.0, 65504.0]), [2048.0, INF]),
    (ops.ADD, bf16, ([256.0], [1.0]), [256.0]),
    (ops.MUL, bf16, ([1.0078125], [1.0078125]), [1.015625]),
    (ops.MAX, bf16, ([NAN], [1.0]), [NAN]),
]  # fmt: skip


@pytest.mark.parametrize(("op", "dtype", "columns", "want"), EDGES)
def test_edges(op: Op, dtype: DType, columns: tuple[Any, ...], want: list[Any]) -> None:
    assert same(apply(op, dtype, *columns), want)


CASTS = [
    (f32, i8, [300.0, -300.0, NAN, 1.9, -1.9, INF, -INF], [127, -128, 0, 1, -1, 127, -128]),
    (f32, u8, [300.0, -3.0, NAN, -0.5], [255, 0, 0, 0]),
    (f32, i32, [2.0**31, -(2.0**31), 3e9, -3e9], [2**31 - 1, -(2**31), 2**31 - 1, -(2**31)]),
    (f32, u32, [2.0**32, -1.0, 4294967040.0], [2**32 - 1, 0, 4294967040]),
    (f64, dtypes.int64, [2.0**63, -(2.0**63), 2.0**62], [2**63 - 1, -(2**63), 2**62]),
    (f64, dtypes.uint64, [2.0**64, 2.0**63], [2**64 - 1, 2**63]),
    (bf16, i8, [NAN, 1000.0, 2.5], [0, 127, 2]),
    (i32, i8, [300, -129, 128], [44, 127, -128]),
    (i32, u8, [-1, 256], [255, 0]),
    (i32, f16, [2049, 70000], [2048.0, INF]),
    (f32, f16, [65519.0, 65520.0, 2049.0, 2051.0, 2.0**-25, 6e-8],
     [65504.0, INF, 2048.0, 2052.0, 0.0, 2.0**-24]),
    (f32, bf16, [257.0, 259.0, 3.4e38], [256.0, 260.0, INF]),
    (f32, dtypes.bool_, [0.0, -0.0, 0.1, NAN], [False, False, True, True]),
    (dtypes.bool_, f32, [True, False], [1.0, 0.0]),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "values", "want"), CASTS)
def test_casts(old: DType, new: DType, values: list[Any], want: list[Any]) -> None:
    assert same(apply(ops.CAST, old, values, to=new), want)


def test_bits_read_as_another_type() -> None:
    assert apply(ops.BITCAST, f32, [1.0, -0.0], to=u32) == [0x3F800000, 0x80000000]
    assert apply(ops.BITCAST, i8, [-1], to=u8) == [255]


UNARY = {ops.EXP: np.exp, ops.LOG: np.log, ops.SIN: np.sin, ops.COS: np.cos, ops.TANH: np.tanh,
         ops.SQRT: np.sqrt, ops.FLOOR: np.floor, ops.ROUND: np.round, ops.ABS: np.abs}  # fmt: skip


@pytest.mark.parametrize("op", UNARY, ids=str)
@pytest.mark.parametrize("dtype", [f16, bf16, f32, f64], ids=str)
def test_functions_round_to_their_dtype(op: Op, dtype: DType) -> None:
    values = np.linspace(0.1, 4, 40).astype(numpy_dtype(dtype))
    want = UNARY[op](values.astype(np.float64))
    got = apply(op, dtype, values)
    eps = float(ml_dtypes.finfo(numpy_dtype(dtype)).eps)
    np.testing.assert_allclose(got, want, rtol=2 * eps, atol=2 * eps)


X = rng.standard_normal((3, 4, 5)).astype(np.float32)


def value(build: Any, x: np.ndarray[Any, Any] = X, **more: Any) -> np.ndarray[Any, Any]:
    p = param(f32, x.shape)
    return evaluate([build(p)], {p: x, **more})[0]


MOVES: list[tuple[Any, Any]] = [
    (lambda x: x.reshape((5, 12)), lambda a: a.reshape(5, 12)),
    (lambda x: x.permute((2, 0, 1)), lambda a: a.transpose(2, 0, 1)),
    (lambda x: x.pad([(1, 0), (0, 2), (3, 1)]), lambda a: np.pad(a, ((1, 0), (0, 2), (3, 1)))),
    (lambda x: x.shrink([(1, 3), (0, 4), (2, 5)]), lambda a: a[1:3, :, 2:5]),
    (lambda x: x.flip((0, 2)), lambda a: a[::-1, :, ::-1]),
    (lambda x: x.reshape((3, 4, 1, 5)).expand((3, 4, 2, 5)), lambda a: np.stack([a, a], 2)),
    (lambda x: x.sum((0, 2)), lambda a: a.sum((0, 2))),
    (lambda x: x.reduce("mul", (1,)), lambda a: a.prod(1)),
    (lambda x: x.reduce("max", (0, 1, 2)), lambda a: a.max()),
    (lambda x: x.reduce("min", (2,)), lambda a: a.min(2)),
]  # fmt: skip


@pytest.mark.parametrize("n", range(len(MOVES)))
def test_movement_and_reductions(n: int) -> None:
    build, plain = MOVES[n]
    np.testing.assert_allclose(value(build), plain(X), rtol=1e-6)


@pytest.mark.parametrize(("how", "want"), [("add", 0), ("mul", 1), ("max", -INF), ("min", INF)])
def test_reductions_of_nothing_give_the_identity(how: str, want: float) -> None:
    got = value(lambda x: x.reduce(how, (1,)), np.zeros((2, 0), np.float32))
    assert got.tolist() == [want, want]


def test_integer_reductions_keep_their_dtype_and_bool_their_logic() -> None:
    p, data = leaf([[100, 100, 100]], i8)
    assert evaluate([p.sum((1,))], {p: data})[0].tolist() == [44]
    q, flags = leaf([[True, True], [False, True]], dtypes.bool_)
    got = evaluate([q.reduce(how, (1,)) for how in ("add", "mul", "max", "min")], {q: flags})
    assert [g.tolist() for g in got] == [[True, True], [True, False]] * 2
    e, empty = leaf(np.zeros((1, 0)), i32)
    assert evaluate([e.reduce("max", (1,))], {e: empty})[0].tolist() == [-(2**31)]


def sheared(a: np.ndarray[Any, Any], axis: int, by: int, step: int, offset: int,
            length: int) -> np.ndarray[Any, Any]:  # fmt: skip
    """SHEAR, an element at a time."""
    shape = list(a.shape)
    shape[axis] = length
    out = np.zeros(shape, a.dtype)
    for where in np.ndindex(*shape):
        i = where[axis] + step * where[by] + offset
        if 0 <= i < a.shape[axis]:
            out[where] = a[(*where[:axis], i, *where[axis + 1 :])]
    return out


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.permutations(range(3)), st.integers(-3, 3), st.integers(-7, 7), st.integers(0, 6))
def test_shear(axes: list[int], step: int, offset: int, length: int) -> None:
    arg = (axes[0], axes[1], step, offset, length)
    np.testing.assert_array_equal(value(lambda x: x.shear(*arg)), sheared(X, *arg))


def test_shear_of_a_repeated_axis_gives_windows() -> None:
    a = np.arange(6, dtype=np.float32)
    got = value(lambda x: x.reshape((6, 1)).expand((6, 3)).shear(0, 1, 1, 0, 4), a)
    assert got.tolist() == np.lib.stride_tricks.sliding_window_view(a, 3).tolist()


def test_gather_and_scatter_clamp_their_indices() -> None:
    x, data = leaf([10, 20, 30], i32)
    idx, where = leaf([-5, 1, 1, 99], i32)
    g, added = leaf([1, 2, 3, 4], i32)
    nodes = [x.gather(idx, 0), scatter("add", idx, g, 0, 3)]
    got = evaluate(nodes, {x: data, idx: where, g: added})
    assert [o.tolist() for o in got] == [[10, 20, 20, 30], [1, 5, 4]]


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_scatter_is_the_adjoint_of_gather(axis: int) -> None:
    x, data = leaf(X, f64)
    shape = [2 if i == axis else d for i, d in enumerate(X.shape)]
    idx, where = leaf(rng.integers(0, 9, shape), i32)
    g, cotangent = leaf(rng.standard_normal(shape), f64)
    back = scatter("add", idx, g, axis, X.shape[axis])
    forward = (x.gather(idx, axis) * g).sum((0, 1, 2))
    a, b = evaluate([forward, (back * x).sum((0, 1, 2))], {x: data, idx: where, g: cotangent})
    np.testing.assert_allclose(a, b)


def test_leaves() -> None:
    n = var("n", 1, 9)
    nodes = [arange(4, f32), arange(n, i32), const(3, u8), n + 1, param(f32, (n, 2)).sum((0,))]
    p = nodes[-1].src[0]
    got = evaluate(nodes, {n: np.asarray(3), p: np.ones((3, 2), np.float32)})
    assert [g.tolist() for g in got] == [[0, 1, 2, 3], [0, 1, 2], 3, 4, [3, 3]]
    assert got[3].dtype == np.int64


def test_symbolic_dims_take_their_values() -> None:
    n = var("n", 1, 9)
    p = param(f32, (n, 4))
    data = np.arange(12, dtype=np.float32).reshape(3, 4)
    nodes = [p.reshape((n * 4,)), p.pad([(n, 0), (0, 0)]), p.shrink([(0, n - 1), (0, 4)]),
             p.sum((1,)).reshape((n, 1)).expand((n, n))]  # fmt: skip
    got = evaluate(nodes, {n: np.asarray(3), p: data})
    assert [g.shape for g in got] == [(12,), (6, 4), (2, 4), (3, 3)]
    np.testing.assert_array_equal(got[2], data[:2])


# -- contraction: a sum of products never exists in full ------------------------------------------


def matmul(a: UOp, b: UOp) -> UOp:
    (m, k), n = a.shape, b.shape[1]
    left = a.reshape((m, 1, k)).expand((m, n, k))
    return (left * b.permute((1, 0)).reshape((1, n, k)).expand((m, n, k))).sum((2,))


def test_matmul_does_not_materialise_the_product() -> None:
    n = 1024
    a, b = param(f32, (n, n)), param(f32, (n, n))
    x = rng.standard_normal((2, n, n)).astype(np.float32)
    (got,) = evaluate([matmul(a, b)], {a: x[0], b: x[1]})  # 4 GiB if it did
    np.testing.assert_allclose(got, x[0] @ x[1], atol=1e-3)


def test_products_that_others_read_are_summed_as_they_are() -> None:
    p = param(f32, (3, 4))
    product = p * p
    x = rng.standard_normal((3, 4)).astype(np.float32)
    got = evaluate([product.sum((1,)), product], {p: x})
    np.testing.assert_allclose(got[0], (x * x).sum(1), rtol=1e-6)
    np.testing.assert_array_equal(got[1], x * x)
    given_it = evaluate([product.sum((1,))], {product: x})
    np.testing.assert_allclose(given_it[0], x.sum(1), rtol=1e-5, atol=1e-6)
    total = product.sum((1,))
    assert evaluate([total + 1.0], {total: np.zeros(3)})[0].tolist() == [1, 1, 1]


@pytest.mark.parametrize(("shape", "axes"), [
    ((100_003, 3), (0,)), ((2, 50_021, 2), (1,)), ((3, 7, 14_327), (2,)), ((9, 11_113), (0, 1)),
    ((40_009, 1), (0, 1)), ((100_003,), (0,)),
])  # fmt: skip
def test_long_sums_are_as_good_along_every_axis(shape: tuple[int, ...], axes: Any) -> None:
    p, q = param(f32, shape), param(f32, shape)
    x = rng.uniform(0.05, 0.15, shape).astype(np.float32)
    y = np.full(shape, 0.3, np.float32)
    wide = x.astype(np.float64)
    got = evaluate([p.sum(axes), (p * q).sum(axes)], {p: x, q: y})
    np.testing.assert_allclose(got[0], wide.sum(axes), rtol=1e-6)
    np.testing.assert_allclose(got[1], (wide * y).sum(axes), rtol=1e-6)
    order = tuple(reversed(range(len(shape))))
    turned = tuple(len(shape) - 1 - i for i in axes)
    (got_turned,) = evaluate([p.permute(order).sum(turned)], {p: x})
    np.testing.assert_allclose(got_turned.T, wide.sum(axes), rtol=1e-6)


def test_long_products_of_vectors_and_of_batches() -> None:
    a, b, v = param(f32, (2, 3, 50_021)), param(f32, (2, 4, 50_021)), param(f32, (50_021,))
    x, y = (rng.uniform(0.2, 0.4, p.shape).astype(np.float32) for p in (a, b))
    wide = x.astype(np.float64)
    left = a.reshape((2, 3, 1, 50_021)).expand((2, 3, 4, 50_021))
    right = b.reshape((2, 1, 4, 50_021)).expand((2, 3, 4, 50_021))
    (got,) = evaluate([(left * right).sum((3,))], {a: x, b: y})
    np.testing.assert_allclose(got, wide @ y.astype(np.float64).transpose(0, 2, 1), rtol=1e-6)
    times = a * v.reshape((1, 1, 50_021)).expand(a.shape)
    (got,) = evaluate([times.sum((2,))], {a: x, v: y[0, 0]})
    np.testing.assert_allclose(got, wide @ y[0, 0].astype(np.float64), rtol=1e-6)


def test_axes_that_no_factor_has_count_their_length() -> None:
    p = param(f32, (3,))
    wide = p.reshape((3, 1)).expand((3, 5))
    (got,) = evaluate([(wide * wide).sum((1,))], {p: np.array([1, 2, 3], np.float32)})
    assert got.tolist() == [5, 20, 45]
    (got,) = evaluate([(wide * wide).sum((0,))], {p: np.array([1, 2, 3], np.float32)})
    assert got.tolist() == [14] * 5


def test_convolution_by_windows() -> None:
    x, w = param(f32, (2, 9)), param(f32, (3,))
    windows = x.reshape((2, 9, 1)).expand((2, 9, 3)).shear(1, 2, 1, 0, 7)
    out = (windows * w.reshape((1, 1, 3)).expand((2, 7, 3))).sum((2,))
    a, k = X.reshape(-1)[:18].reshape(2, 9), X.reshape(-1)[:3]
    (got,) = evaluate([out], {x: a, w: k})
    want = [np.correlate(row, k, "valid") for row in a]
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


# -- walks ----------------------------------------------------------------------------------------


def test_a_deep_chain_keeps_no_intermediates() -> None:
    import tracemalloc

    x = top = param(f32, (50_000,))
    for i in range(2000):  # 400 MB if all were kept
        x = x + float(i % 3)
    data = np.zeros(50_000, np.float32)
    tracemalloc.start()
    (got,) = evaluate([x], {top: data})
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert got[0] == sum(i % 3 for i in range(2000))
    assert peak < 8e6


def test_an_unknown_op_is_named() -> None:
    with pytest.raises(NotImplementedError, match="no PARAM"):
        evaluate([param(f32, (2,))], {})


def test_a_contraction_of_infinities_sums_products() -> None:
    """Not products of sums: inf * 0 + inf * 1 is NaN, inf * (0 + 1) is not."""
    x, y = param(dtypes.float32, (3, 1)), param(dtypes.float32, (1, 3))
    node = (x.expand((3, 3)) * y.expand((3, 3))).sum((1,))
    rows, columns = np.array([[np.inf], [1], [0]], "f"), np.array([[0, 1, 2]], "f")
    (got,) = evaluate([node], {x: rows, y: columns})
    np.testing.assert_array_equal(got, [np.nan, 3, 0])
