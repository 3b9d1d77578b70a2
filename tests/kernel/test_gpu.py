"""What a GPU is given, run on whatever adapter there is: rows by a workgroup, small tiles."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import anneal
import anneal.numpy as anp
from anneal import device, nn
from anneal.kernel.heuristic import webgpu as heuristic
from anneal.kernel.ir import Kernel, after, argument, axis, block, end, load, store
from anneal.kernel.opts import apply, parse
from anneal.kernel.target import WEBGPU
from anneal.lowering.limits import Limits
from anneal.lowering.plan import Plan
from anneal.memo import Memo
from anneal.uop import dtypes, ops
from anneal.uop.uop import Graph, const, param
from anneal.wgsl.render import fit_together, render
from tests import programs
from tests.random_graphs import Example, examples
from tests.test_differential import _SETTINGS, compare

LIMITS = Limits(32, target=WEBGPU)
_rng = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return _rng.standard_normal(shape).astype(np.float32)


@pytest.fixture
def webgpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """The device with workgroups that share, whatever its adapter is."""
    monkeypatch.setattr(device.get("webgpu"), "limits", LIMITS)
    monkeypatch.setattr(device, "_compiled", Memo(1000))


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiles, vectors and sharing of every loop that can be shared."""
    monkeypatch.setattr(heuristic, "_LEAST_EACH", 1 / 32)
    monkeypatch.setattr(heuristic, "_LEAST_LOADS", 0)
    monkeypatch.setattr(heuristic, "_OUTSIDE", 3)
    monkeypatch.setattr("anneal.lowering.code._written", Memo(1000))


def plan(f: Any, *args: Any) -> Plan:
    with anneal.default_device("webgpu"):
        found: Plan = anneal.jit(f).lower(*args).plan
    return found


def standardise(x: Any) -> Any:
    return (x - x.mean(-1, keepdims=True)) / anp.sqrt(x.var(-1, keepdims=True) + 1e-5)


ROWS = {
    "softmax": nn.softmax, "log-softmax": nn.log_softmax, "standardise": standardise,
    "sum": lambda x: x.sum(-1), "max": lambda x: x.max(-1), "min and product": lambda x:
    (x.min(-1), anp.prod(anp.tanh(x) * 0.01 + 1, -1)), "any": lambda x: (x > 2).any(-1),
    "argmax": lambda x: anp.argmax(x, -1), "integers": lambda x: (x * 10).astype(int).sum(-1),
    "halves": lambda x: nn.softmax(x.astype(anp.float16)).astype(anp.float32),
    "two rows": lambda x: nn.softmax(x) - nn.softmax(x[:, ::-1]),
    "scalars beside rows": lambda x: (nn.softmax(x), x.max(-1) * 2, x.sum()),
}  # fmt: skip


@pytest.mark.parametrize("shape", [(3, 128), (5, 1000), (2, 4097)])
@pytest.mark.parametrize("name", ROWS)
def test_rows(webgpu: None, name: str, shape: tuple[int, int]) -> None:
    programs.agree(ROWS[name], normal(*shape))


def test_a_row_is_a_workgroups(webgpu: None) -> None:
    (launch,) = plan(nn.softmax, normal(40, 1000)).launches
    assert launch.kernel.grid == (40, 1, 1)
    assert launch.kernel.workgroup == (64, 1, 1)
    assert "loop r1/256 < 4" in launch.kernel.nests[0].text  # 1000 elements by 64 lanes of 4


def test_more_than_one_axis_of_workgroups(webgpu: None) -> None:
    x = normal(70_000, 512).astype(np.float16)
    assert plan(lambda x: x.max(-1), x).launches[0].kernel.grid == (32768, 3, 1)
    programs.agree(lambda x: x.max(-1), x)


def test_what_is_not_shared(webgpu: None) -> None:
    for f, x in [
        (nn.softmax, normal(7, 100)),  # short
        (lambda x: x.sum(0), normal(500, 2000)),  # neighbours would read far apart
        (lambda x: x @ x.T, normal(300, 300)),  # many results
        (lambda x: x * 2, normal(300, 300)),  # no loop
    ]:
        assert not any("workgroupBarrier" in k.kernel.source for k in plan(f, x).launches)


