"""Gradients of functions against jax.numpy's (data/record_jax_gradients.py)."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp

DATA = Path(__file__).parents[1] / "data"
JAX = np.load(DATA / "jax_gradients.npz")


def _record() -> Any:
    spec = importlib.util.spec_from_file_location("record", DATA / "record_jax_gradients.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RECORD = _record()


@pytest.mark.parametrize("name", RECORD.CASES)
def test_gradients_are_those_of_jax(name: str) -> None:
    got = RECORD.gradient(anp, anneal.grad, name)
    want = JAX[name].copy()
    if name == "abs":
        want[0, 3] = 0  # at 0, JAX's is that of one side
    np.testing.assert_allclose(got, want, 2e-5, 2e-6)
