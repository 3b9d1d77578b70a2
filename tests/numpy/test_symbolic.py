"""Functions of arrays whose first axis is a symbolic B: the graph's value, B bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import anneal.numpy as anp
from anneal import nn
from anneal.array import make
from anneal.interpret import evaluate
from anneal.uop import dtypes
from anneal.uop.uop import UOp, param, var

W = np.arange(12, dtype=np.float32).reshape(3, 4) - 5

CASES: dict[str, Callable[[Any, Any], Any]] = {
    "elementwise": lambda p, x: p.exp(x) * 2 + x,
    "matmul": lambda p, x: x @ p.asarray(W),
    "transposed matmul": lambda p, x: x.T @ x,
    "sum": lambda p, x: x.sum(0),
    "mean": lambda p, x: x.mean(0),
    "mean of all": lambda p, x: x.mean(),
    "var": lambda p, x: p.var(x, 0, ddof=1),
    "max": lambda p, x: x.max(1),
    "argmax": lambda p, x: x.argmax(1),
    "argmax along B": lambda p, x: x.argmax(0),
    "where": lambda p, x: p.where(x > 0, x, 0),
    "expand": lambda p, x: p.expand_dims(x, 1) * x.T[None, :, :1],
    "flip": lambda p, x: p.flip(x, 0),
    "pad": lambda p, x: p.pad(x, ((1, 2), (0, 0))),
    "columns": lambda p, x: x[:, 1:],
    "tril": lambda p, x: p.tril(x @ x.T),
    "sort": lambda p, x: p.sort(x, 1),
    "einsum": lambda p, x: p.einsum("bi,bj->ij", x, x),
    "first": lambda p, x: x[:2], "without the first": lambda p, x: x[1:],
    "last": lambda p, x: x[-2:], "without the last": lambda p, x: x[:-1],
    "inside": lambda p, x: x[1:-1], "one": lambda p, x: x[0], "reversed": lambda p, x: x[::-1],
    "outer": lambda p, x: x[:, :, None] * x[:, None, :],
}


@pytest.mark.parametrize("name", CASES)
def test_with_b_bound(name: str) -> None:
    b = var("B", 2, 64)
    x = param(dtypes.float32, (b, 3))
    out = CASES[name](anp, make(x)).uop
    for n in (2, 7):
        data = np.sin(np.arange(3.0 * n, dtype=np.float32)).reshape(n, 3)
        held = {u: u.arg[0].data for u in _buffers(out)}
        with np.errstate(all="ignore"):
            (got,) = evaluate([out], {x: data, b: np.asarray(n), **held})
            np.testing.assert_allclose(got, CASES[name](np, data), 1e-5, 1e-6)


def test_a_loss() -> None:
    b = var("B", 1, 64)
    logits, labels = param(dtypes.float32, (b, 3)), param(dtypes.int32, (b,))
    loss = nn.cross_entropy(make(logits), make(labels)).uop
    x, y = np.sin(np.arange(15, dtype=np.float32)).reshape(5, 3), np.arange(5, dtype=np.int32) % 3
    (got,) = evaluate([loss], {logits: x, labels: y, b: np.asarray(5)})
    want = np.mean(np.log(np.exp(x).sum(1)) - x[np.arange(5), y])
    np.testing.assert_allclose(got, want, 1e-5)


def test_slices_that_may_reach_out() -> None:
    x = make(param(dtypes.float32, (var("B", 2, 64), 3)))
    with pytest.raises(TypeError, match=r"the slice None:3 .* needs at least 3 elements"):
        _ = x[:3]
    with pytest.raises(TypeError, match="slices of step 1 only"):
        _ = x[::2]
    with pytest.raises(TypeError, match="is empty depends on it"):
        _ = x[2:-1]


def _buffers(out: UOp) -> list[UOp]:
    from anneal.uop import ops
    from anneal.uop.uop import toposort

    return [u for u in toposort([out]) if u.op is ops.BUFFER]
