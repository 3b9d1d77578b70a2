"""Gradients of functions against jax.numpy's (data/record_jax_gradients.py)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import lax, nn
from tests.records import DATA, script

JAX = np.load(DATA / "jax_gradients.npz")
RECORD = script("record_jax_gradients")


@pytest.mark.parametrize("name", RECORD.CASES)
def test_gradients_are_those_of_jax(name: str) -> None:
    got = RECORD.gradient(anp, anneal.grad, name)
    want = JAX[name].copy()
    if name == "abs":
        want[0, 3] = 0  # at 0, JAX's is that of one side
    np.testing.assert_allclose(got, want, 2e-5, 2e-6)


def _bell(x: Any) -> Any:
    return 2 / math.sqrt(math.pi) * np.exp(-x * x)


def _share(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


# The function, its first and its second derivative, where exp and squares overflow and vanish.
AT_THE_EDGES: dict[str, tuple[Any, Any, Any]] = {
    "expm1": (anp.expm1, np.exp, np.exp),
    "sinh": (anp.sinh, np.cosh, np.sinh),
    "cosh": (anp.cosh, np.sinh, np.cosh),
    "tanh": (anp.tanh, lambda x: 1 - np.tanh(x) ** 2,
             lambda x: -2 * np.tanh(x) * (1 - np.tanh(x) ** 2)),
    "erf": (lax.erf, _bell, lambda x: np.where(np.isinf(x), 0, -2 * x * _bell(x))),
    "tan": (anp.tan, lambda x: 1 + np.tan(x) ** 2, lambda x: 2 * np.tan(x) * (1 + np.tan(x) ** 2)),
    "log1p": (anp.log1p, lambda x: 1 / (1 + x), lambda x: -1 / (1 + x) ** 2),
    "softplus": (nn.softplus, _share, lambda x: _share(x) * _share(-x)),
    "sigmoid": (nn.sigmoid, lambda x: _share(x) * _share(-x),
                lambda x: _share(x) * _share(-x) * (1 - 2 * _share(x))),
    "elu": (nn.elu, lambda x: np.where(x > 0, 1, np.exp(x)),
            lambda x: np.where(x > 0, 0, np.exp(x))),
}  # fmt: skip


@pytest.mark.parametrize("name", AT_THE_EDGES)
def test_derivatives_at_the_edges(name: str) -> None:
    f, *derivatives = AT_THE_EDGES[name]
    x = np.array([0.0, -0.0, 1e-45, -1e-30, 1.0, -1.0, 9.5, -9.5, 88.0, -88.0, 89.2, -89.2, 1e4,
                  -1e4, 1e20, -1e20, 3e38, -3e38, math.inf, -math.inf], np.float32)  # fmt: skip
    if name in ("log1p", "tan"):
        x = np.abs(x[np.isfinite(x)])

    def first(v: Any) -> Any:
        return anneal.grad(lambda u: f(u).sum())(v)

    def second(v: Any) -> Any:
        return anneal.grad(lambda u: first(u).sum())(v)

    for got, exact in zip((first, second), derivatives, strict=True):
        with np.errstate(all="ignore"):
            want = exact(x.astype(np.float64))
            whole = np.isfinite(want.astype(np.float32))
        np.testing.assert_allclose(np.asarray(got(x))[whole], want[whole], 1e-5, 1e-6)
