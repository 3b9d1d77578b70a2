"""Reductions, scans and sorting against NumPy's."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anneal
import anneal.numpy as anp
from anneal import nn

rng = np.random.default_rng(0)
X = rng.normal(size=(3, 4, 5)).astype(np.float32)


def check(got: Any, want: Any, rtol: float = 2e-6) -> None:
    g, w = np.asarray(got), np.asarray(want)
    assert g.shape == w.shape
    np.testing.assert_allclose(g.astype(np.float64), w.astype(np.float64), rtol, 1e-6)


AXES = [None, 0, -1, (0, 2), (1, -1), ()]


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("name", ["sum", "prod", "mean", "var", "std", "max", "min", "any", "all",
                                  "ptp", "count_nonzero"])  # fmt: skip
def test_reductions(name: str, axis: Any, keepdims: bool) -> None:
    x = X > 0.5 if name in ("any", "all", "count_nonzero") else X
    check(getattr(anp, name)(x, axis, keepdims=keepdims),
          getattr(np, name)(x, axis, keepdims=keepdims), 1e-5)  # fmt: skip


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int32", "bool"])
def test_of_integers(dtype: str) -> None:
    x = rng.integers(0, 100, (4, 6)).astype(dtype)
    check(anp.sum(x, 0), x.sum(0))
    check(anp.max(x, 1), x.max(1))
    check(anp.mean(x, 1), x.mean(1))


def test_where_and_initial() -> None:
    p = X > 0
    check(anp.sum(X, 1, where=p), X.sum(1, where=p))
    check(anp.prod(X, where=p), X.prod(where=p), 1e-5)
    check(anp.mean(X, 2, where=p | (X < -0.1)), X.mean(2, where=p | (X < -0.1)), 1e-5)
    check(anp.max(X, 0, initial=0.5, where=p), X.max(0, initial=0.5, where=p))
    check(anp.min(X, 0, initial=0.5), X.min(0, initial=0.5))
    check(anp.any(p, 0, where=X < 1), p.any(0, where=X < 1))
    with pytest.raises(ValueError, match="max: where needs initial"):
        anp.max(X, where=p)


def test_moments_with_ddof() -> None:
    check(anp.var(X, 1, ddof=1), X.var(1, ddof=1), 1e-5)
    check(anp.std(X, ddof=1), X.std(ddof=1), 1e-5)
    assert np.isnan(anp.var(np.ones(1, np.float32), ddof=1).item())


def test_mean_divides() -> None:
    assert anp.mean([3.0, 3.0, 3.0]).item() == 3.0


def test_of_nothing() -> None:
    empty = np.zeros((0, 3), np.float32)
    check(anp.sum(empty, 0), empty.sum(0))
    check(anp.prod(empty, 0), empty.prod(0))
    assert anp.any(empty).item() is False and anp.all(empty).item() is True
    with pytest.raises(ValueError, match=r"max: an axis of length 0 in \(0, 3\)"):
        anp.max(empty, 0)
    with pytest.raises(ValueError, match=r"max: an axis of length 0"):
        anp.argmax(empty, 0)


def test_nan_and_infinities() -> None:
    x = np.array([[1, np.nan, 2], [-np.inf, 3, np.inf]], np.float32)
    check(anp.max(x, 1), x.max(1))
    check(anp.min(x, 1), x.min(1))
    check(anp.argmax(x, 1), x.argmax(1))
    check(anp.argmin(x, 1), x.argmin(1))
    check(anp.max(np.full(3, -np.inf, np.float32)), -np.inf)


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("name", ["argmax", "argmin"])
def test_arg(name: str, axis: int | None) -> None:
    x = rng.integers(0, 4, (5, 6, 2)).astype(np.int32)  # with ties: the first counts
    for y in (x, x.astype(np.float32), x > 1, x.astype(np.uint8)):
        check(getattr(anp, name)(y, axis), getattr(np, name)(y, axis))
    check(getattr(anp, name)(x, axis, keepdims=True), getattr(np, name)(x, axis, keepdims=True))


def test_16_bit_sums_accumulate_in_32() -> None:
    x = anp.ones(5000, "float16")
    assert x.sum().item() == 5000 and x.sum().dtype.name == "float16"
    assert x.mean().item() == 1
    assert anp.var(anp.full(300, 300.0, "float16")).item() == 0
    assert anp.matmul(x, x).item() == 5000
    # 4096 + 1 is 4096 in float16, so a sum in float16 stops there.
    assert anp.cumsum(x)[-1].item() == 5000


@pytest.mark.parametrize("call, message", [
    (lambda: anp.sum(X, 3), r"sum: axis 3 is out of range for an array of shape \(3, 4, 5\)"),
    (lambda: anp.mean(X, (0, 0)), r"mean: duplicate axis in \(0, 0\)"),
    (lambda: anp.argmax(X, -4), "argmax: axis -4"),
])  # fmt: skip
def test_wrong_axes(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_running_sums_and_products(axis: int | None) -> None:
    check(anp.cumsum(X, axis), X.cumsum(axis), 1e-5)
    check(anp.cumprod(X, axis), X.cumprod(axis), 1e-5)
    i = np.arange(12, dtype=np.int32).reshape(3, 4)
    check(anp.cumsum(i, axis), i.cumsum(axis))


@pytest.mark.parametrize("n", [1, 256, 257, 1000])
def test_long_running_sums(n: int) -> None:
    x = np.arange(2 * n, dtype=np.int32).reshape(2, n)
    check(anp.cumsum(x, 1), x.cumsum(1))
    check(anp.cumsum(x.T, 0), x.T.cumsum(0))


def test_gradient_of_a_running_sum() -> None:
    g = anneal.grad(lambda x: (anp.cumsum(x) * anp.arange(4.0)).sum())(anp.ones(4))
    assert g.tolist() == [6, 6, 5, 3]


def test_cumulative_sum_may_begin_with_zero() -> None:
    assert anp.cumulative_sum([1, 2], include_initial=True).tolist() == [0, 1, 3]
    with pytest.raises(ValueError, match="axis must be given"):
        anp.cumulative_sum(X)


def test_diff() -> None:
    check(anp.diff(X, 2, 1), np.diff(X, 2, 1))
    check(anp.diff(X[0, 0] > 0), np.diff(X[0, 0] > 0))
    check(anp.diff(np.zeros(1, np.float32), 3), np.zeros(0))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.sampled_from([0.0, 1.0, -1.0, 2.5, np.inf, -np.inf, np.nan]), max_size=12))
def test_sort(values: list[float]) -> None:
    with anneal.default_device("interpreter"):
        x = np.array(values, np.float32)
        np.testing.assert_array_equal(np.asarray(anp.sort(x)), np.sort(x))
        want = np.argsort(x, kind="stable")
        np.testing.assert_array_equal(np.asarray(anp.argsort(x)), want)


@pytest.mark.parametrize("axis", [0, 1, -1, None])
def test_sort_along_axes(axis: int | None) -> None:
    check(anp.sort(X, axis), np.sort(X, axis))
    check(anp.argsort(X, axis), np.argsort(X, axis))
    check(anp.sort(X, axis, descending=True), -np.sort(-X, axis))
    i = rng.integers(0, 3, (3, 4, 5)).astype(np.uint8)
    check(anp.argsort(i, axis, descending=True), np.argsort(-i.astype(int), axis, kind="stable"))


@pytest.mark.parametrize("shape", [(2, 3), (1,), (5, 1), (257,), (0,)])
def test_means_of_nothing_are_nan(shape: tuple[int, ...]) -> None:
    """In a program that knows it, and in one that does not."""
    def mean(x: Any, where: Any) -> Any:
        return anp.mean(x, where=where)

    # First where nothing is on the device yet, and the sum of zeros is known when compiling.
    for f in (mean, anneal.jit(mean)):
        assert np.isnan(np.asarray(anneal.jit(
            lambda f=f: f(anp.ones(shape), anp.zeros(shape, bool)))()))  # fmt: skip
        assert np.isnan(np.asarray(f(anp.ones(shape), anp.zeros(shape, bool))))
        assert np.isnan(np.asarray(f(np.ones(shape, np.float32), np.zeros(shape, bool))))
    if shape == (2, 3):
        rows = anp.mean(anp.ones(shape), 1, where=anp.asarray([[True], [False]]))
        np.testing.assert_array_equal(np.asarray(rows), [1, np.nan])


@pytest.mark.parametrize("offset", [0.0, 1e3, -1e5, 1e6])
@pytest.mark.parametrize("n", [2, 3, 97, 4096, 20011])
def test_a_variance_does_not_depend_on_the_mean(offset: float, n: int) -> None:
    x = (np.random.default_rng(n).normal(size=n) + offset).astype(np.float32)
    want = x.astype(np.float64).var()
    for f in (anp.var, anneal.jit(anp.var), lambda v: anp.std(v) ** 2,
              lambda v: anp.var(v.reshape(1, n), 1)[0]):  # fmt: skip
        assert abs(np.asarray(f(anp.asarray(x))) / want - 1) < 0.05
    normed = np.asarray(nn.layer_norm(x)).astype(np.float64)
    assert abs(normed.var() - 1) < 0.05


def test_derivatives_of_variances() -> None:
    x = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    slope = anneal.grad(lambda v: anp.var(v, 1).sum())(anp.asarray(x))
    want = 2 * (x - x.mean(1, keepdims=True)) / 5
    np.testing.assert_allclose(np.asarray(slope), want, 1e-5, 1e-7)
    for at in (x[0], np.ones(5, np.float32), np.full(5, 0.1, np.float32)):
        row = anneal.grad(lambda v: anneal.grad(anp.var)(v)[1])(anp.asarray(at))
        np.testing.assert_allclose(np.asarray(row), 2 * (np.eye(5)[1] - 0.2) / 5, 1e-5)
    assert (np.asarray(anp.var(np.full(1000, 0.1, np.float32))) >= 0).all()


def test_a_mean_of_nothing_is_nan_in_a_process_that_has_computed_nothing() -> None:
    """Where neither the zeros nor their number are on the device, a driver may fold 0 * inf."""
    from anneal import device

    code = f"""
import anneal, anneal.numpy as anp
with anneal.default_device({device.current().name!r}):
    print(anp.mean(anp.ones((2, 3)), where=anp.zeros((2, 3), bool)).item())
    print(anneal.jit(lambda x: (x * 0 + 0.0) / 0)(1.0).item())
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.split() == ["nan", "nan"], found.stderr
