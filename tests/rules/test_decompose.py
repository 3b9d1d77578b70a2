"""Functions on WebGPU against float64, and the rules for what drivers get wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal.interpret import evaluate
from anneal.rules._decompose import RULES
from anneal.uop import dtypes, ops
from anneal.uop.rewrite import rewrite
from anneal.uop.uop import const, param

RNG = np.random.default_rng(0)
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1, -1, 0.5, 1.5, -2.5, 2, -2, 3, -3, 89,
                    -88, 1e-30, 3e38, -3e38, 1e-10, 0.99999, 1.00001], np.float32)  # fmt: skip


def on_webgpu(f: Callable[..., Any], *args: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    with anneal.default_device("webgpu"):
        return np.asarray(anneal.jit(f)(*args))


def ulps(got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]) -> float:
    """The largest error in units of float32's last place, where the result is a normal number."""
    normal = (np.abs(want) > 1.2e-38) & (np.abs(want) < 3.4e38)
    unit = np.spacing(np.abs(want[normal]).astype(np.float32))
    return float(np.max(np.abs(got[normal] - want[normal]) / unit))


def same(got: np.ndarray[Any, Any], want: np.ndarray[Any, Any]) -> None:
    """Equal to a few ulp, infinities, NaN and the signs of zeros included."""
    np.testing.assert_allclose(got, want, rtol=1e-6)
    number = ~np.isnan(want)
    np.testing.assert_array_equal(np.signbit(got[number]), np.signbit(want[number]))


@pytest.mark.parametrize("name, low, high", [
    ("exp", -87, 88), ("log", 1e-30, 1e30), ("log", 0.5, 2), ("tanh", -10, 10),
    ("tanh", -1e-3, 1e-3), ("sin", -1000, 1000), ("cos", -1000, 1000),
])  # fmt: skip
def test_functions_are_accurate_to_a_few_ulp(name: str, low: float, high: float) -> None:
    x = RNG.uniform(low, high, 50_000).astype(np.float32)
    want = getattr(np, name)(x.astype(np.float64))
    if name in ("sin", "cos"):  # near their zeros the reduced argument's error is absolute
        np.testing.assert_allclose(on_webgpu(getattr(anp, name), x), want, atol=1e-6)
        return
    assert ulps(on_webgpu(getattr(anp, name), x), want) < 4


@pytest.mark.parametrize("x, y", [
    (RNG.uniform(0, 10, 50_000), RNG.uniform(-40, 40, 50_000)),
    (np.exp(RNG.uniform(-80, 80, 50_000)), RNG.uniform(-2, 2, 50_000)),
    (1 + RNG.uniform(-1e-3, 1e-3, 50_000), RNG.uniform(-1e4, 1e4, 50_000)),
    (RNG.integers(-60, 60, 50_000), RNG.integers(-12, 13, 50_000)),
])  # fmt: skip
def test_pow_is_accurate_to_two_ulp(x: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> None:
    x, y = x.astype(np.float32), y.astype(np.float32)
    with np.errstate(all="ignore"):
        want = np.power(x.astype(np.float64), y.astype(np.float64))
    assert ulps(on_webgpu(anp.power, x, y), want) < 2


def test_small_whole_powers_are_exact() -> None:
    x, y = [v.ravel().astype(np.float32) for v in np.meshgrid(np.arange(-9, 10), np.arange(8))]
    np.testing.assert_array_equal(on_webgpu(anp.power, x, y), np.power(x, y))


def test_pow_of_special_values() -> None:
    x, y = [v.ravel().copy() for v in np.meshgrid(SPECIAL, SPECIAL)]
    with np.errstate(all="ignore"):
        want = np.power(x, y)
    subnormal = (np.abs(want) < 1.2e-38) & (want != 0)
    same(on_webgpu(anp.power, x, y)[~subnormal], want[~subnormal])


@pytest.mark.parametrize("name", ["exp", "log", "tanh", "sqrt", "floor", "abs"])
def test_functions_of_special_values(name: str) -> None:
    with np.errstate(all="ignore"):
        want = getattr(np, name)(SPECIAL)
    normal = ~((np.abs(want) < 1.2e-38) & (want != 0))
    same(on_webgpu(getattr(anp, name), SPECIAL)[normal], want[normal])


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_division_by_a_literal_zero(zero: float) -> None:
    with np.errstate(all="ignore"):
        want = SPECIAL / np.float32(zero)
    same(on_webgpu(lambda x: x / zero, SPECIAL), want)
    x = param(dtypes.float32, SPECIAL.shape)
    (new,) = rewrite([x.alu(ops.DIV, const(zero, dtypes.float32))], RULES)
    assert new.op is ops.WHERE
    same(evaluate([new], {x: SPECIAL})[0], want)


def test_a_value_less_itself() -> None:
    want = np.where(np.isfinite(SPECIAL), np.float32(0), np.float32(np.nan))
    f: Callable[[Any], Any]
    for f in (lambda x: x - x, lambda x: -x + x, lambda x: x + -x, lambda x: (x * 3) - (x * 3)):
        with np.errstate(all="ignore"):
            expected = f(SPECIAL)
        same(on_webgpu(f, SPECIAL), expected)
        assert np.isnan(expected[~np.isfinite(SPECIAL)]).all()
    x = param(dtypes.float32, SPECIAL.shape)
    for u in (x - x, -x + x):
        (new,) = rewrite([u], RULES)
        assert new.op is ops.WHERE
        same(evaluate([new], {x: SPECIAL})[0], want)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_product_with_a_literal_zero(zero: float) -> None:
    with np.errstate(all="ignore"):
        want = SPECIAL * np.float32(zero)
    same(on_webgpu(lambda x: x * zero, SPECIAL), want)
    x = param(dtypes.float32, SPECIAL.shape)
    (new,) = rewrite([x * zero], RULES)
    assert new.op is ops.WHERE
    same(evaluate([new], {x: SPECIAL})[0], want)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_literal_zero_divided(zero: float) -> None:
    with np.errstate(all="ignore"):
        want = np.float32(zero) / SPECIAL
    same(on_webgpu(lambda x: zero / x, SPECIAL), want)
    x = param(dtypes.float32, SPECIAL.shape)
    (new,) = rewrite([const(zero, dtypes.float32) / x], RULES)
    assert new.op is ops.WHERE
    same(evaluate([new], {x: SPECIAL})[0], want)


@pytest.mark.parametrize("infinity", [np.inf, -np.inf])
def test_a_product_with_a_literal_infinity(infinity: float) -> None:
    with np.errstate(all="ignore"):
        want = SPECIAL * np.float32(infinity)
    same(on_webgpu(lambda x: x * infinity, SPECIAL), want)
    x = param(dtypes.float32, SPECIAL.shape)
    (new,) = rewrite([x * infinity], RULES)
    same(evaluate([new], {x: SPECIAL})[0], want)
