"""Convolutions and windows against NumPy's sliding windows, and what they refuse."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

import anneal
import anneal.numpy as anp
from anneal import lax

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def interpreter() -> Iterator[None]:
    with anneal.default_device("interpreter"):
        yield


def floats(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def windows(x: Any, sizes: Any, strides: Any, pads: Any, dilation: Any, value: float) -> Any:
    """Windows over the last axes of x: (..., places, sizes)."""
    lead = x.ndim - len(sizes)
    x = np.pad(x, [(0, 0)] * lead + list(pads), constant_values=value)
    spans = [(k - 1) * d + 1 for k, d in zip(sizes, dilation, strict=True)]
    out = sliding_window_view(x, spans, tuple(range(lead, x.ndim)))
    every = (slice(None),) * lead
    return out[(*every, *(slice(None, None, s) for s in strides),
                *(slice(None, None, d) for d in dilation))]  # fmt: skip


def convolved(x: Any, w: Any, strides: Any, pads: Any, dilation: Any) -> Any:
    n = x.ndim - 2
    w64 = w.astype(np.float64)
    view = windows(x.astype(np.float64), w.shape[2:], strides, pads, dilation, 0)
    inner = list(range(view.ndim - n, view.ndim))
    return np.moveaxis(np.tensordot(view, w64, ([1, *inner], list(range(1, w.ndim)))), -1, 1)


CONVOLUTIONS = [
    ((2, 3, 7), (4, 3, 3), (1,), [(0, 0)], (1,)),
    ((2, 3, 7), (4, 3, 3), (2,), [(2, 1)], (2,)),
    ((1, 1, 6, 5), (1, 1, 1, 1), (1, 1), [(0, 0), (0, 0)], (1, 1)),
    ((2, 3, 6, 5), (4, 3, 3, 2), (1, 1), [(1, 1), (0, 1)], (1, 1)),
    ((2, 3, 8, 7), (4, 3, 3, 3), (2, 3), [(1, 0), (2, 2)], (1, 1)),
    ((2, 3, 8, 7), (4, 3, 2, 3), (1, 2), [(0, 0), (1, 1)], (3, 2)),
    ((2, 2, 4, 4), (2, 2, 4, 4), (3, 5), [(0, 0), (0, 0)], (1, 1)),
    ((1, 2, 4, 5, 3), (2, 2, 2, 2, 2), (1, 2, 1), [(0, 1), (1, 0), (0, 0)], (1, 1, 1)),
]


@pytest.mark.parametrize(("x", "w", "strides", "pads", "dilation"), CONVOLUTIONS)
def test_convolutions(x: Any, w: Any, strides: Any, pads: Any, dilation: Any) -> None:
    a, b = floats(*x), floats(*w)
    got = np.asarray(lax.conv_general_dilated(a, b, strides, pads, rhs_dilation=dilation))
    np.testing.assert_allclose(got, convolved(a, b, strides, pads, dilation), 2e-5, 2e-5)


@pytest.mark.parametrize(("size", "kernel", "stride", "dilation", "pads"), [
    (7, 3, 1, 1, (1, 1)), (7, 3, 2, 1, (1, 1)), (8, 3, 2, 1, (0, 1)), (7, 2, 1, 1, (0, 1)),
    (9, 1, 4, 1, (0, 0)), (7, 3, 1, 2, (2, 2)), (5, 2, 3, 1, (0, 0))])  # fmt: skip
def test_same_pads_as_xla(size: int, kernel: int, stride: int, dilation: int, pads: Any) -> None:
    a, b = floats(1, 2, size), floats(3, 2, kernel)
    got = lax.conv_general_dilated(a, b, (stride,), "SAME", None, (dilation,))
    assert got.shape == (1, 3, -(-size // stride))
    want = convolved(a, b, (stride,), [pads], (dilation,))
    np.testing.assert_allclose(np.asarray(got), want, 2e-5, 2e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_sixteen_bit_convolutions_sum_in_float32(dtype: str) -> None:
    x, w = anp.ones((1, 5000, 1), dtype), anp.ones((1, 5000, 1), dtype)
    got = lax.conv_general_dilated(x, w, (1,), "VALID")
    assert got.dtype.name == dtype
    assert got.astype("float32").item() == anp.asarray(5000.0).astype(dtype).astype("float32")


@pytest.mark.parametrize(("x", "w", "strides", "pads", "dilation"), CONVOLUTIONS)
def test_gradients_of_convolutions(
    x: Any, w: Any, strides: Any, pads: Any, dilation: Any
) -> None:
    """A convolution is linear in each argument: <dy, conv(v, w)> = <dx, v>, and so for w."""
    a, b = floats(*x), floats(*w)
    def f(p: Any, q: Any) -> Any:
        return lax.conv_general_dilated(p, q, strides, pads, rhs_dilation=dilation)

    y, vjp = anneal.vjp(f, a, b)
    dy = floats(*y.shape)
    da, db = (np.asarray(g).astype(np.float64) for g in vjp(anp.asarray(dy)))
    va, vb = floats(*x), floats(*w)
    left = (dy * convolved(va, b, strides, pads, dilation)).sum()
    np.testing.assert_allclose((da * va).sum(), left, 1e-4, 1e-3)
    right = (dy * convolved(a, vb, strides, pads, dilation)).sum()
    np.testing.assert_allclose((db * vb).sum(), right, 1e-4, 1e-3)


X, W = (1, 2, 5, 5), (3, 2, 3, 3)


@pytest.mark.parametrize(("x", "w", "strides", "pads", "dilation", "fragment"), [
    ((1, 3, 5, 5), W, (1, 1), "VALID", None, "(1, 3, 5, 5) and rhs (3, 2, 3, 3)"),
    ((1, 2, 5), W, (1, 1), "VALID", None, "(1, 2, 5) and rhs (3, 2, 3, 3)"),
    ((5,), (3,), (), "VALID", None, "two or more"),
    (X, W, (1,), "VALID", None, "window_strides needs 2"),
    (X, W, (0, 1), "VALID", None, "got (0, 1)"),
    (X, W, (1, 1), "VALID", (1,), "rhs_dilation needs 2"),
    (X, W, (1, 1), [(0, 0)], None, "padding needs 2 pairs"),
    (X, W, (1, 1), [(-1, 0), (0, 0)], None, "none negative"),
    (X, W, (1, 1), "FULL", None, "got 'FULL'"),
    (X, W, (1, 1), "VALID", (1, 3), "a window of 3 (dilation 3) does not fit in axis 3"),
])  # fmt: skip
def test_refused_convolutions(
    x: Any, w: Any, strides: Any, pads: Any, dilation: Any, fragment: str
) -> None:
    with pytest.raises(ValueError, match="conv_general_dilated: ") as caught:
        lax.conv_general_dilated(anp.ones(x), anp.ones(w), strides, pads, None, dilation)
    assert fragment in str(caught.value)


WINDOWS = [
    ((6,), (3,), (1,), [(0, 0)], (1,)),
    ((7, 6), (2, 3), (2, 1), [(0, 0), (1, 1)], (1, 1)),
    ((2, 9, 8), (1, 3, 2), (1, 2, 3), [(0, 0), (1, 0), (0, 2)], (1, 2, 1)),
    ((5, 4), (1, 1), (2, 1), [(0, 0), (0, 0)], (1, 1)),
]
COMPUTATIONS = [
    (anp.add, np.sum, 0), (anp.multiply, np.prod, 1), (anp.maximum, np.max, -np.inf),
    (anp.minimum, np.min, np.inf)]  # fmt: skip


@pytest.mark.parametrize(("computation", "reduction", "init"), COMPUTATIONS)
@pytest.mark.parametrize(("shape", "sizes", "strides", "pads", "dilation"), WINDOWS)
def test_reduce_window(
    computation: Any, reduction: Any, init: float,
    shape: Any, sizes: Any, strides: Any, pads: Any, dilation: Any,
) -> None:  # fmt: skip
    x = floats(*shape)
    got = lax.reduce_window(x, init, computation, sizes, strides, pads, dilation)
    view = windows(x, sizes, strides, pads, dilation, init)
    want = reduction(view, tuple(range(x.ndim, 2 * x.ndim)))
    np.testing.assert_allclose(np.asarray(got), want, 1e-5, 1e-6)


def test_reduce_window_of_integers_pads_with_the_least() -> None:
    x = np.array([-7, -9, -3], np.int32)
    got = lax.reduce_window(x, -(2**31), anp.maximum, (2,), (1,), "SAME")
    assert got.dtype is anp.int32 and got.tolist() == [-7, -3, -3]


def test_the_gradient_of_a_maximum_stays_inside() -> None:
    x = np.array([-3.0, -1.0, -2.0], np.float32)

    def total(v: Any) -> Any:
        return lax.reduce_window(v, -anp.inf, anp.maximum, (2,), (1,), [(1, 1)]).sum()

    assert anneal.grad(total)(x).tolist() == [1.0, 2.0, 1.0]


def test_refused_windows() -> None:
    x = anp.ones((4, 4))
    with pytest.raises(ValueError, match="computation must be"):
        lax.reduce_window(x, 0, anp.subtract, (2, 2))
    with pytest.raises(ValueError, match="init_value must be -inf, the identity of maximum"):
        lax.reduce_window(x, 0, anp.maximum, (2, 2))
    with pytest.raises(ValueError, match="window_dimensions needs 2"):
        lax.reduce_window(x, 0, anp.add, (2,))
    with pytest.raises(ValueError, match="does not fit in axis 1"):
        lax.reduce_window(x, 0, anp.add, (2, 5))


def test_stop_gradient() -> None:
    assert anneal.grad(lambda x: x * lax.stop_gradient(x))(3.0).item() == 3.0


def test_groups_convolve_apart() -> None:
    x, w = floats(2, 6, 5, 5), floats(9, 2, 3, 3)
    got = lax.conv_general_dilated(x, w, (1, 2), "SAME", feature_group_count=3)
    parts = [lax.conv_general_dilated(x[:, 2 * g : 2 * g + 2], w[3 * g : 3 * g + 3], (1, 2), "SAME")
             for g in range(3)]  # fmt: skip
    np.testing.assert_allclose(np.asarray(got), np.concatenate(parts, 1), 1e-5, 1e-5)
    with pytest.raises(ValueError, match=r"equally many channels \(axis 1\) in 4 groups"):
        lax.conv_general_dilated(x, w, (1, 1), "SAME", feature_group_count=4)


def test_axes_in_another_order() -> None:
    x, w = floats(2, 3, 6, 5), floats(4, 3, 3, 2)
    want = np.asarray(lax.conv_general_dilated(x, w, (1, 1), "VALID"))
    got = lax.conv_general_dilated(x.transpose(0, 2, 3, 1), w.transpose(2, 3, 1, 0), (1, 1),
                                   "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(np.asarray(got), want.transpose(0, 2, 3, 1), 1e-5, 1e-5)
    mixed = lax.conv_general_dilated(x, w, (1, 1), "VALID",
                                     dimension_numbers=("NCHW", "OIHW", "HWNC"))
    np.testing.assert_allclose(np.asarray(mixed), want.transpose(2, 3, 0, 1), 1e-5, 1e-5)
    for numbers in (("NHW", "HWIO", "NHWC"), ("NHWC", "HWIC", "NHWC"), ("NHWC", "HWIO")):
        with pytest.raises(ValueError, match="conv_general_dilated: dimension_numbers"):
            lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=numbers)


def test_zeros_between_the_elements_of_lhs() -> None:
    x, w = floats(1, 2, 4, 3), floats(3, 2, 2, 3)
    spread = np.zeros((1, 2, 7, 7), np.float32)
    spread[:, :, ::2, ::3] = x
    want = lax.conv_general_dilated(spread, w, (1, 1), [(1, 1), (2, 2)])
    got = lax.conv_general_dilated(x, w, (1, 1), [(1, 1), (2, 2)], lhs_dilation=(2, 3))
    np.testing.assert_allclose(np.asarray(got), np.asarray(want), 1e-5, 1e-5)


def test_dynamic_slices() -> None:
    x = np.arange(20, dtype=np.int32).reshape(4, 5)
    f = anneal.jit(lambda x, i, j: lax.dynamic_slice(x, (i, j), (2, 3)))
    for i, j, want in ((1, 2, x[1:3, 2:5]), (3, 9, x[2:, 2:]), (-1, -4, x[2:, 1:4])):
        np.testing.assert_array_equal(np.asarray(f(x, i, j)), want)
    g = anneal.jit(lambda x, v, i, j: lax.dynamic_update_slice(x, v, (i, j)))
    for i, j, a, b in ((1, 2, 1, 2), (3, 9, 2, 2), (0, -4, 0, 1)):
        want = x.copy()
        want[a : a + 2, b : b + 3] = -1
        np.testing.assert_array_equal(np.asarray(g(x, -np.ones((2, 3)), i, j)), want)
    with pytest.raises(ValueError, match=r"dynamic_slice: size 6 does not fit axis 1"):
        lax.dynamic_slice(x, (0, 0), (2, 6))
    with pytest.raises(ValueError, match=r"dynamic_update_slice: update \(5, 1\)"):
        lax.dynamic_update_slice(x, np.zeros((5, 1)), (0, 0))


def test_error_functions() -> None:
    x = np.linspace(-5, 5, 201).astype(np.float32)
    want = [math.erf(float(v)) for v in x]
    np.testing.assert_allclose(np.asarray(lax.erf(x)), want, 1e-6, 1e-7)
    y = np.linspace(-0.999, 0.999, 99).astype(np.float32)
    np.testing.assert_allclose(np.asarray(lax.erf(lax.erf_inv(y))), y, 2e-6, 1e-7)
    assert lax.erf_inv(anp.asarray([-1.0, 0.0, 1.0])).tolist() == [-np.inf, 0, np.inf]
    assert np.isnan(lax.erf_inv(1.5).item()) and np.isnan(lax.erf(np.float32("nan")).item())
    slope = anneal.grad(lambda v: lax.erf(v))(0.0).item()
    np.testing.assert_allclose(slope, 2 / math.sqrt(math.pi), 1e-6)
    slope = anneal.grad(lambda v: lax.erf_inv(v))(0.0).item()
    np.testing.assert_allclose(slope, math.sqrt(math.pi) / 2, 1e-6)
