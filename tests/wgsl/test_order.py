"""Compilers may rearrange sums and products; the texts of render.py must come out as written."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal.wgsl import render
from tests.wgsl_python import functions

RNG = np.random.default_rng(1)
ALL_BITS = RNG.integers(0, 2**32, 3000, np.uint32).view(np.float32)
WRITTEN = functions("\n".join(t for n, t in render._HELPERS.items()
                              if n in {"keep_", "logm_", "turn_", *render._OURS.values()}))

CASES: dict[str, tuple[str, np.ndarray[Any, Any]]] = {
    "exp": ("exp_", RNG.uniform(-90, 90, 3000)), "log": ("log_", np.abs(ALL_BITS)),
    "log near 1": ("log_", RNG.uniform(0.5, 2, 3000)),
    "log1p": ("log1p_", np.exp(RNG.uniform(-20, 80, 3000)) - 0.9),
    "tanh": ("tanh_", RNG.uniform(-9, 9, 3000)), "sin": ("sin_", ALL_BITS),
    "cos": ("cos_", ALL_BITS), "sin of small numbers": ("sin_", RNG.uniform(-9, 9, 3000)),
    "power": ("pow_", RNG.uniform(0, 10, 9000)), "remainder": ("fmod_", ALL_BITS),
}  # fmt: skip


def normal(x: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Subnormal results as 0, which devices may make of them."""
    return np.where(np.abs(x) < 1.2e-38, np.float32(0), x)


@pytest.mark.parametrize("name", CASES)
def test_texts_are_computed_in_the_order_that_is_written(name: str) -> None:
    text, values = CASES[name]
    x = values.astype(np.float32)
    y = RNG.uniform(-20, 20, x.size).astype(np.float32)
    x = np.where(normal(x) == 0, np.float32(1), x)
    two = text in ("pow_", "fmod_")
    with np.errstate(all="ignore"):
        want = np.array([WRITTEN[text](*v) for v in (zip(x, y, strict=True) if two else
                                                     zip(x, strict=True))])  # fmt: skip
    with anneal.default_device("webgpu"):
        got = np.asarray(getattr(anp, name.split()[0])(*((x, y) if two else (x,))))
    assert got.dtype == want.dtype == np.float32
    np.testing.assert_array_equal(normal(got), normal(want))
