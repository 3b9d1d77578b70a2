"""anneal.random against what jax.random gives (data/record_jax_random.py)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import random

JAX = np.load(Path(__file__).parent / "data" / "jax_random.npz")
KEY = random.key(42)


@pytest.fixture(autouse=True, params=["interpreter", "webgpu", "cpu"])
def _device(request: pytest.FixtureRequest) -> Any:
    lacking = [d for d in ("int8", "int16", "bfloat16") if d in request.node.name]
    if request.param == "webgpu" and lacking:
        pytest.skip(f"webgpu has no {lacking[0]}")
    with anneal.default_device(request.param):
        yield


def named(prefix: str) -> list[str]:
    return [n for n in JAX.files if n.startswith(prefix)]


def same(name: str, value: Any) -> None:
    want, got = JAX[name], np.asarray(value)
    assert got.dtype == want.dtype and got.shape == want.shape
    np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("name", named("key/"))
def test_keys(name: str) -> None:
    same(name, random.key(int(name.split("/")[1])))


def test_a_traced_seed() -> None:
    same("key/-1", anneal.jit(random.key)(-1))


def test_split() -> None:
    same("split/2", random.split(KEY))
    same("split/5", random.split(KEY, 5))
    same("split/2,3", random.split(KEY, (2, 3)))


@pytest.mark.parametrize("name", named("fold_in/"))
def test_fold_in(name: str) -> None:
    data = int(name.split("/")[1])
    same(name, random.fold_in(KEY, data))
    same(name, anneal.jit(random.fold_in)(KEY, anp.asarray(data, "uint32")))


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "uint32"])
def test_bits(dtype: str) -> None:
    same(f"bits/{dtype}", random.bits(KEY, (3, 7), dtype))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_uniform(dtype: str) -> None:
    u = random.uniform(KEY, (3, 50), dtype)
    assert u.dtype.name == dtype
    same(f"uniform/{dtype}", u.astype("float32"))


def test_uniform_between_bounds() -> None:
    """XLA multiplies and adds in one rounding, we in two."""
    u = random.uniform(KEY, (100,), minval=-2.0, maxval=3.0)
    np.testing.assert_allclose(np.asarray(u), JAX["uniform/-2,3"], 0, 3e-7)
    v = random.uniform(KEY, (100,), "float32", anp.asarray(-2.0), 3)
    np.testing.assert_array_equal(np.asarray(u), np.asarray(v))


@pytest.mark.parametrize("dtype, ulp", [("float32", 2e-6), ("float16", 1e-3), ("bfloat16", 1e-2)])
def test_normal(dtype: str, ulp: float) -> None:
    x = random.normal(KEY, (3, 50), dtype)
    assert x.dtype.name == dtype
    np.testing.assert_allclose(np.asarray(x.astype("float32")), JAX[f"normal/{dtype}"], ulp, ulp)


@pytest.mark.parametrize("name", named("truncated_normal/"))
def test_truncated_normal(name: str) -> None:
    lower, upper = map(float, name.split("/")[1].split(","))
    x = np.asarray(random.truncated_normal(KEY, lower, upper, (100,)))
    np.testing.assert_allclose(x, JAX[name], 2e-6, 2e-6)
    assert lower < x.min() and x.max() < upper


@pytest.mark.parametrize("name", named("randint/"))
def test_randint(name: str) -> None:
    lo, hi, dtype = name.split("/")[1].split(",")
    same(name, random.randint(KEY, (4, 9), int(lo), int(hi), dtype))


def test_bernoulli() -> None:
    same("bernoulli/0.3", random.bernoulli(KEY, 0.3, (60,)))
    assert random.bernoulli(KEY, anp.asarray([0.0, 1.0])).tolist() == [False, True]


def test_permutation() -> None:
    same("permutation/17", random.permutation(KEY, 17))
    same("permutation/2000", random.permutation(KEY, 2000))
    x = anp.arange(15).reshape(5, 3)
    same("permutation/rows", random.permutation(KEY, x))
    same("permutation/columns", random.permutation(KEY, x, axis=1))
    same("permutation/independent", random.permutation(KEY, x, axis=1, independent=True))


def test_other_distributions() -> None:
    for name in ("gumbel", "exponential"):
        got = np.asarray(getattr(random, name)(KEY, (60,)))
        np.testing.assert_allclose(got, JAX[name], 2e-6, 2e-6)


def test_categorical() -> None:
    logits = anp.sin(anp.arange(24.0)).reshape(4, 6) * 2
    same("categorical", random.categorical(KEY, logits))
    same("categorical/axis0", random.categorical(KEY, logits, axis=0))
    same("categorical/shape", random.categorical(KEY, logits, shape=(3, 4)))
    with pytest.raises(ValueError, match=r"categorical: shape \(3,\) must end in \(4,\)"):
        random.categorical(KEY, logits, shape=(3,))


def test_choice() -> None:
    same("choice/10", random.choice(KEY, 10, (12,)))
    same("choice/without", random.choice(KEY, 10, (6,), replace=False))
    with pytest.raises(ValueError, match="cannot draw 11 of 10"):
        random.choice(KEY, 10, (11,), replace=False)


def test_moments() -> None:
    x = np.asarray(random.normal(random.key(1), (20000,)))
    assert abs(x.mean()) < 0.02 and abs(x.std() - 1) < 0.02
    u = np.asarray(random.uniform(random.key(1), (20000,)))
    assert u.min() >= 0 and u.max() < 1 and abs(u.mean() - 0.5) < 0.01


@pytest.mark.parametrize("draw", [
    lambda k: random.uniform(k, (3,)), lambda k: random.split(k),
    lambda k: random.fold_in(k, 1), lambda k: random.bits(k, (3,)),
])  # fmt: skip
def test_what_is_no_key_is_refused(draw: Any) -> None:
    with pytest.raises(TypeError, match="expected a key"):
        draw(anp.zeros(2))


def test_dtypes_are_checked() -> None:
    with pytest.raises(TypeError, match="uniform: dtype must be a float"):
        random.uniform(KEY, (2,), "int32")
    with pytest.raises(TypeError, match="randint: dtype must be an integer"):
        random.randint(KEY, (2,), 0, 5, "float32")
    with pytest.raises(TypeError, match="key: seed must be an integer"):
        random.key(1.5)
