"""Long reductions and scatters in parts: right however long, and work for all of the device."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import nn
from anneal.lowering.limits import MOST_ITERATIONS

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
        assert len(lowered.kernels) == 2  # zeros, in parallel, and the additions to them
        assert lowered.cost_analysis()["flops"] <= 4 * tokens * width
        assert lowered.memory_analysis()["temp_size_in_bytes"] == 0


def _full(shape: tuple[int, ...], where: Any, what: Any, start: Any = 0.0) -> Any:
    want = np.zeros(shape, np.float32) + np.asarray(start, np.float32)
    np.add.at(want, where, what)
    return want


def _dirty(device: Any) -> None:
    """Memory of the pool is not zero: what nobody writes would show."""
    with anneal.default_device(device):
        np.asarray(anneal.jit(lambda x: x * 0 + 7)(np.zeros((500, 300), "f")))


def test_scatters_into_what_is_longer_than_a_loop_may_be() -> None:
    x = _rng.standard_normal((500, 300)).astype(np.float32)
    i, j = (_rng.integers(0, n, 200).astype(np.int32) for n in x.shape)
    _dirty("webgpu")
    with anneal.default_device("webgpu"):
        got = anneal.jit(anneal.grad(lambda x: (x[i, j] ** 2).sum()))(x)
        np.testing.assert_allclose(np.asarray(got), _full(x.shape, (i, j), 2 * x[i, j]), rtol=1e-5)


@pytest.mark.parametrize("rows", [100, 5000])
def test_a_scatter_to_one_place(rows: int) -> None:
    """The element is read anew for every index, although its place never changes."""
    x = _rng.standard_normal((rows, 8)).astype(np.float32)
    g = _rng.standard_normal((200, 8)).astype(np.float32)
    with anneal.default_device("webgpu"):
        got = anneal.jit(anneal.grad(lambda x: (x[anp.full((200,), 3)] ** 2 * g).sum()))(x)
    want = _full(x.shape, (np.full(200, 3),), 2 * g * x[3])
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("donate", [(), (0,)])
@pytest.mark.parametrize("tokens", [300, 2 * MOST_ITERATIONS + 5])
def test_updates_at_indices(tokens: int, donate: tuple[int, ...]) -> None:
    x = _rng.standard_normal((9000, 4)).astype(np.float32)
    i = _rng.integers(-9100, 9100, tokens).astype(np.int32)
    g = _rng.standard_normal((tokens, 4)).astype(np.float32)
    step = anneal.jit(lambda x, i, g: (x.at[i].add(g), g[0] * 2), donate_argnums=donate)
    inside = (i >= -9000) & (i < 9000)
    want = _full(x.shape, (i[inside] % 9000,), g[inside], x)
    with anneal.default_device("webgpu"):
        given = anp.asarray(x) + 0.0
        got, first = step(given, anp.asarray(i), anp.asarray(g))
        lowered = step.lower(x, i, g)
    np.testing.assert_allclose(np.asarray(got), want, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(np.asarray(first), g[0] * 2)
    assert lowered.cost_analysis()["flops"] < 10 * tokens * 4
    written = [k.name for k in lowered.kernels if any(p.size == x.size for p in k.outputs)]
    parts = -(-tokens // MOST_ITERATIONS)
    assert len(written) == parts + (not donate)  # without a copy where x is given away


def test_two_scatters_of_one_shape_have_memory_of_their_own() -> None:
    x = _rng.standard_normal((6000, 3)).astype(np.float32)
    i, j = (_rng.integers(0, 6000, 50).astype(np.int32) for _ in range(2))
    _dirty("webgpu")
    with anneal.default_device("webgpu"):
        a, b = anneal.jit(
            lambda x, i, j: (anp.zeros(x.shape).at[i].add(x[i]), anp.zeros(x.shape).at[j].add(x[j]))
        )(x, i, j)
        tied = anneal.jit(anneal.grad(lambda x, i, j: (x[i] * x[j]).sum() + (x * x).sum()))(x, i, j)
    np.testing.assert_allclose(np.asarray(a), _full(x.shape, (i,), x[i]), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(b), _full(x.shape, (j,), x[j]), rtol=1e-5)
    want = _full(x.shape, (i,), x[j], 2 * x)
    np.add.at(want, (j,), x[i])
    np.testing.assert_allclose(np.asarray(tied), want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("rows", "count"), [(300, 500), (9000, 70), (20, MOST_ITERATIONS + 9)])
def test_of_updates_that_name_one_element_the_last_is_set(rows: int, count: int) -> None:
    x = _rng.standard_normal((rows, 3)).astype(np.float32)
    i = _rng.integers(-rows - 5, rows + 5, count).astype(np.int32)
    v = _rng.standard_normal((count, 3)).astype(np.float32)
    f = anneal.jit(lambda x, i, v: x.at[i].set(v))
    g = anneal.jit(anneal.grad(lambda v, x, i: (x.at[i].set(v) ** 2).sum()))
    want = x.copy()
    last = np.full(rows, -1)
    for j, place in enumerate(i):
        if -rows <= place < rows:
            want[place], last[place] = v[j], j
    slopes = np.zeros_like(v)
    slopes[last[last >= 0]] = 2 * v[last[last >= 0]]
    with anneal.default_device("webgpu"):
        np.testing.assert_array_equal(np.asarray(f(x, i, v)), want)
        np.testing.assert_allclose(np.asarray(g(v, x, i)), slopes, rtol=1e-6)
        assert f.lower(x, i, v).cost_analysis()["flops"] < 10 * (rows + count)


@pytest.mark.parametrize("length", [50_000, 50_021])  # the latter a prime: parts are padded
def test_a_long_product_of_few_results_is_for_many_invocations(length: int) -> None:
    x, y = (_rng.standard_normal((length, n)).astype(np.float32) for n in (24, 20))
    f = anneal.jit(lambda x, y: x.T @ y)
    with anneal.default_device("webgpu"):
        first, second = f.lower(x, y).plan.launches
        assert first.reasons == ("parts of a long product",)
        np.testing.assert_allclose(np.asarray(f(x, y)), x.T @ y, rtol=1e-3, atol=0.05)
