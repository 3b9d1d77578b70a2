"""Elementwise functions against NumPy's, special values included."""

from __future__ import annotations

import math
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


DIVIDENDS = [0.0, -0.0, 1.0, -1.0, 1.5, -1.5, 5.0, -5.0, 0.3, 6.0, -6.0, 1e9, -1e9, 16777216.0,
             3e38, -3e38, 1e-30, -1e-30, 1e-45, 1.2e-38, math.inf, -math.inf, math.nan]  # fmt: skip
DIVISORS = [*DIVIDENDS, math.pi, -math.pi, 7.0, 1 / 3, 2.0**-20]


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_float_division_with_floor(dtype: str) -> None:
    """Bit for bit NumPy's: signs of zeros, infinities, quotients beyond 2**24."""
    rng = np.random.default_rng(0)
    with np.errstate(all="ignore"):
        x = np.array([*DIVIDENDS, *rng.uniform(-1e3, 1e3, 40), *np.exp(rng.uniform(-60, 60, 40))],
                     dtype)[:, None]  # fmt: skip
        y = np.array([*DIVISORS, *rng.uniform(-9, 9, 20), *np.exp(rng.uniform(-60, 60, 20))], dtype)
        quotient, rest = np.floor_divide(x, y), np.remainder(x, y)
    got_quotient, got_rest = anp.divmod(x, y)
    if dtype == "float32":
        for got in (got_rest, anp.remainder(x, y), anp.asarray(x) % y):
            np.testing.assert_array_equal(np.asarray(got), rest)
        number = ~np.isnan(rest) & (np.abs(rest) != 1e-45)
        signs = np.signbit(np.asarray(got_rest))[number] == np.signbit(rest)[number]
        assert signs.all()
    usual = np.isnan(quotient) | (np.abs(quotient) < (2**22 if dtype == "float32" else 500))
    for got in (got_quotient, anp.floor_divide(x, y), anp.asarray(x) // y):
        g = np.asarray(got)
        np.testing.assert_array_equal(g[usual], quotient[usual])
        np.testing.assert_allclose(g, quotient, 3e-7 if dtype == "float32" else 2e-3)
    whole = usual & ~np.isnan(quotient) & np.isfinite(x) & (x != 0)
    sign = np.signbit(np.asarray(got_quotient))[whole] == np.signbit(quotient)[whole]
    assert sign.all()


@settings(max_examples=200, deadline=None)
@given(x=st.floats(width=32), y=st.floats(width=32))
def test_remainders_of_any_floats(x: float, y: float) -> None:
    with np.errstate(all="ignore"):
        want = np.remainder(np.float32(x), np.float32(y))
    np.testing.assert_array_equal(np.asarray(anp.remainder(np.float32(x), np.float32(y))), want)


def test_gradients_of_remainders() -> None:
    for x, y in [(7.0, 3.0), (-7.0, 3.0), (7.5, -2.0), (1.0, 3.0), (6.0, 3.0)]:
        dx, dy = anneal.grad(anp.remainder, (0, 1))(x, y)
        assert (dx.item(), dy.item()) == (1.0, -float(np.floor(x / y)))
        assert anneal.grad(anp.floor_divide)(x, y).item() == 0


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32"])
def test_integers_divided_by_zero(dtype: str) -> None:
    x, y = INTS.astype(dtype)[:, None], np.array([0, 1, 3, 0], dtype)
    with np.errstate(all="ignore"):
        want = np.divmod(x, y)
    f: Any
    for f in (anp.divmod, lambda a, b: (a // b, a % b), anneal.jit(anp.divmod)):
        for got, w in zip(f(anp.asarray(x), anp.asarray(y)), want, strict=True):
            check(got, w)
    assert anp.floor_divide(5, 0).item() == anp.remainder(5, 0).item() == 0


def test_remainder_by_infinity_and_small_parts() -> None:
    x = np.array([5.5, -5.5, 5.5, -5.5, 0.0], np.float32)
    y = np.array([np.inf, np.inf, -np.inf, -np.inf, np.inf], np.float32)
    check(anp.remainder(x, y), np.remainder(x, y))
    check(anp.floor_divide(x, y), np.floor_divide(x, y))
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


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("decimals", [-50, -39, -2, -1, 0, 1, 3, 10, 39, 400])
def test_round_is_never_beyond_what_the_dtype_holds(dtype: str, decimals: int) -> None:
    x = anp.asarray([0.0, 1234.56, -60000.0, 0.0625, 1e30, 250.0, np.inf, -np.inf, np.nan], dtype)
    given = np.asarray(x.astype("float32")).astype(np.float64)
    scale = 10.0**decimals if decimals < 300 else np.inf
    with np.errstate(all="ignore"):
        want = np.where(np.isfinite(given * scale), np.rint(given * scale) / scale, given)
        want = np.where(np.isfinite(given), np.nan_to_num(want), given)
    got = anp.round(x, decimals)
    assert got.dtype is x.dtype
    tolerance = {"float32": 3e-7, "float16": 1e-3, "bfloat16": 8e-3}[dtype]
    wanted = np.asarray(anp.asarray(want.astype(np.float32), dtype).astype("float32"))
    np.testing.assert_allclose(np.asarray(got.astype("float32")), wanted, tolerance)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "uint32"])
@pytest.mark.parametrize("decimals", [-50, -10, -3, -2, -1, 0, 2])
def test_integers_are_rounded_to_tens(dtype: str, decimals: int) -> None:
    x = np.array([0, 1, 5, 15, 25, 50, 99, 100, 120, 1250, 1350, 29949, -5, -15, -25, -120])
    info = np.iinfo(dtype)
    x = x[(x >= info.min) & (x <= info.max)]
    want = np.array([round(v, min(decimals, 0)) for v in x.tolist()])
    fits = (want >= info.min) & (want <= info.max)
    got = np.asarray(anp.round(x.astype(dtype), decimals))
    assert got.dtype == dtype
    np.testing.assert_array_equal(got[fits], want[fits])


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


def second(f: Any, *at: float) -> list[list[float]]:
    n = range(len(at))
    return [[anneal.grad(lambda *v, i=i: anneal.grad(f, i)(*v), j)(*at).item() for j in n]
            for i in n]  # fmt: skip


def test_second_derivatives_at_ties_and_ends() -> None:
    def close(got: Any, want: Any) -> None:
        np.testing.assert_allclose(np.asarray(got), np.asarray(want), 1e-5, 1e-6)

    for a, b in [(1.0, 1.0), (0.0, 0.0), (-30.0, -30.0), (0.5, -0.25), (100.0, 99.0), (3.0, 50.0)]:
        s = 1 / (1 + math.exp(b - a))
        curve = s * (1 - s)
        close(second(anp.logaddexp, a, b), [[curve, -curve], [-curve, curve]])
        close([g.item() for g in anneal.grad(anp.logaddexp, (0, 1))(a, b)], [s, 1 - s])
    for x in (0.0, 1e-6, -1e-6, 1e-3, -0.5, 3.0, 1e20):
        close(anneal.grad(anp.log1p)(x), 1 / (1 + x))
        close(second(anp.log1p, x), [[-1 / (1 + x) ** 2]])
        third = anneal.grad(lambda v: anneal.grad(anneal.grad(anp.log1p))(v))
        close(third(x), 2 / (1 + x) ** 3)
    close(second(anp.hypot, 2.0, 2.0), [[2**-2.5, -(2**-2.5)], [-(2**-2.5), 2**-2.5]])
    close(second(anp.expm1, 0.0), [[1.0]])


def test_derivatives_of_expm1_where_it_overflows() -> None:
    for x, want in [(88.0, math.exp(88)), (89.0, math.inf), (1e30, math.inf), (math.inf, math.inf),
                    (-200.0, 0.0), (0.49, math.exp(0.49)), (0.51, math.exp(0.51))]:  # fmt: skip
        np.testing.assert_allclose(anneal.grad(anp.expm1)(x).item(), want, 1e-5)
        np.testing.assert_allclose(second(anp.expm1, x)[0][0], want, 1e-5)


def test_nan_reaches_the_derivatives_of_logaddexp() -> None:
    for a, b in [(math.nan, 1.0), (1.0, math.nan), (math.nan, math.inf)]:
        assert all(math.isnan(g.item()) for g in anneal.grad(anp.logaddexp, (0, 1))(a, b))


@pytest.mark.parametrize("decimals", [-2, 0, 2, 5])
def test_round_is_constant_between_its_steps(decimals: int) -> None:
    x = anp.array([0.3, -1.25, 1e30, 3e38, np.inf, -np.inf, np.nan])
    grad = anneal.grad(lambda v: anp.round(v, decimals).sum())(x)
    assert grad.tolist()[:4] == [0, 0, 0, 0] and not any(np.asarray(grad))


def test_logaddexp_at_its_ends() -> None:
    x = np.array([np.inf, -np.inf, np.inf, 1.0, 1.0, np.nan, 0.0, -80.0, 1e-10], np.float32)
    y = np.array([np.inf, -np.inf, -np.inf, np.inf, -np.inf, 1.0, -30.0, -100.0, -20.0], np.float32)
    with np.errstate(all="ignore"):
        check(anp.logaddexp(x, y), np.logaddexp(x.astype(np.float64), y))
    grad = anneal.grad(anp.logaddexp, (0, 1))
    for a, b, want in [(1.0, -np.inf, (1, 0)), (np.inf, 1.0, (1, 0)), (-np.inf, 2.0, (0, 1))]:
        assert tuple(g.item() for g in grad(a, b)) == want


def test_log1p_of_large_numbers_and_at_its_ends() -> None:
    x = np.array([1e10, 1e37, 3.4e38, -0.99999994, -1.0, -1.5, np.inf, np.nan, 0.0, -0.0, 1e-10,
                  -1e-7, 2e-7], np.float32)  # fmt: skip
    with np.errstate(all="ignore"):
        check(anp.log1p(x), np.log1p(x.astype(np.float64)), 3e-7)
    assert np.signbit(np.asarray(anp.log1p(np.float32(-0.0))))


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
def test_angles_of_any_size(name: str) -> None:
    rng = np.random.default_rng(0)
    bits = rng.integers(0, 2**32, 2000, np.uint32).view(np.float32)
    near_zeros = (np.arange(1, 4000) * np.pi / 2).astype(np.float32)
    x = np.concatenate([bits[np.isfinite(bits)], near_zeros,
                        np.float32([1e8, -1e8, 3.4e38, 2**20 * np.pi, 0.0, -0.0, 1e-30])])
    want = np.array([getattr(math, name)(v) for v in x.tolist()])
    check(getattr(anp, name)(x), want.astype(np.float32), 1e-6)
    with np.errstate(all="ignore"):
        assert np.isnan(np.asarray(getattr(anp, name)(np.float32([np.inf, -np.inf, np.nan])))).all()
