"""The interpreter objects to what a device would do silently."""

from __future__ import annotations

import numpy as np
import pytest

from anneal.kernel.interpret import KernelError, interpret
from anneal.kernel.ir import Kernel, after, argument, axis, block, end, load, reduce, store
from anneal.uop import dtypes
from anneal.uop.uop import UOp, const, rebuild, toposort
from tests.kernel.kernels import MAKERS, Case, scatter, update

F = dtypes.float32


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("lengths", [(5, 7, 3), (1, 1, 1), (2, 33, 17), (8, 8, 8)])
def test_kernels_compute_what_numpy_does(name: str, lengths: tuple[int, ...]) -> None:
    make, count = MAKERS[name]
    case = make(np.random.default_rng(0), *lengths[:count])
    got = interpret(case.kernel, case.memory)
    for position, expected in case.expected.items():
        np.testing.assert_allclose(got[position], expected, rtol=1e-5)


def without_edges(case: Case) -> Kernel:
    """The kernel with every AFTER gone; its effects in a BLOCK."""
    done: dict[UOp, UOp] = {}
    lost: dict[UOp, None] = {}
    for u in toposort([case.kernel.body]):
        done[u] = rebuild(u, tuple([done[s] for s in u.src]))
        if u.op.name == "AFTER":
            done[u] = done[u.src[0]]
            lost.update((done[s], None) for s in u.src[1:] if s.dtype is dtypes.void)
    return Kernel(block(*lost, done[case.kernel.body]))


def test_without_its_edge_an_update_in_place_is_refused() -> None:
    case = update(np.random.default_rng(0), 3, 4, 5)
    with pytest.raises(KernelError, match="without an edge"):
        interpret(without_edges(case), case.memory)


def test_without_the_carried_range_a_scatter_is_refused() -> None:
    case = scatter(np.random.default_rng(0), 30, 4, 3)
    with pytest.raises(KernelError, match="same element|without an edge"):
        interpret(without_edges(case), case.memory)


def test_a_neighbours_element_written_in_place_is_refused() -> None:
    x, i = argument(0, F, 8), axis(7, "i")
    shift = Kernel(end(store(x, i, load(x, i + 1)), i))
    with pytest.raises(KernelError, match="without an edge"):
        interpret(shift, {0: np.arange(8)})
    same = Kernel(end(store(x, i, load(x, i) + 1.0), i))
    np.testing.assert_array_equal(interpret(same, {0: np.arange(8)})[0],
                                  [1, 2, 3, 4, 5, 6, 7, 7])  # fmt: skip


def test_a_result_is_read_after_the_nest_that_wrote_it() -> None:
    x, y, z = (argument(n, F, 6) for n in range(3))
    i, j = axis(6, "i"), axis(6, "j")
    first = end(store(y, i, load(x, i) * 2.0), i)
    memory = {0: np.arange(6), 1: np.zeros(6), 2: np.zeros(6)}
    ordered = Kernel(end(store(z, j, load(after(y, first), 5 - j)), j))
    np.testing.assert_array_equal(interpret(ordered, memory)[2], [10, 8, 6, 4, 2, 0])
    open_order = Kernel(block(first, end(store(z, j, load(y, 5 - j)), j)))
    with pytest.raises(KernelError, match="without an edge"):
        interpret(open_order, memory)


@pytest.mark.parametrize("shift", [-1, 1])
def test_indices_outside_are_refused_where_no_gate_keeps_them(shift: int) -> None:
    x, y, i = argument(0, F, 5), argument(1, F, 5), axis(5, "i")
    at = i + shift
    outside = Kernel(end(store(y, i, load(x, at)), i))
    memory = {0: np.arange(1, 6), 1: np.zeros(5)}
    with pytest.raises(KernelError, match="LOAD at"):
        interpret(outside, memory)
    inside = (at < 5) & (at < 0).logical_not()
    gated = Kernel(end(store(y, i, load(x, at, inside)), i))
    expected = np.roll(np.arange(1, 6), -shift)
    expected[-1 if shift > 0 else 0] = 0
    np.testing.assert_array_equal(interpret(gated, memory)[1], expected)
    with pytest.raises(KernelError, match="STORE at"):
        interpret(Kernel(end(store(y, at, load(x, i)), i)), memory)


def test_sizes_may_be_variables() -> None:
    from anneal.uop.uop import var

    n = var("n", 1, 64)
    x, y = argument(0, F, n), argument(1, F, 1)
    i = axis(n, "i")
    kernel = Kernel(store(y, const(0, dtypes.index), reduce("add", load(x, i), i)))
    memory = {0: np.arange(64), 1: np.zeros(1)}
    for size in (1, 2, 63, 64):
        got = interpret(kernel, memory, {"n": size})
        assert got[1][0] == sum(range(size))
    with pytest.raises(KernelError, match="the kernel says 64"):
        interpret(kernel, {0: np.zeros(63), 1: np.zeros(1)}, {"n": 64})


def test_what_another_store_overwrites_is_read_before() -> None:
    """Two results of one element, the first in its memory."""
    x, y, i = argument(0, F, 5), argument(1, F, 5), axis(5, "i")
    old = load(x, i)
    memory = {0: np.arange(5), 1: np.zeros(5)}
    both = block(store(after(x, old), i, old * 0.0 - 1.0), store(y, i, old * 3.0))
    ordered = Kernel(end(both, i))
    got = interpret(ordered, memory)
    assert (got[0].tolist(), got[1].tolist()) == ([-1] * 5, [0, 3, 6, 9, 12])
    hidden = Kernel(end(block(store(x, i, x.const_like(-1.0)), store(y, i, old * 3.0)), i))
    with pytest.raises(KernelError, match="without an edge"):
        interpret(hidden, memory)
