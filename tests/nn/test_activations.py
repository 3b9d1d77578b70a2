"""Activations and their gradients against jax.nn's (data/record_jax_nn.py)."""

from __future__ import annotations

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import nn, random
from tests.records import DATA, script

JAX = np.load(DATA / "jax_nn.npz")
RECORD = script("record_jax_nn")


@pytest.mark.parametrize("name", RECORD.NAMES)
def test_values_and_gradients_are_those_of_jax(name: str) -> None:
    f = getattr(nn, name)
    np.testing.assert_allclose(np.asarray(f(RECORD.X)), JAX[name], 1e-5, 1e-6)
    g = anneal.grad(lambda x: (f(x) ** 2).sum())(RECORD.X)
    np.testing.assert_allclose(np.asarray(g), JAX["grad/" + name], 2e-5, 2e-6)


def test_dropout() -> None:
    x = anp.ones((100, 100))
    y = np.asarray(nn.dropout(random.key(0), 0.25, x))
    assert set(np.unique(y)) == {0, np.float32(1 / 0.75)} and abs(y.mean() - 1) < 0.02
    assert (nn.dropout(random.key(0), 0.0, x) == x).all()
    with pytest.raises(ValueError, match="dropout: rate must be at least 0 and below 1, got 1"):
        nn.dropout(random.key(0), 1, x)


def test_glu_needs_two_halves() -> None:
    with pytest.raises(ValueError, match="glu: axis -1 must have an even length, got 3"):
        nn.glu(anp.ones(3))
