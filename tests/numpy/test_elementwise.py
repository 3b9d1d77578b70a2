"""Elementwise functions against NumPy's, special values included."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anneal
import anneal.numpy as anp

FLOATS = np.array([0.0, -0.0, 0.5, -0.5, 1.0, -1.0, 1.5, -2.5, 2.5, 3.0, 1e-8, -1e-8, 7.25, 88.0,
                   -88.0, 1e30, -1e30, np.inf, -np.inf, np.nan], np.float32)  # fmt: skip
POSITIVE = np.abs(FLOATS)
INTS = np.array([0, 1, -1, 2, -2, 7, -7, 100, 2**31 - 1, -(2**31)], np.int32)


def check(got: Any, want: Any, rtol: float = 3e-6) -> None:
    g, w = np.asarray(got), np.asarray(want)
    assert g.shape == w.shape
    if w.dtype == np.float64:
        w = w.astype(np.float32)
    np.testing.assert_allclose(g.astype(w.dtype), w, rtol, 1e-37)


UNARY = ["abs", "sign", "exp", "expm1", "sin", "cos", "tanh", "floor", "ceil", "round", "square",
         "negative", "isnan", "isfinite", "isinf", "trunc", "tan", "sinh", "cosh", "signbit",
         "logical_not", "nan_to_num", "positive", "exp2", "reciprocal"]  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_unary(name: str) -> None:
    x = FLOATS[np.abs(FLOATS) < 100] if name in ("sin", "cos", "tan") else FLOATS
    with np.errstate(all="ignore"):
        want = getattr(np, name)(x.astype(np.float64) if name != "nan_to_num" else x)
        check(getattr(anp, name)(x), np.asarray(want).astype(np.float32)
              if want.dtype.kind == "f" else want)  # fmt: skip


@pytest.mark.parametrize("name", ["log", "log1p", "sqrt", "log2", "log10"])
def test_unary_of_positive_numbers(name: str) -> None:
    with np.errstate(all="ignore"):
        check(getattr(anp, name)(POSITIVE), getattr(np, name)(POSITIVE.astype(np.float64)))


def test_near_zero() -> None:
    x = np.logspace(-30, 0, 200).astype(np.float32)
    x = np.concatenate([x, -x])
    for name in ("expm1", "tanh", "sinh"):
        check(getattr(anp, name)(x), getattr(np, name)(x.astype(np.float64)), 1e-6)
    near = x[x > -0.99]
    check(anp.log1p(near), np.log1p(near.astype(np.float64)), 1e-6)


BINARY = ["add", "subtract", "multiply", "divide", "maximum", "minimum", "less", "less_equal",
          "greater", "greater_equal", "equal", "not_equal", "logical_and", "logical_or",
          "logical_xor", "copysign", "logaddexp", "hypot"]  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
def test_binary(name: str) -> None:
    x, y = FLOATS[:, None], FLOATS[None, :]
    with np.errstate(all="ignore"):
        wide = name in ("hypot", "logaddexp")
        f = getattr(np, name)
        want = f(x.astype(np.float64), y.astype(np.float64)) if wide else f(x, y)
        if want.dtype.kind == "f":
            want = want.astype(np.float32)
        check(getattr(anp, name)(x, y), want)


INT_BINARY = ["add", "subtract", "multiply", "maximum", "minimum", "less", "less_equal", "equal",
              "bitwise_and", "bitwise_or", "bitwise_xor", "floor_divide", "remainder"]  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32"])
@pytest.mark.parametrize("name", INT_BINARY)
def test_binary_of_integers(name: str, dtype: str) -> None:
    with np.errstate(all="ignore"):
        x = INTS.astype(dtype)
        divides = name in ("floor_divide", "remainder")
        y = x[x != 0] if divides else x
        if divides and dtype == "int32":
            y = y[y != -1]
        want = getattr(np, name)(x[:, None], y[None, :])
    check(getattr(anp, name)(x[:, None], y[None, :]), want)


def test_shifts() -> None:
    x = np.array([1, -8, 127, -128], np.int32)
    check(anp.left_shift(x, 3), np.left_shift(x, 3))
    check(anp.right_shift(x, 2), np.right_shift(x, 2))
    check(anp.invert(x), ~x)
    with pytest.raises(TypeError, match="invert: expected integers or bools, got float32"):
        anp.invert(1.5)


FINITE = st.floats(-1e4, 1e4, width=32).filter(lambda v: abs(v) > 1e-3)


@settings(max_examples=60, deadline=None)
@given(x=FINITE, y=FINITE)
def test_float_division_with_floor(x: float, y: float) -> None:
    a, b = np.float32(x), np.float32(y)
    # NumPy's quotient and rest are exact; ours are of the rounded quotient.
    quotient = np.float64(a) / np.float64(b)
    got = float(anp.floor_divide(a, b).item())
    assert got == np.floor_divide(a, b) or abs(got - quotient) <= 1e-6 * abs(quotient)
    got = float(anp.remainder(a, b).item())
    assert (got == 0 or (got > 0) == (y > 0)) and abs(got) <= abs(y)


def test_remainder_by_infinity_and_small_parts() -> None:
    x = np.array([5.5, -5.5, 5.5, -5.5, 0.0], np.float32)
    y = np.array([np.inf, np.inf, -np.inf, -np.inf, np.inf], np.float32)
    check(anp.remainder(x, y), np.remainder(x, y))
    q, r = anp.divmod(np.float32(7.5), 2.0)
    assert (q.item(), r.item()) == (3.0, 1.5)


def test_power() -> None:
    x = np.array([0.0, 1.0, 2.0, -2.0, 0.5, 9.0], np.float32)
    for n in (0, 1, 2, 3, 7, 16, -1, -2):
        with np.errstate(all="ignore"):
            check(anp.power(x, n), np.power(x.astype(np.float64), n))
    check(anp.power(np.abs(x), 0.5), np.abs(x) ** 0.5)
    i = np.array([0, 1, 2, -3], np.int32)
    assert anp.power(i, 3).dtype.name == "int32"
    check(anp.power(i, 3), i**3)
    to = np.array([0, 3, 5, 2], np.int32)
    assert anp.power(i, to).dtype.name == "int32"
    check(anp.power(i, to), i**to)
    wrapped = np.array(3**40 % 2**32).astype(np.uint32).view(np.int32)
    check(anp.power(np.int32(3), np.int32(40)), wrapped)
    with pytest.raises(ValueError, match="power: integers to the negative power -1"):
        anp.power(i, -1)
    assert (anp.asarray(3) ** 0).item() == 1


def test_where_and_clip() -> None:
    x = np.arange(6, dtype=np.float32)
    check(anp.where(x > 2, x, -1), np.where(x > 2, x, np.float32(-1)))
    check(anp.clip(x, 1, 3), np.clip(x, 1, 3))
    check(anp.clip(x, max=2), np.minimum(x, 2))
    with pytest.raises(ValueError, match=r"where: cannot broadcast shapes"):
        anp.where(x > 2, x, np.zeros(5, np.float32))


def test_round_to_decimals() -> None:
    x = np.array([1.25, 2.675, -3.14159, 0.5, 1.5], np.float32)
    check(anp.round(x, 2), np.round(x, 2))
    check(anp.round(x), np.round(x))


def test_isclose() -> None:
    x = np.array([1.0, 1.0, np.inf, np.inf, np.nan, 1.0], np.float32)
    y = np.array([1.000001, 1.1, np.inf, -np.inf, np.nan, np.inf], np.float32)
    check(anp.isclose(x, y), np.isclose(x, y))
    check(anp.isclose(x, y, equal_nan=True), np.isclose(x, y, equal_nan=True))
    assert not anp.allclose(x, y) and anp.allclose(x[:1], y[:1])


def test_shapes_that_do_not_fit_name_the_function_and_both() -> None:
    with pytest.raises(ValueError, match=r"add: cannot broadcast shapes \(3,\) and \(4,\)"):
        anp.add(anp.zeros(3), anp.zeros(4))
    with pytest.raises(TypeError, match="multiply: no common dtype for uint32 and int8"):
        anp.multiply(anp.zeros(3, "uint32"), anp.zeros(3, "int8"))


def test_few_nodes() -> None:
    """A public function is a few nodes: what is traced is what a user wrote."""
    x = anp.asarray(np.zeros((4, 4), np.float32))
    from anneal.uop.uop import toposort

    def nodes(f: Any) -> int:
        return len(toposort([f(x).uop])) - 1

    assert nodes(lambda x: x + 1) == 2
    assert nodes(lambda x: x @ x) <= 8
    assert nodes(lambda x: x.sum()) == 1
    assert nodes(anp.isnan) == 1
    assert nodes(lambda x: anp.where(x > 0, x, 0)) <= 4


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_floats(dtype: str) -> None:
    x = anp.asarray([0.1, 1.0, 3.0], dtype)
    for f in (anp.exp, anp.log, anp.tanh, anp.sqrt, anp.log1p, anp.expm1):
        y = f(x)
        assert y.dtype.name == dtype
        want = f(x.astype("float32"))
        np.testing.assert_allclose(np.asarray(y.astype("float32")), np.asarray(want), 1e-2)


def test_gradients_are_finite_where_the_function_is_smooth() -> None:
    for f in (anp.log1p, anp.expm1, anp.sinh, anp.tan):
        assert abs(float(anneal.grad(f)(1e-6).item()) - 1) < 1e-5
