"""Long programs and long runs: chains, many layers, many steps."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import nn, tree
from anneal.uop import dtypes
from anneal.uop.uop import param
from tests import programs


@pytest.mark.parametrize("device", ["interpreter", "webgpu", "cpu"])
def test_a_chain_of_fifty_thousand_operations(device: str) -> None:
    def chain(x: Any) -> Any:
        for i in range(50_000):
            x = x * 1.00001 if i % 2 else x + 0.00001
        return anp.sum(x)

    with anneal.default_device(device):
        value, slope = anneal.jit(anneal.value_and_grad(chain))(np.ones(2, np.float32))
        assert np.asarray(slope) == pytest.approx(1.00001**25_000, rel=1e-3)
        assert float(value) == pytest.approx(3.14, rel=0.01)


def deep(params: Any, x: Any) -> Any:
    for p in params:
        x = x + anp.tanh(nn.dense(p, x)) * 0.05
    return anp.mean(x * x)


def test_five_hundred_layers() -> None:
    rng = np.random.default_rng(0)
    params = [{"w": programs.normal(64, 64, scale=0.125), "b": np.zeros(64, np.float32)}
              for _ in range(500)]
    x = rng.standard_normal((32, 64)).astype(np.float32)
    step = anneal.jit(anneal.value_and_grad(deep))
    found = []
    for device in ("interpreter", "webgpu"):
        with anneal.default_device(device):
            found.append([np.asarray(v) for v in tree.leaves(step(params, x))])
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4 * np.abs(b).max())


def test_a_million_nodes() -> None:
    x = param(dtypes.float32, (2,))
    one = x.const_like(1.5)
    for _ in range(500_000):
        x = (x + one) * one
    assert x.shape == (2,)
    assert x.depth >= 1_000_000


def test_two_thousand_steps_leave_nothing_behind() -> None:
    with anneal.default_device("webgpu"):
        params = tree.map(anp.asarray, programs.mlp_params(8, 12, 5))
        state = tree.map(anp.asarray, programs.adam_state(programs.mlp_params(8, 12, 5)))
        step = anneal.jit(programs.adam_step(programs.mlp_loss), donate_argnums=(0, 1))
        batch = programs.normal(16, 8), programs.labels(5, 16)
        after: dict[int, dict[str, int]] = {}
        for i in range(1, 2001):
            params, state, _ = step(params, state, *batch)
            if i in (10, 2000):
                gc.collect()
                after[i] = anneal.stats()
    for counter in ("live_bytes", "uops", "traces", "schedules", "kernels_compiled", "buffers"):
        assert after[2000][counter] <= after[10][counter], counter
    assert after[2000]["submissions"] - after[10]["submissions"] == 1990
