"""What WebGPU's heuristic makes of kernels means the same, on their interpreter, which finds races
and indices outside of memory; and it is what its reasons say."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import device
from anneal.interpret import evaluate
from anneal.kernel.heuristic import for_cpu, for_webgpu, webgpu
from anneal.kernel.interpret import interpret
from anneal.kernel.ir import Kernel, argument, axis, end, load, reduce, store
from anneal.kernel.spec import check_limits, verify
from anneal.kernel.target import CPU, SOFTWARE, WEBGPU, Target
from anneal.lowering.limits import Limits
from anneal.lowering.plan import lower
from anneal.uop import dtypes
from tests.kernel.kernels import layer
from tests.kernel.run import check, plan_on_interpreter
from tests.kernel.schedules import random_case
from tests.lowering.test_nests import graph_of
from tests.programs import Program, small

F = dtypes.float32
# Devices so small that little data are many workgroups.
TARGETS = [replace(SOFTWARE, lanes=2, busy=1, dispatch=1 << 14), replace(WEBGPU, lanes=4, busy=2),
           replace(SOFTWARE, busy=4, dispatch=1 << 14, max_grid=60)]  # fmt: skip


@pytest.fixture(params=range(len(TARGETS)), ids=["two lanes", "four lanes", "short axes"])
def target(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Target:
    """A small device, whose heuristic tiles, shares and chunks all that it can."""
    monkeypatch.setattr(webgpu, "_LEAST_LOADS", 0)
    monkeypatch.setattr(webgpu, "_LEAST_EACH", 1)
    monkeypatch.setattr(webgpu, "_OUTSIDE", 3)
    monkeypatch.setattr(webgpu, "_LOADS_A_REGISTER", 1)
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
        check(name, choices.kernel, got, case.expected)


@pytest.mark.parametrize("seed", range(4))
def test_every_opt_has_its_reason(target: Target, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(15):
        _, case = random_case(rng)
        for choices in (for_webgpu(case.kernel, target), for_cpu(case.kernel, CPU)):
            assert tuple(opt for opt, _ in choices.reasons) == choices.kernel.opts
            lines = choices.explained()
            assert " ".join(line for line, _ in lines) == " ".join(map(str, choices.kernel.opts))
            assert all(why for _, why in lines)
            assert choices.given is case.kernel


@pytest.mark.parametrize("p", small(), ids=lambda p: p.name)
def test_programs(target: Target, p: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, data = graph_of(p.function, p.args)
    expected = evaluate(graph.outputs, dict(zip(graph.inputs, data, strict=True)))
    results = plan_on_interpreter(graph, data, frozenset(), target, for_webgpu, monkeypatch)
    for got, want in zip(results, expected, strict=True):
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


@pytest.mark.parametrize("lengths", [(40, 100, 30), (37, 97, 1), (1, 130, 41), (64, 48, 520)])
def test_factors_that_are_computed_are_packed(lengths: tuple[int, int, int]) -> None:
    case = layer(np.random.default_rng(0), *lengths)
    made = for_cpu(case.kernel, CPU).kernel
    verify(made)
    check("layer", made, interpret(made, case.memory), case.expected)
    if lengths[0] >= 37 and lengths[2] > 1:
        staged = [o.args[0] for o in made.opts if o.name == "STAGE"]
        assert staged == [3, 2]  # the right factor's panel, and the rows of the left


def test_what_loops_over_a_row_compute_alike_is_kept() -> None:
    x = np.random.default_rng(0).standard_normal((37, 211)).astype(np.float32)
    with anneal.default_device("cpu"):
        (kernel,) = anneal.jit(anneal.nn.softmax).lower(x).kernels
        assert "KEEP(r1)" in kernel.nests[0].text
        assert kernel.nests[0].text.count("exp(") == 1
        (kernel,) = anneal.jit(lambda x: anneal.nn.softmax(x, axis=0)).lower(x).kernels
        assert "KEEP" not in kernel.nests[0].text  # not side by side
        (kernel,) = anneal.jit(anneal.nn.log_softmax).lower(x).kernels
        assert "KEEP" not in kernel.nests[0].text  # one loop computes exponentials


def test_a_row_is_shared_where_it_is_long() -> None:
    assert "LOCAL(k%256/4)" in opts(rows(100, 1024), WEBGPU)
    assert "LOCAL(i%64)" in opts(rows(100_000, 100), WEBGPU)
    assert "LOCAL(k%32/4)" in opts(rows(100, 1024), SOFTWARE)


def test_axes_longer_than_a_grids_are_split() -> None:
    made = for_webgpu(rows(3_000_000, 600), WEBGPU).kernel
    assert "GRID(i%32768)" in " ".join(map(str, made.opts))
    assert check_limits(made, WEBGPU) is None


@pytest.mark.parametrize("target", [SOFTWARE, WEBGPU], ids=["software", "gpu"])
@pytest.mark.parametrize("shape", [(7,) * 6, (60, 61, 62), (5, 7), (3, 5, 7, 3, 5, 7), (17,) * 4])
def test_results_in_other_orders_of_small_axes(shape: tuple[int, ...], target: Target) -> None:
    """Parts of merged ranges would be refused, where each STORE has an order of its own."""

    def f(x: Any) -> Any:
        return x + 1, anp.transpose(x) * 2, anp.swapaxes(x, 0, 1) - 1

    x = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    limits = Limits(32, target=target)
    for launch in lower(anneal.jit(f).lower(x).graph, limits, frozenset()).launches:
        k = launch.kernel
        assert x.size / (math.prod(k.grid) * math.prod(k.workgroup)) <= 128
    webgpu_ = device.get("webgpu")
    run = webgpu_.compile(anneal.jit(f).lower(x).graph, frozenset(), limits)
    for got, want in zip(run([webgpu_.upload(x)]), f(x), strict=True):
        np.testing.assert_array_equal(webgpu_.read(got), np.asarray(want).ravel())


def test_one_count_of_everything() -> None:
    for n, m in ((1, 1), (1, 5000), (5000, 1)):
        for target in (SOFTWARE, WEBGPU):
            made = for_webgpu(rows(n, m), target).kernel
            data = np.random.default_rng(0).standard_normal(n * m).astype(np.float32)
            got = interpret(made, {0: np.zeros(n, np.float32), 1: data})[0]
            np.testing.assert_array_equal(got, data.reshape(n, m).max(1))
