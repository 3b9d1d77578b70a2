"""Loops of one invocation: never so many that a driver ends them, never a large reduction of a
large one, and no accumulator that a long sum makes inexact."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import device, nn, tree
from anneal.kernel.heuristic import Choices, for_cpu, for_webgpu
from anneal.kernel.ir import ZERO, Kernel, argument, axis, count_of, reduce, store
from anneal.kernel.linearize import linearize
from anneal.kernel.linearize import trips as kernel_trips
from anneal.kernel.target import CPU, SOFTWARE, WEBGPU, Target
from anneal.lowering import code
from anneal.lowering.limits import Limits, trips
from anneal.lowering.plan import lower
from anneal.memo import Memo
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType

_rng = np.random.default_rng(0)


def _data(*shape: int) -> Any:
    return _rng.standard_normal(shape).astype(np.float32)


def _labels(rows: int, classes: int) -> Any:
    return _rng.integers(0, classes, rows).astype(np.int32)


def _logsumexp(x: Any) -> Any:
    m = x.max(-1, keepdims=True)
    return (m + anp.log(anp.sum(anp.exp(x - m), -1, keepdims=True))).mean()


Case = tuple[Callable[..., Any], tuple[Any, ...]]
PROGRAMS: dict[str, Case] = {
    "a sum of maxima": (lambda x: x.max(1).sum(), (_data(256, 256),)),
    "one iteration too many": (lambda x: x.max(1).sum(), (_data(257, 255),)),
    "primes": (lambda x: x.min(1).sum(), (_data(251, 263),)),
    "of three axes": (lambda x: x.max(2).sum(1).max(0), (_data(41, 43, 47),)),
    "rows of it": (lambda x: x.max(2).sum(1), (_data(3, 300, 301),)),
    "many rows of it": (lambda x: x.max(2).sum(1), (_data(300, 260, 255),)),
    "short ones in a long one": (lambda x: x.max(1).sum(), (_data(59_999, 2),)),
    "a long one in short ones": (lambda x: x.max(1).sum(), (_data(2, 59_999),)),
    "pairs at the end": (lambda x: x.sum((1, 2)), (_data(300, 30_011, 2),)),
    "cross-entropy": (lambda x, y: nn.cross_entropy(x, y).mean(),
                      (_data(128, 1000), _labels(128, 1000))),
    "its gradient": (anneal.grad(lambda x, y: nn.cross_entropy(x, y).mean()),
                     (_data(128, 1000), _labels(128, 1000))),
    "squares of a product": (lambda a, b: ((a @ b) ** 2).mean(), (_data(60, 60), _data(60, 60))),
    "logsumexp": (_logsumexp, (_data(300, 777),)),
    "variances": (lambda x: x.var(1).mean(), (_data(500, 503),)),
    "several beside each other": (lambda x: x.max(1) - x.min(1) * (x * x).sum(1),
                                  (_data(260, 40_009),)),
    "counted": (lambda x: (x > 0).sum(1).max(), (_data(300, 301),)),
    "a maximum of a looked-up sum": (lambda x, i: anp.take(x.sum(1), i).max(),
                                     (_data(999, 301), _labels(700, 999))),
    "updates of sums": (lambda x, i: anp.zeros(77).at[i].max(x.max(1)),
                        (_data(901, 201), _labels(901, 77))),
}  # fmt: skip


def _results(name: str, device: str, eager: bool = False) -> list[Any]:
    f, args = PROGRAMS[name]
    with anneal.default_device(device):
        done = f(*map(anp.asarray, args)) if eager else anneal.jit(f)(*args)
        return [np.asarray(v) for v in tree.leaves(done)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_reductions_of_reductions(name: str) -> None:
    want = _results(name, "interpreter")
    for got in _results(name, "webgpu"), _results(name, "webgpu", eager=True):
        for a, b in zip(got, want, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-4 * np.abs(b).max())


@pytest.mark.parametrize("limits", [Limits(4), Limits(32), Limits(32, target=WEBGPU),
                                    Limits(fuse=False)])  # fmt: skip
@pytest.mark.parametrize("name", PROGRAMS)
def test_loops_end_before_a_driver_ends_them(
    name: str, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[int] = []

    def count(nest: Kernel, target: Target) -> None:
        counted.append(kernel_trips(linearize(nest)))

    monkeypatch.setattr(code, "_problem", count)
    monkeypatch.setattr(code, "_written", Memo(1000))
    f, args = PROGRAMS[name]
    with anneal.default_device("webgpu"):
        graph = anneal.jit(f).lower(*args).graph
    assert lower(graph, limits, frozenset()).launches
    assert max(counted, default=0) <= (SOFTWARE.max_loop or 0)


@pytest.mark.parametrize("loss", [
    lambda x, y: nn.cross_entropy(x, y).mean(), lambda x, y: x.max(1).sum(),
    lambda x, y: anp.exp(x).sum(1).max() + y[0],
])  # fmt: skip
def test_no_workgroup_of_a_gpu_reduces_all_rows(loss: Callable[..., Any]) -> None:
    x, y = np.zeros((4096, 32000), np.float32), np.zeros(4096, np.int32)
    with anneal.default_device("webgpu"):
        graph = anneal.jit(loss).lower(x, y).graph
    for launch in lower(graph, Limits(32, target=WEBGPU), frozenset()).launches:
        k = launch.kernel
        assert k.flops / math.prod(k.grid) < 1e6, k.name


def test_small_reductions_of_reductions_are_one_kernel() -> None:
    with anneal.default_device("webgpu"):
        assert len(anneal.jit(lambda x: x.max(1).sum()).lower(_data(20, 30)).kernels) == 1


def test_what_would_loop_too_often_is_refused() -> None:
    with anneal.default_device("webgpu"):
        graph = anneal.jit(lambda x: x.max()).lower(_data(5000)).graph
    limits = Limits(target=replace(SOFTWARE, max_loop=99))
    with pytest.raises(anneal.errors.LoweringError, match=r"test_loops.py:\d+ .* 157 iterations"):
        lower(graph, limits, frozenset())


def test_loops_that_stand_beside_each_other_are_counted_as_they_run() -> None:
    """Rows looked up by sorted rows of sorted rows: eight loops over the same few ranges."""

    def f(x: Any) -> Any:
        rows = x[anp.argsort(x, 0)]
        return x[anp.argsort(rows, 0)], rows

    x = _data(4, 3)
    with anneal.default_device("interpreter"):
        want = anneal.jit(f)(x)
    with anneal.default_device("webgpu"):
        for got, expected in zip(anneal.jit(f)(x), want, strict=True):
            np.testing.assert_array_equal(np.asarray(got), np.asarray(expected))


def test_iterations_of_all_loops_count() -> None:
    assert trips([]) == 0
    assert trips([5]) == 5
    assert trips([3, 4, 5]) == 3 + 12 + 60


# -- sums ------------------------------------------------------------------------------------------


SUMS: dict[str, tuple[Callable[[Any], Any], tuple[int, ...]]] = {
    "a row": (lambda x: x.sum(1), (300, 50_000)),
    "rows just above the limit of one part": (lambda x: x.sum(1), (300, 513)),
    "a prime length": (lambda x: x.sum(1), (260, 40_009)),
    "columns": (lambda x: x.sum(0), (50_000, 300)),
    "two axes": (lambda x: x.sum((1, 3)), (17, 300, 19, 91)),
    "three axes, the last longer than a part": (lambda x: x.sum((0, 1, 2)), (7, 9, 601)),
    "a total": (lambda x: x.sum(), (50_000,)),
    "a total of a prime length": (lambda x: x.sum(), (1_000_003,)),
    "beside a maximum": (lambda x: x.sum(1) / x.max(1), (300, 30_000)),
    "a product": (lambda x: x @ x[:3].T, (300, 30_000)),
}


@pytest.mark.parametrize("target", [SOFTWARE, WEBGPU], ids=["software", "gpu"])
@pytest.mark.parametrize("name", SUMS)
def test_long_sums_are_exact(name: str, target: Target) -> None:
    """0.1 again and again: one accumulator of float32 is off by 5e-4 after 50,000."""
    f, shape = SUMS[name]
    x = np.full(shape, 0.1, np.float32)
    want = f(x.astype(np.float64))
    webgpu = device.get("webgpu")
    with anneal.default_device("webgpu"):
        graph = anneal.jit(f).lower(x).graph
    run = webgpu.compile(graph, frozenset(), Limits(32, target=target))
    (out,) = run([webgpu.upload(x)])
    np.testing.assert_allclose(webgpu.read(out).reshape(np.shape(want)), want, rtol=1e-5)


@pytest.mark.parametrize("shape", [for_cpu, for_webgpu])
@pytest.mark.parametrize("dtype", [dtypes.float32, dtypes.float16])
def test_no_accumulator_takes_more_than_some_hundreds(
    dtype: DType, shape: Callable[[Kernel, Target], Choices]
) -> None:
    for sizes in ([513], [59_999], [2, 29_000], [29_000, 2], [240, 241], [39, 38, 37], [3] * 9,
                  [257, 2, 100], [1000, 3, 17], [2, 257, 3],
                  [5000, 300], [3000, 3, 300]):  # fmt: skip
        ranges = tuple(axis(n, f"r{i}") for i, n in enumerate(sizes))
        value = sum(ranges[1:], ranges[0]).cast(dtype)
        store_ = store(argument(0, dtype, 1), ZERO, reduce("add", value, *ranges))
        kernel = shape(Kernel(store_), CPU if shape is for_cpu else SOFTWARE).kernel
        sums = [u for u in kernel.nodes if u.op is ops.REDUCE]
        lengths = [math.prod(count_of(r) or 0 for r in u.src[1:]) for u in sums]
        assert max(lengths) <= 512
        assert math.prod(lengths) >= math.prod(sizes)


def test_several_long_sums_over_shared_ranges_are_cut_once() -> None:
    """Each cut is of the sum that is too long, and makes it shorter, or is left."""
    z, v = np.ones((48, 64), np.float32), np.ones((1, 64), np.float32)

    def f(z: Any, v: Any) -> Any:
        b = anp.broadcast_to((anp.roll(z, 5, 1) - 0.5 * z)[None], (3, 48, 64)) ** 2
        parts = (b @ (v.T * 2.0)) * 0.125, b
        return sum((q * anp.cos(anp.arange(q.size).reshape(q.shape).astype("float32"))).sum()
                   for q in parts)  # fmt: skip

    for target in (CPU, SOFTWARE):
        graph = anneal.jit(anneal.value_and_grad(f, argnums=(0, 1))).lower(z, v).graph
        kernels = [x.kernel for x in lower(graph, Limits(32, target=target), frozenset()).launches]
        assert max(len(n.text.splitlines()[0]) for k in kernels for n in k.nests) < 2000  # Opts
    with anneal.default_device("cpu"):
        got = anneal.jit(anneal.value_and_grad(f, argnums=(0, 1)))(z, v)
    with anneal.default_device("interpreter"):
        want = anneal.value_and_grad(f, argnums=(0, 1))(z, v)
    for g, w in zip(tree.leaves(got), tree.leaves(want), strict=True):
        np.testing.assert_allclose(np.asarray(g), np.asarray(w), 1e-4, 1e-3)
