"""Sorting by counting: an element's place is the number of those before it.

One reduction over pairs: n * n comparisons, which parallel hardware does at once, for up to some
tens of thousands of elements.
"""

from __future__ import annotations

from typing import Any

from anneal.array import Array, asarray, make
from anneal.numpy.axes import canonical_axis
from anneal.uop import dtypes, ops
from anneal.uop import uop as graph
from anneal.uop.uop import UOp


def _places(u: UOp, axis: int, descending: bool) -> UOp:
    """The index along `axis` that each element has after a stable sort; NaNs come last."""
    n = u.shape[axis]
    pairs = (*u.shape[: axis + 1], n, *u.shape[axis + 1 :])
    this = u.reshape((*u.shape[: axis + 1], 1, *u.shape[axis + 1 :])).expand(pairs)
    other = u.reshape((*u.shape[:axis], 1, *u.shape[axis:])).expand(pairs)
    before = this < other if descending else other < this
    equal = this.eq(other)
    if u.dtype.is_float:
        this_nan, other_nan = this.ne(this), other.ne(other)
        before = before | (this_nan & other.eq(other))
        equal = equal | (this_nan & other_nan)
    shape = [1] * len(pairs)
    i = graph.arange(n, dtypes.int32)
    mine = i.reshape([n if k == axis else d for k, d in enumerate(shape)]).expand(pairs)
    theirs = i.reshape([n if k == axis + 1 else d for k, d in enumerate(shape)]).expand(pairs)
    return (before | (equal & (theirs < mine))).cast(dtypes.int32).sum((axis + 1,))


def argsort(x: Any, axis: int | None = -1, *, stable: bool = True,
            descending: bool = False) -> Array:  # fmt: skip
    """The indices that sort x along an axis (flattened, for None): int32, of x's shape. Stable.

    >>> argsort([3, 1, 2]).tolist()
    [1, 2, 0]
    """
    a = asarray(x)
    if axis is None or not a.ndim:
        a, axis = make(a.uop.reshape((a.uop.size,))), 0
    axis = canonical_axis("argsort", a, axis)
    u = a.uop.cast(dtypes.int32) if a.dtype.kind == "b" else a.uop
    n = u.shape[axis]
    places = _places(u, axis, descending).alu(ops.CONTIGUOUS)
    i = graph.arange(n, dtypes.int32)
    own = i.reshape([n if k == axis else 1 for k in range(u.ndim)]).expand(u.shape)
    return make(graph.scatter("add", places, own, axis, n))


def sort(x: Any, axis: int | None = -1, *, stable: bool = True,
         descending: bool = False) -> Array:  # fmt: skip
    """x in ascending order along an axis (flattened, for None); NaNs last.

    >>> sort([3.0, 1.0, 2.0]).tolist()
    [1.0, 2.0, 3.0]
    """
    a = asarray(x)
    if axis is None:
        a, axis = make(a.uop.reshape((a.uop.size,)), a.weak_type), 0
    axis = canonical_axis("sort", a, axis)
    order = argsort(a, axis, descending=descending).uop
    return make(a.uop.gather(order, axis), a.weak_type)
