"""Initialisers against jax.nn.initializers' (data/record_jax_random.py)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from anneal import nn, random
from anneal.nn import initializers

JAX = np.load(Path(__file__).parents[1] / "data" / "jax_random.npz")
KEY = random.key(42)
NAMES = [n.split("/")[1] for n in JAX.files if n.startswith("init/") and "conv" not in n]


@pytest.mark.parametrize("name", NAMES)
def test_numbers_are_those_of_jax(name: str) -> None:
    x = getattr(initializers, name)()(KEY, (6, 5))
    np.testing.assert_allclose(np.asarray(x), JAX[f"init/{name}"], 3e-6, 3e-7)
    if f"init/{name}/conv" in JAX.files:
        w = getattr(initializers, name)(in_axis=1, out_axis=0)(KEY, (4, 3, 2, 2))
        np.testing.assert_allclose(np.asarray(w), JAX[f"init/{name}/conv"], 3e-6, 3e-7)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_dtypes(dtype: str) -> None:
    assert initializers.he_normal()(KEY, (3, 4), dtype).dtype.name == dtype
    assert initializers.constant(2)(KEY, (3,), dtype).dtype.name == dtype


def test_layers() -> None:
    dense = nn.dense_init(KEY, 200, 100)
    assert dense["w"].shape == (200, 100) and dense["b"].tolist() == [0] * 100
    assert abs(np.asarray(dense["w"]).std() - math.sqrt(2 / 200)) < 2e-3
    conv = nn.conv_init(KEY, 8, 16, 3)
    assert conv["w"].shape == (16, 8, 3, 3)
    assert abs(np.asarray(conv["w"]).std() - math.sqrt(2 / 72)) < 1e-2
    norm = nn.layer_norm_init(3)
    assert np.asarray(nn.layer_norm([1.0, 2.0, 3.0], **norm)).shape == (3,)


def test_refusals() -> None:
    with pytest.raises(ValueError, match="mode must be 'fan_in', 'fan_out' or 'fan_avg', got 'x'"):
        initializers.variance_scaling(1.0, "x", "normal")
    with pytest.raises(ValueError, match="distribution must be"):
        initializers.variance_scaling(1.0, "fan_in", "cauchy")
    with pytest.raises(ValueError, match=r"shape \(3,\) has no axis -2"):
        initializers.he_normal()(KEY, (3,))
