"""Gradients of functions against jax.numpy's (data/record_jax_gradients.py)."""

from __future__ import annotations

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
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
