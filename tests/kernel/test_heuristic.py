"""What WebGPU's heuristic makes of kernels means the same, on their interpreter, which finds races
and indices outside of memory; and it is what its reasons say."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from anneal.interpret import evaluate, numpy_dtype
from anneal.kernel.heuristic import for_cpu, for_webgpu, webgpu
from anneal.kernel.interpret import interpret
from anneal.kernel.ir import Kernel, argument, axis, end, load, reduce, store
from anneal.kernel.spec import check_limits, verify
from anneal.kernel.target import CPU, SOFTWARE, WEBGPU, Target
from anneal.lowering import code
from anneal.lowering.limits import Limits
from anneal.lowering.plan import lower
from anneal.memo import Memo
from anneal.uop import dtypes
from anneal.uop.uop import Graph
from tests.kernel.kernels import EXACT
from tests.kernel.schedules import random_case
from tests.lowering.test_nests import graph_of
from tests.programs import Program, small

F = dtypes.float32
# Devices so small that little data are many workgroups.
TARGETS = [replace(SOFTWARE, lanes=2, busy=1), replace(WEBGPU, lanes=4, busy=2),
           replace(SOFTWARE, lanes=8, busy=4, max_grid=60, grid_axes=3)]  # fmt: skip


@pytest.fixture(params=range(len(TARGETS)), ids=["two lanes", "four lanes", "short axes"])
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A small device, whose heuristic tiles, shares and chunks all that it can."""
    monkeypatch.setattr(webgpu, "_LEAST_LOADS", 0)
    monkeypatch.setattr(webgpu, "_LEAST_EACH", 1)
    monkeypatch.setattr(webgpu, "_OUTSIDE", 3)
    monkeypatch.setattr(webgpu, "_LOADS_A_REGISTER", 1)
    monkeypatch.setattr(webgpu, "_CHUNK", 1 << 14)
    monkeypatch.setattr(webgpu, "_UNROLLED", 2)
    return TARGETS[request.param]


@pytest.mark.parametrize("seed", range(8))
def test_kernels_mean_the_same(target: Target, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(15):
        name, case = random_case(rng)
        choices = for_webgpu(case.kernel, target)
        verify(choices.kernel)
        if "as a position" not in (check_limits(case.kernel, target) or ""):  # of data unknown
            assert check_limits(choices.kernel, target) is None
        got = interpret(choices.kernel, case.memory)
        for position, expected in case.expected.items():
            said = f"{name}: {' '.join(map(str, choices.kernel.opts))}"
            if name.partition("(")[0] in EXACT:
                np.testing.assert_array_equal(got[position], expected, err_msg=said)
            else:
                np.testing.assert_allclose(got[position], expected, 2e-6, err_msg=said)


def run(graph: Graph, data: list[np.ndarray[Any, Any]], target: Target,
        monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray[Any, Any]]:  # fmt: skip
    """The plan's kernels in shape, one after another, on their interpreter."""
    nests: list[Kernel] = []

    def noted(steps: list[list[Kernel]], target: Target) -> list[code._Text]:
        out = []
        for nest in (nest for step in steps for nest in step):
            binds = tuple([int(p.arg) for p in nest.params])
            out.append(code._Text((nest,), str(len(nests)), binds, (1, 1, 1)))
            nests.append(nest)
        return out

    monkeypatch.setattr(code, "_written", Memo(1000))
    monkeypatch.setattr(code, "_for_webgpu", noted)
    plan = lower(graph, Limits(32, target=target), frozenset())
    memory = [data[s.position].ravel().copy() if s.kind == "input" else
              np.full(s.size, 7, numpy_dtype(s.dtype)) for s in plan.slots]  # fmt: skip
    for launch in plan.launches:
        nest = nests[int(launch.kernel.source)]
        held = {p.arg: memory[i].view(numpy_dtype(p.dtype))
                for i, p in zip(launch.args, nest.params, strict=True)}  # fmt: skip
        for position, value in interpret(nest, held).items():
            held[position][: value.size] = value
    return [memory[i].view(numpy_dtype(u.dtype))
            for i, u in zip(plan.outputs, graph.outputs, strict=True)]  # fmt: skip


@pytest.mark.parametrize("p", small(), ids=lambda p: p.name)
def test_programs(target: Target, p: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, data = graph_of(p.function, p.args)
    expected = evaluate(graph.outputs, dict(zip(graph.inputs, data, strict=True)))
    for got, want in zip(run(graph, data, target, monkeypatch), expected, strict=True):
        scale = max(1.0, float(np.abs(want[np.isfinite(want)]).max(initial=0)))
        np.testing.assert_allclose(got[: want.size], want.ravel(), 2e-3, 2e-4 * scale)


# -- what it chooses -------------------------------------------------------------------------------


def rows(n: int, m: int) -> Kernel:
    x, y = argument(1, F, n * m), argument(0, F, n)
    i, k = axis(n, "i"), axis(m, "k")
    return Kernel(end(store(y, i, reduce("max", load(x, i * m + k), k)), i))


def opts(kernel: Kernel, target: Target) -> str:
    return " ".join(map(str, for_webgpu(kernel, target).kernel.opts))


def test_each_choice_has_a_reason() -> None:
    for choices in (for_webgpu(rows(4096, 1024), SOFTWARE), for_cpu(rows(4096, 1024), CPU)):
        assert [o for o, _ in choices.reasons] == list(choices.kernel.opts)
        assert all(why for _, why in choices.reasons)


def test_a_row_is_shared_where_it_is_long() -> None:
    assert "LOCAL(k%256/4)" in opts(rows(100, 1024), WEBGPU)
    assert "LOCAL(i%64)" in opts(rows(100_000, 100), WEBGPU)
    assert "LOCAL(k%32/4)" in opts(rows(100, 1024), SOFTWARE)


def test_axes_longer_than_a_grids_are_split() -> None:
    made = for_webgpu(rows(3_000_000, 600), WEBGPU).kernel
    assert "GRID(i%32768)" in " ".join(map(str, made.opts))
    assert check_limits(made, WEBGPU) is None


def test_one_count_of_everything() -> None:
    for n, m in ((1, 1), (1, 5000), (5000, 1)):
        for target in (SOFTWARE, WEBGPU):
            made = for_webgpu(rows(n, m), target).kernel
            data = np.random.default_rng(0).standard_normal(n * m).astype(np.float32)
            got = interpret(made, {0: np.zeros(n, np.float32), 1: data})[0]
            np.testing.assert_array_equal(got, data.reshape(n, m).max(1))
