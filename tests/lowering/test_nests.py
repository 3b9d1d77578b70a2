"""Today's schedule as kernels: programs, with donation, on the kernels' interpreter and the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import tree
from anneal.interpret import evaluate
from anneal.kernel.heuristic import Choices
from anneal.kernel.target import CPU
from anneal.transforms import trace
from anneal.uop.uop import Graph
from tests.kernel.run import plan_on_interpreter
from tests.programs import Program, small


def graph_of(function: Any, args: Any) -> tuple[Graph, list[np.ndarray[Any, Any]]]:
    """The graph of a call, and its inputs' data."""
    leaves, in_tree = tree.flatten((args, {}))
    arrays = [anp.asarray(x) for x in leaves]
    specs = [trace.spec_of(a) for a in arrays]
    graph = trace.trace(function, specs, in_tree, ["x"] * len(specs)).graph
    return graph, [np.asarray(a) for a in arrays]


def compare(function: Any, args: Any, donate: frozenset[int],
            monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    graph, data = graph_of(function, args)
    expected = evaluate(graph.outputs, dict(zip(graph.inputs, data, strict=True)))
    results = plan_on_interpreter(graph, data, donate, CPU, Choices, monkeypatch)
    for got, want in zip(results, expected, strict=True):
        scale = max(1.0, float(np.abs(want[np.isfinite(want)]).max(initial=0)))
        np.testing.assert_allclose(got[: want.size], want.ravel(), 2e-3, 2e-4 * scale)


def joins(x: Any) -> Any:
    """Two values of different sizes in one kernel: one is read where only a WHERE allows it."""
    twice = anp.concatenate([x, x])
    return anp.exp(anp.minimum(anp.concatenate([twice, twice]), 5)), anp.swapaxes(twice, 0, -1)


def ranks(x: Any) -> Any:
    """A sum over counts that no term reads, along the lanes of a vector of the result."""
    least = x.at[anp.argmax(-x, 0)].add(1)
    return least.at[:, anp.argsort(x, 0)].add(1)


@pytest.mark.parametrize(("function", "shape"), [
    (joins, (2,)), (joins, (1, 4)), (joins, (3, 33)), (ranks, (1, 4)), (ranks, (3, 33)),
], ids=lambda v: getattr(v, "__name__", None))  # fmt: skip
def test_jit_on_the_cpu_is_the_graph(
    function: Any, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).permutation(int(np.prod(shape))).reshape(shape)
    x = x.astype(np.float32)
    compare(function, (x,), frozenset(), monkeypatch)
    with anneal.default_device("cpu"):
        got = anneal.jit(function)(x)
    with anneal.default_device("interpreter"):
        want = anneal.jit(function)(x)
    for g, w in zip(tree.leaves(got), tree.leaves(want), strict=True):
        np.testing.assert_allclose(np.asarray(g), np.asarray(w), 1e-6)


LARGE = ("GPT, 2 layers", "the same, its blocks")  # in arrays for every loop, seconds each


@pytest.mark.parametrize("p", [p for p in small() if not p.name.startswith(LARGE)],
                         ids=lambda p: p.name)  # fmt: skip
def test_kernels_of_programs_compute_what_the_graph_does(
    p: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    compare(p.function, p.args, frozenset(), monkeypatch)


UPDATES = {
    "two results, one in place": lambda a, b: (a * 3, b - 1, a + b),
    "an update and what it was": lambda a, b: (a - b, a * 2 + b),
    "rows in place": lambda a, b: (a - a.sum(-1, keepdims=True), a.max(-1) + b.min()),
    "running sums": lambda a, b: (anp.cumsum(a, 1), anp.cumsum(b, 0)),
    "a scatter in place": lambda a, b: (a.at[:, (anp.arange(3) + 1) // 2].add(b[:, :3]), b.sum()),
}


@pytest.mark.parametrize("name", UPDATES)
@pytest.mark.parametrize("shape", [(3, 5), (2, 1000)])
def test_donated_arguments(name: str, shape: tuple[int, int],
                           monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    rng = np.random.default_rng(0)
    args = tuple(rng.integers(-4, 5, shape).astype(np.float32) for _ in range(2))
    for donate in ((), (0,), (1,), (0, 1)):
        compare(UPDATES[name], args, frozenset(donate), monkeypatch)
        with anneal.default_device("cpu"):
            given = [anp.asarray(a) * 1 for a in args]
            got = anneal.jit(UPDATES[name], donate_argnums=donate)(*given)
        with anneal.default_device("interpreter"):
            want = anneal.jit(UPDATES[name])(*args)
        for g, w in zip(got, want, strict=True):
            np.testing.assert_array_equal(np.asarray(g), np.asarray(w))
