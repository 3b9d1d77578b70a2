"""Long reductions and scatters in parts: right however long, and work for all of the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import nn
from anneal.lowering.split import MOST_ITERATIONS

_rng = np.random.default_rng(0)

PROGRAMS = {
    "a sum of a million": (lambda x: x.sum(), (1 << 20,)),
    "a mean of a prime length": (lambda x: anp.mean(x * x), (7, 100_003)),
    "columns": (lambda x: x.max(0), (100_000, 3)),
    "axes before and after": (lambda x: x.sum((0, 2)), (64, 5, 4096)),
    "one sum, many readers": (lambda x: x / anp.sum(x * x), (300, 1000)),
    "a long row of a softmax": (nn.softmax, (3, 70_001)),
    "two rows of a softmax": (nn.softmax, (2, 30_000)),
    "a product": (lambda x: anp.prod(anp.sign(x)), (200_003,)),
    "a contraction": (lambda x: x @ x.T, (4, 131_071)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_long_reductions(name: str) -> None:
    f, shape = PROGRAMS[name]
    x = _rng.standard_normal(shape).astype(np.float32)
    with anneal.default_device("webgpu"):
        got = np.asarray(anneal.jit(f)(x))
    with anneal.default_device("interpreter"):
        want = np.asarray(anneal.jit(f)(x))
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5 * np.abs(want).max())


def test_a_total_has_parallel_parts() -> None:
    with anneal.default_device("webgpu"):
        kernels = anneal.jit(lambda x: x.sum()).lower(np.zeros(1 << 20, "f")).kernels
    assert len(kernels) == 2
    assert kernels[0].grid[0] * kernels[0].workgroup[0] >= 1024


def _lookup(table: Any, tokens: Any, weights: Any) -> Any:
    return (table[tokens] * weights).sum()


@pytest.mark.parametrize(("words", "tokens"), [(50, 64), (500, 3000), (7, 2 * MOST_ITERATIONS)])
def test_embedding_gradients(words: int, tokens: int) -> None:
    table = _rng.standard_normal((words, 5)).astype(np.float32)
    ids = _rng.integers(0, words, tokens).astype(np.int32)
    weights = _rng.standard_normal((tokens, 5)).astype(np.float32)
    with anneal.default_device("webgpu"):
        got = np.asarray(anneal.jit(anneal.grad(_lookup))(table, ids, weights))
    want = np.zeros_like(table)
    np.add.at(want, ids, weights)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=2e-3)


def test_an_embedding_gradients_work_is_in_proportion_to_the_indices() -> None:
    words, tokens, width = 5000, 2000, 16
    args = (np.zeros((words, width), "f"), np.zeros(tokens, "i"), np.zeros((tokens, width), "f"))
    with anneal.default_device("webgpu"):
        lowered = anneal.jit(anneal.grad(_lookup)).lower(*args)
        assert len(lowered.kernels) == 1
        assert lowered.cost_analysis()["flops"] <= 4 * tokens * width
