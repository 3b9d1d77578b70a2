"""What a kernel may bind and count: held for every limit, after the last decision."""

from __future__ import annotations

import functools
import operator
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import device, tree
from anneal.interpret import evaluate
from anneal.lowering.limits import Limits
from anneal.lowering.plan import lower
from anneal.uop import dtypes
from anneal.uop.uop import Graph, UOp, param, scatter
from tests import programs

_rng = np.random.default_rng(0)


def _product(x: Sequence[Any]) -> Any:
    return functools.reduce(operator.mul, x)


PROGRAMS: dict[str, Callable[..., Any]] = {
    "two that share a sum": lambda y, *x: (_product(x) - sum(x), sum(x) * y),
    "the sum first": lambda y, *x: (sum(x) * y, _product(x) - sum(x)),
    "several that share": lambda y, *x: (
        sum(x) * y, _product(x) - sum(x), sum(x[::2]) + _product(x[1:]) * y),
    "updates of all by all": lambda y, *x: tuple(sum(x) * v + y for v in x),
    "updates in a ring": lambda y, *x: tuple(
        v - 0.1 * (w.sum() * y) for v, w in zip(x, (*x[1:], x[0]), strict=True)),
    "stacks": lambda y, *x: (anp.stack(x).max(0) * y, anp.concatenate(x), sum(x)),
    "conditions": lambda y, *x: functools.reduce(lambda a, b: anp.where(a < y, b, a * y), x),
}  # fmt: skip


@pytest.mark.parametrize("limit", [4, 8, 10, 16, 32])
@pytest.mark.parametrize("name", PROGRAMS)
def test_kernels_bind_no_more_than_the_limit(name: str, limit: int) -> None:
    webgpu = device.get("webgpu")
    for count in (limit - 2, limit - 1, limit, limit + 1, 2 * limit + 1):
        data = [_rng.uniform(0.5, 1.2, 6).astype(np.float32) for _ in range(count + 1)]
        graph = anneal.jit(PROGRAMS[name]).lower(*data).graph
        want = evaluate(graph.outputs, dict(zip(graph.inputs, data, strict=True)))
        for donate in (), (0,), range(1, count + 1), range(count + 1):
            plan = lower(graph, Limits(limit), frozenset(donate))
            assert max(len(x.kernel.params) for x in plan.launches) <= limit
        if count > limit + 1:
            continue
        run = webgpu.compile(graph, frozenset(), Limits(limit))
        for got, expected in zip(run([webgpu.upload(x) for x in data]), want, strict=True):
            np.testing.assert_allclose(webgpu.read(got).reshape(expected.shape), expected, 1e-4)


def test_a_kernel_that_binds_too_much_is_refused() -> None:
    graph = anneal.jit(lambda a, b, c: anp.where(a > 0, b, c)).lower(*np.ones((3, 4), "f")).graph
    with pytest.raises(anneal.errors.LoweringError, match=r"test_bounds.py:\d+ binds 4 buffers"):
        lower(graph, Limits(3), frozenset())


# -- donation --------------------------------------------------------------------------------------


def _swapped(x: Any, y: Any) -> Any:
    """Each is overwritten by what reads the other."""
    return x + y.sum() * 2, y * x.sum()


@pytest.mark.parametrize("sizes", [(6, 6), (6, 7), (70_000, 300), (70_000, 70_001)])
def test_donated_arrays_that_read_each_other(sizes: tuple[int, int]) -> None:
    x, y = (_rng.uniform(0, 1, n).astype(np.float32) for n in sizes)
    with anneal.default_device("webgpu"):
        step = anneal.jit(_swapped, donate_argnums=(0, 1))
        got = step(anp.asarray(x) + 0.0, anp.asarray(y) + 0.0)
        want = x + y.sum() * 2, y * x.sum()
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(np.asarray(a), b, rtol=1e-4)


def _seconds_to_lower(count: int) -> tuple[float, int]:
    params = {f"p{i}": np.zeros((i % 37 + 2, i + 3), "f") for i in range(count)}

    def loss(params: Any, x: Any) -> Any:
        return sum((v * x).sum() for v in params.values())

    args = params, programs.adam_state(params), np.float32(1.5)
    with anneal.default_device("webgpu"):
        graph = anneal.jit(programs.adam_step(loss)).lower(*args).graph
    donate = frozenset(range(len(tree.leaves(args)) - 1))
    start = time.process_time()
    plan = lower(graph, Limits(32), donate)
    return time.process_time() - start, sum(s.alias is not None for s in plan.slots)


def test_a_donated_step_lowers_in_linear_time() -> None:
    _seconds_to_lower(20)
    half, _ = _seconds_to_lower(100)
    whole, in_place = _seconds_to_lower(300)
    assert in_place > 3 * 299  # the parameters and both of their moments
    assert whole < 3 * 1.8 * half


# -- indices ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("f", [
    lambda x: (x[:, None] * x[None, :]).reshape(-1)[7:].max(),
    lambda x: (x[:, None] + x[None, :]).reshape(-1)[::-1].min(),
])  # fmt: skip
def test_positions_beyond_32_bits_are_refused_with_their_line(f: Any) -> None:
    graph = anneal.jit(f).lower(np.ones(46_342, np.float32)).graph
    with pytest.raises(anneal.errors.LoweringError, match=r"test_bounds.py:\d+.* 32 bits"):
        lower(graph, Limits(32), frozenset())


def test_positions_up_to_32_bits_are_not_refused() -> None:
    graph = anneal.jit(lambda x: (x[:, None] * x[None, :]).reshape(-1).max()).lower(
        np.ones(46_340, np.float32)).graph  # fmt: skip
    assert lower(graph, Limits(32), frozenset()).launches


def test_more_elements_than_32_bits_count_are_reduced_in_parts() -> None:
    graph = anneal.jit(lambda x: (x[:, None] + x[None, :] + x[-1]).max()).lower(
        np.zeros(46_349, np.float32)).graph  # fmt: skip
    assert len(lower(graph, Limits(32), frozenset()).launches) >= 2


@pytest.mark.parametrize("how", ["gather", "scatter"])
def test_unsigned_indices_beyond_the_signed_ones_mean_the_last(how: str) -> None:
    webgpu = device.get("webgpu")
    x, i = param(dtypes.float32, (4,)), param(dtypes.uint32, (4,))
    out: UOp = x.gather(i, 0) if how == "gather" else scatter("add", i, x, 0, 4)
    data = [np.arange(1, 5, dtype=np.float32), np.array([1, 3, 2**31, 2**32 - 1], np.uint32)]
    run = webgpu.compile(Graph((x, i), (out,)), frozenset(), Limits())
    (got,) = run([webgpu.upload(v) for v in data])
    assert webgpu.read(got).tolist() == ([2, 4, 4, 4] if how == "gather" else [0, 1, 0, 9])