def test_rows_in_place_are_read_before_one_lane_writes(webgpu: None) -> None:
    """A lane that is late would read what the first has written."""
    x, bias = normal(40, 700), normal(40)

    def step(b: Any, x: Any) -> Any:
        total = x.sum(-1)
        return total * b, (x - total[:, None]) * b[:, None]

    f = anneal.jit(step, donate_argnums=0)
    with anneal.default_device("webgpu"):
        given = anp.asarray(bias) + 0.0
        assert f.lower(given, x).memory_analysis()["alias_size_in_bytes"] == bias.nbytes
        assert len(f.lower(given, x).kernels) == 1
        got, scaled = f(given, x)
    total = x.sum(-1)
    np.testing.assert_allclose(np.asarray(got), total * bias, rtol=1e-4, atol=1e-3)
    want = (x - total[:, None]) * bias[:, None]
    np.testing.assert_allclose(np.asarray(scaled), want, rtol=1e-4, atol=1e-3)


def test_who_waits_for_others_fits_only_among_as_many() -> None:
    """Eight lanes of 64 would wait for lanes that never come."""
    i, j = axis(5, "i"), axis(8, "j")
    b, y, x = (argument(n, dtypes.float32, 40) for n in range(3))
    old = load(b, i)
    lanes = end(store(y, i * 8 + j, old + load(x, i * 8 + j)), j)
    first = store(after(b, lanes.src[0].src[2].src[0]), i, old * 2.0)
    waits = apply(Kernel(end(block(lanes, first), i)), parse("LOCAL(j) GRID(i)"), WEBGPU)
    alone = apply(Kernel(end(store(y, j, load(x, j)), j)), parse("LOCAL(j)"), WEBGPU)
    k = axis(64, "k")
    z = argument(3, dtypes.float32, 64)
    wide = apply(Kernel(end(store(z, k, const(1.0, dtypes.float32)), k)), parse("LOCAL(k)"), WEBGPU)
    assert "Barrier" in render(waits).source
    assert not fit_together([waits, wide])
    assert fit_together([waits, alone]) and fit_together([alone, wide])


def test_tiles_leave_a_gpu_busy(webgpu: None) -> None:
    """512 by 512 results by 8192 invocations: 32 each, in vectors of four."""
    (launch,) = plan(lambda a, b: a @ b, normal(512, 64), normal(64, 512)).launches
    assert launch.kernel.source.count("var acc") == 8
    assert math.prod(launch.kernel.grid) * 64 == 512 * 512 // 32


def test_nests_that_do_not_wait_are_one_launch(webgpu: None) -> None:
    """Rows, and beside them one sum: workgroups of each; a lone invocation fits among 64."""
    f, x, y = (lambda x, y: (nn.softmax(x), y.sum())), normal(9, 512), normal(30)
    (launch,) = plan(f, x, y).launches
    assert len(launch.kernel.nests) == 2
    assert launch.kernel.grid == (10, 1, 1)
    programs.agree(f, x, y)


@pytest.mark.parametrize("n", [64, 129, 700])
def test_values_of_the_same_row_stored_and_read_again(n: int) -> None:
    """More than registers hold: written by some lanes, read by others."""
    x = param(dtypes.float32, (3, n))
    y = x.alu(ops.EXP)
    flipped = y.flip((1,))
    graph = Graph((x,), (y, y - y.sum((1,)).reshape((3, 1)).expand((3, n)), flipped * 2.0))
    compare(Example(graph, (normal(3, n),)), LIMITS, 1e-4)


@pytest.mark.parametrize("p", programs.small(), ids=lambda p: p.name)
def test_programs(webgpu: None, eager: None, p: programs.Program) -> None:
    programs.agree(p.function, *p.args)


@pytest.mark.parametrize("family", ["exact", "smooth"])
@settings(parent=_SETTINGS, max_examples=40)
@given(st.data())
def test_random_graphs(eager: None, family: str, data: st.DataObject) -> None:
    example = data.draw(examples(family))
    compare(example, LIMITS, None if family == "exact" else 1e-4)
