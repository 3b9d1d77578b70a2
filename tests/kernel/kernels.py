"""Kernels to schedule: each with data and what NumPy makes of it."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from anneal.kernel.ir import (
    ZERO,
    Kernel,
    after,
    argument,
    axis,
    block,
    end,
    load,
    reduce,
    stage,
    store,
)
from anneal.uop import dtypes, ops

Data = np.ndarray[Any, Any]
F, I = dtypes.float32, dtypes.int32  # noqa: E741


class Case(NamedTuple):
    """A kernel, its memory, and the arrays that it must leave there. Whole numbers all of them
    where a sum must be exact in any order."""

    kernel: Kernel
    memory: dict[int, Data]
    expected: dict[int, Data]


def _whole(rng: np.random.Generator, *shape: int) -> Data:
    return rng.integers(-4, 5, shape).astype(np.float32)


def matmul(rng: np.random.Generator, m: int, n: int, k: int) -> Case:
    """max(A @ B + b, 0)"""
    c, a, b, bias = (argument(i, F, d) for i, d in enumerate((m * n, m * k, k * n, n)))
    i, j, r = axis(m, "i"), axis(n, "j"), axis(k, "k")
    total = reduce("add", load(a, i * k + r) * load(b, r * n + j), r)
    body = end(store(c, i * n + j, (total + load(bias, j)).maximum(0.0)), i, j)
    x, y, z = _whole(rng, m, k), _whole(rng, k, n), _whole(rng, n)
    return Case(Kernel(body), {0: np.zeros(m * n, "f"), 1: x, 2: y, 3: z},
                {0: np.maximum(x @ y + z, 0).ravel()})  # fmt: skip


def layer(rng: np.random.Generator, m: int, n: int, k: int) -> Case:
    """z = where(A < 0, 2 A, A) * s @ max(B, -A[0]), and max(z, 0): factors that are computed, and
    several results of one sum."""
    z, h, a, b, s = (argument(i, F, d) for i, d in enumerate((m * n, m * n, m * k, k * n, k)))
    i, j, r = axis(m, "i"), axis(n, "j"), axis(k, "k")
    x = load(a, i * k + r)
    left = (x < 0.0).where(x * 2.0, x) * load(s, r)
    right = load(b, r * n + j).maximum(-load(a, ZERO))
    total = reduce("add", left * right, r)
    body = end(block(store(z, i * n + j, total), store(h, i * n + j, total.maximum(0.0))), i, j)
    u, v, w = _whole(rng, m, k), _whole(rng, k, n), _whole(rng, k)
    out = (np.where(u < 0, 2 * u, u) * w) @ np.maximum(v, -u[0, 0])
    return Case(Kernel(body), {0: np.zeros(m * n, "f"), 1: np.zeros(m * n, "f"), 2: u, 3: v, 4: w},
                {0: out.ravel(), 1: np.maximum(out, 0).ravel()})  # fmt: skip


def softmax(rng: np.random.Generator, rows: int, n: int) -> Case:
    """A row's exponentials in a STAGE, read twice."""
    y, x = argument(0, F, rows * n), argument(1, F, rows * n)
    i, m, q, s, j = axis(rows, "i"), axis(n, "m"), axis(n, "q"), axis(n, "s"), axis(n, "j")
    top = reduce("max", load(x, i * n + m), m)
    kept = stage((load(x, i * n + q) - top).alu(ops.EXP), q)
    body = end(store(y, i * n + j, load(kept, j) / reduce("add", load(kept, s), s)), i, j)
    data = _whole(rng, rows, n)
    e = np.exp(data.astype(np.float64) - data.max(1, keepdims=True))
    return Case(Kernel(body), {0: np.zeros(rows * n, "f"), 1: data},
                {0: (e / e.sum(1, keepdims=True)).ravel()})  # fmt: skip


def row(rng: np.random.Generator, rows: int, n: int) -> Case:
    """(2 x + 1)**2 times its sum over a row and the row's greatest x, in loops over one range."""
    y, x = argument(0, F, rows * n), argument(1, F, rows * n)
    i, r = axis(rows, "i"), axis(n, "r")
    e = load(x, i * n + r) * 2.0 + 1.0
    scale = reduce("add", e * e, r) + reduce("max", load(x, i * n + r), r)
    data = _whole(rng, rows, n)
    square = (2 * data + 1) ** 2
    whole = square * (square.sum(1, keepdims=True) + data.max(1, keepdims=True))
    return Case(Kernel(end(store(y, i * n + r, e * e * scale), i, r)),
                {0: np.zeros(rows * n, "f"), 1: data}, {0: whole.ravel()})  # fmt: skip


