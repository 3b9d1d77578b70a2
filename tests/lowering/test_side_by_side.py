"""Kernels that share a launch: only those that do not wait for each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import nn
from anneal.kernel.target import SOFTWARE, WEBGPU
from anneal.lowering.limits import Limits
from anneal.lowering.plan import Plan, lower
from tests import programs

_rng = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return _rng.standard_normal(shape).astype(np.float32)


def plan(f: Any, *args: Any, most: int = 32, donate: tuple[int, ...] = ()) -> Plan:
    graph = anneal.jit(f).lower(*args).graph
    return lower(graph, Limits(most), frozenset(donate))


def apart(x: Any, y: Any, z: Any) -> Any:
    return nn.softmax(x), anp.cumsum(y), z.T * 2.0


def test_what_has_nothing_to_do_with_each_other_is_one_launch() -> None:
    args = normal(30, 40), normal(77), normal(5, 900)
    (launch,) = plan(apart, *args).launches
    assert len(launch.kernel.nests) == 3
    programs.agree(apart, *args)


def test_workgroups_side_by_side_are_each_ones_own() -> None:
    """Grids of one, two and three axes; lone invocations; a tail in each."""

    def f(a: Any, b: Any, c: Any) -> Any:
        return a.sum(), b * 2, anp.swapaxes(c, 0, 2) + 1, c.max((1, 2)), anp.argsort(b[0])

    for shape in ((1, 1, 1), (3, 5, 7), (17, 33, 9)):
        c = normal(*shape)
        programs.agree(f, c[:, 0], c[0], c)


def test_who_reads_the_other_waits() -> None:
    x = normal(300, 400)
    f = lambda x: nn.softmax(nn.softmax(x, 0), 1)  # noqa: E731
    assert len(plan(f, x).launches) == 2
    programs.agree(f, x)


def test_what_is_overwritten_is_read_in_a_launch_before() -> None:
    """b is updated in place, by one kernel, and read transposed by the other."""
    b, x = normal(40, 40), normal(40, 40)

    def step(b: Any, x: Any) -> Any:
        return b - 0.1 * x, (b.T * x).sum(0)

    assert len(plan(step, b, x).launches) == 1
    made = plan(step, b, x, donate=(0,))
    assert [s.alias for s in made.slots].count(0) == 1
    assert len(made.launches) == 2
    for device in ("webgpu", "cpu", "interpreter"):
        with anneal.default_device(device):
            given = anp.asarray(b) + 0.0
            new, total = anneal.jit(step, donate_argnums=0)(given, x)
            np.testing.assert_allclose(np.asarray(new), b - 0.1 * x, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(np.asarray(total), (b.T * x).sum(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("most", range(4, 12))
def test_launches_bind_no_more_than_the_device_has(most: int) -> None:
    args = [normal(20 + i) for i in range(9)]
    made = plan(lambda *x: [v * 2 - v.sum() for v in x], *args, most=most)
    assert max(len(launch.args) for launch in made.launches) <= most
    assert len(made.launches) == -(-9 // min(most // 2, 4))


@pytest.mark.parametrize("device", ["webgpu", "cpu"])
def test_partial_results_of_several_have_memory_of_their_own(device: str) -> None:
    """Each maximum is by all threads, whose results are combined in memory beyond that of all."""
    x, y, z = (normal(15_000) for _ in range(3))

    def f(x: Any, y: Any, z: Any) -> Any:
        x, y, z = x[::-1], y[::-1], z[::-1]
        return (x * y * z).max(), z * 2, (x + y * z).min(), (x * y - z).max(), x.sum()

    with anneal.default_device(device):
        got = anneal.jit(f)(x, y, z)
    for a, b in zip(got, f(x, y, z), strict=True):
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-4, atol=1e-4)


def test_sizes_beyond_what_an_axis_counts() -> None:
    """Prime lengths above 65,536; and more workgroups than an axis has, which are two launches."""
    x, y = normal(70_001, 3), normal(65_537)
    f = lambda x, y: (nn.softmax(x), y[::-1] * 2)  # noqa: E731
    assert len(plan(f, x, y).launches) == 1
    programs.agree(f, x, y)
    graph = anneal.jit(lambda x, y: (x + 1, y * 2)).lower(np.zeros(20_000_003, np.float32), y).graph
    for target, launches in ((SOFTWARE, 1), (WEBGPU, 2)):
        made = lower(graph, Limits(32, target=target), frozenset())
        assert len(made.launches) == launches
        assert max(n for k in made.launches for n in k.kernel.grid) <= 65_535


def test_two_large_kernels_are_two_launches() -> None:
    a, b = normal(512, 512), normal(512, 512)
    assert len(plan(lambda a, b: (a @ a, b @ b), a, b).launches) == 2
