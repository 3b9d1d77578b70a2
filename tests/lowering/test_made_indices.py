"""Loads whose index the same kernel makes: they read what that kernel made, not what was there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import nn, tree

_rng = np.random.default_rng(0)


def _data(*shape: int) -> Any:
    return _rng.standard_normal(shape).astype(np.float32)


def _picked(x: Any) -> Any:
    s = nn.softmax(x)
    i = anp.argmax(s, 1)
    return i, anp.take_along_axis(s, i[:, None], 1), s


def _picked_loss(x: Any) -> Any:
    _, value, s = _picked(x)
    return (anp.log(value) * s).sum()


def _placed(x: Any) -> Any:
    sums = x.sum(0)
    at = (anp.abs(sums) * 3).astype("int32") % x.shape[1]
    return anp.zeros(x.shape[1]).at[at].set(sums), anp.zeros(x.shape[1]).at[at].add(1.0)


def _in_turn(x: Any) -> Any:
    """Each index is read at the one before."""
    i = anp.argmax(x, 1)
    j = anp.take(i, i[::-1] % i.shape[0])
    return i, j, anp.take(j, j % i.shape[0]), anp.take_along_axis(x, j[:, None], 1)


PROGRAMS: dict[str, Callable[..., Any]] = {
    "a value at its argmax": _picked,
    "its gradient": anneal.grad(_picked_loss),
    "sorted sums": lambda x: anp.sort(x.sum(0)),
    "sorted products": lambda x: anp.sort(x @ x.T),
    "order of sums": lambda x: (anp.argsort(x.sum(1)), x.sum(1)[anp.argsort(x.sum(1))]),
    "updates at sums": _placed,
    "indices of indices": _in_turn,
    "rows by their sums": lambda x: x[anp.argsort(x.sum(1))] - x.sum(1, keepdims=True),
    "the gradient of sorted sums": anneal.grad(
        lambda x: (anp.sort(x.sum(0)) * anp.arange(x.shape[1])).sum()),
    "a softmax of sorted rows": lambda x: nn.softmax(anp.sort(nn.softmax(x), axis=1)),
}  # fmt: skip


@pytest.mark.parametrize("shape", [(1, 1), (1, 2), (2, 1), (5, 5), (7, 3), (3, 65), (130, 11)])
@pytest.mark.parametrize("name", PROGRAMS)
def test_what_a_kernel_makes_is_what_it_reads(name: str, shape: tuple[int, int]) -> None:
    x = _data(*shape)
    got: list[Any] = []
    for device in ("webgpu", "interpreter"):
        with anneal.default_device(device):
            for make in (PROGRAMS[name], anneal.jit(PROGRAMS[name])):
                got.append([np.asarray(v) for v in tree.leaves(make(x))])
    for other in got[1:]:
        for a, b in zip(got[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_an_index_is_read_where_the_kernel_keeps_it() -> None:
    """The memory of the last call is no excuse: its indices are others."""
    with anneal.default_device("webgpu"):
        f = anneal.jit(_picked)
        for x in (np.array([[0.1, 0.6]], "f"), np.array([[0.6, 0.1]], "f")):
            i, value, s = f(x)
            assert int(i[0]) == int(x.argmax())
            assert float(value[0, 0]) == float(anp.max(s))