def polynomial(rng: np.random.Generator, n: int) -> Case:
    """Elementwise."""
    o, x, y = argument(0, F, n), argument(1, F, n), argument(2, F, n)
    i = axis(n, "i")
    a = load(x, i)
    body = end(store(o, i, (a * a + 1.0) * load(y, i) - a), i)
    u, v = _whole(rng, n), _whole(rng, n)
    return Case(Kernel(body), {0: np.zeros(n, "f"), 1: u, 2: v}, {0: (u * u + 1) * v - u})


def total(rng: np.random.Generator, n: int) -> Case:
    out, x = argument(0, F, 1), argument(1, F, n)
    i = axis(n, "i")
    data = _whole(rng, n)
    return Case(Kernel(store(out, ZERO, reduce("add", load(x, i), i))),
                {0: np.zeros(1, "f"), 1: data}, {0: np.array([data.sum()], "f")})


def greatest(rng: np.random.Generator, rows: int, n: int) -> Case:
    out, x = argument(0, F, n), argument(1, F, rows * n)
    i, j = axis(rows, "i"), axis(n, "j")
    data = _whole(rng, rows, n)
    return Case(Kernel(end(store(out, j, reduce("max", load(x, i * n + j), i)), j)),
                {0: np.zeros(n, "f"), 1: data}, {0: data.max(0)})


def transpose(rng: np.random.Generator, m: int, n: int) -> Case:
    out, x = argument(0, F, m * n), argument(1, F, m * n)
    i, j = axis(m, "i"), axis(n, "j")
    data = _whole(rng, m, n)
    return Case(Kernel(end(store(out, j * m + i, load(x, i * n + j)), i, j)),
                {0: np.zeros(m * n, "f"), 1: data}, {0: data.T.ravel()})


def update(rng: np.random.Generator, b: int, m: int, n: int) -> Case:
    """dx = g @ w.T of the old w; then w -= x.T @ g, in its place: a write after reads."""
    dx, w, x, g = (argument(i, F, d) for i, d in enumerate((b * m, m * n, b * m, b * n)))
    p, q, s = axis(b, "p"), axis(m, "q"), axis(n, "s")
    i, j, k = axis(m, "i"), axis(n, "j"), axis(b, "k")
    back = reduce("add", load(g, p * n + s) * load(w, q * n + s), s)
    first = end(store(dx, p * m + q, back), p, q)
    slope = reduce("add", load(x, k * m + i) * load(g, k * n + j), k)
    body = end(store(after(w, first), i * n + j, load(w, i * n + j) - slope), i, j)
    xs, gs, ws = _whole(rng, b, m), _whole(rng, b, n), _whole(rng, m, n)
    return Case(Kernel(body), {0: np.zeros(b * m, "f"), 1: ws, 2: xs, 3: gs},
                {0: (gs @ ws.T).ravel(), 1: (ws - xs.T @ gs).ravel()})  # fmt: skip


def scatter(rng: np.random.Generator, n: int, words: int, width: int) -> Case:
    """out[idx[i]] += v[i], indices repeated: `i` carries the output."""
    out, idx, v = argument(0, F, words * width), argument(1, I, n), argument(2, F, n * width)
    i, d = axis(n, "i"), axis(width, "d")
    at = load(idx, i).cast(dtypes.index) * width + d
    body = end(store(out, at, load(after(out, i), at) + load(v, i * width + d)), d, i)
    before, values = _whole(rng, words, width), _whole(rng, n, width)
    ids = rng.integers(0, words, n)
    expected = before.copy()
    np.add.at(expected, ids, values)
    return Case(Kernel(body), {0: before, 1: ids.astype(np.int32), 2: values},
                {0: expected.ravel()})  # fmt: skip


MAKERS = {"matmul": (matmul, 3), "layer": (layer, 3), "softmax": (softmax, 2),
          "row": (row, 2), "polynomial": (polynomial, 1), "total": (total, 1),
          "greatest": (greatest, 2), "transpose": (transpose, 2), "update": (update, 3),
          "scatter": (scatter, 3)}  # fmt: skip
EXACT = frozenset(MAKERS) - {"softmax"}
