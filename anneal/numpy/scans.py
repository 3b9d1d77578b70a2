"""Running sums and products: reductions over windows that reach back to the beginning."""

from __future__ import annotations

from typing import Any

from anneal.array import Array, as_dtype, asarray, make
from anneal.numpy import elementwise
from anneal.numpy.axes import canonical_axis, integer
from anneal.numpy.manipulation import reshape
from anneal.uop import dtypes
from anneal.uop import uop as graph
from anneal.uop.dtypes import DType
from anneal.uop.uop import UOp

# A running sum of more elements is made of blocks: n * sqrt(n) additions in place of n * n.
_DIRECT = 256


def _flattened(name: str, x: Any, axis: int | None) -> tuple[Array, int]:
    a = asarray(x)
    return (reshape(a, -1), 0) if axis is None else (a, canonical_axis(name, a, axis))


def _result(a: Array, dtype: Any) -> tuple[DType, DType]:
    """The dtype of the result, and the one to accumulate in."""
    out = a.dtype if dtype is None else as_dtype(dtype)
    if dtype is None and out.kind == "b":
        out = dtypes.int32
    return out, dtypes.float32 if out.is_float and out.bits == 16 else out


def _running_sum(u: UOp, axis: int) -> UOp:
    n = u.shape[axis]
    if not isinstance(n, int):
        raise TypeError("cumsum: the axis is symbolic, which is not supported")
    if n > _DIRECT:
        return _in_blocks(u, axis, n)
    # out[i] = the sum over j of in[i - j]; before the beginning are zeros
    by = u.ndim
    windows = u.reshape((*u.shape, 1)).expand((*u.shape, n))
    return windows.shear(axis, by, -1, 0, n).sum((by,)) if n else u


def _in_blocks(u: UOp, axis: int, n: int) -> UOp:
    size = 1 << (n.bit_length() + 1) // 2
    count = -(-n // size)
    shape = u.shape
    u = u.pad([(0, count * size - n) if i == axis else (0, 0) for i in range(u.ndim)])
    blocks = u.reshape((*shape[:axis], count, size, *shape[axis + 1 :]))
    inside = _running_sum(blocks, axis + 1)
    totals = blocks.sum((axis + 1,))
    whole = totals.shape
    before = totals.pad([(1, 0) if i == axis else (0, 0) for i in range(totals.ndim)])
    before = before.shrink([(0, d) for d in whole])
    before = _running_sum(before, axis).reshape((*whole[: axis + 1], 1, *whole[axis + 1 :]))
    out = (inside + before.expand(inside.shape)).reshape(u.shape)
    return out.shrink([(0, d) for d in shape])


def cumsum(a: Any, axis: int | None = None, dtype: Any = None) -> Array:
    """The sums of the elements up to each one along an axis (flattened, for None).

    >>> cumsum([1, 2, 3]).tolist()
    [1, 3, 6]
    """
    x, axis = _flattened("cumsum", a, axis)
    out, wide = _result(x, dtype)
    return make(_running_sum(x.uop.cast(wide), axis).cast(out))


def cumulative_sum(x: Any, /, *, axis: int | None = None, dtype: Any = None,
                   include_initial: bool = False) -> Array:  # fmt: skip
    """`cumsum` as in the array API: axis None is for one axis only; may begin with 0."""
    a = asarray(x)
    if axis is None and a.ndim != 1:
        raise ValueError("cumulative_sum: axis must be given for other than one axis")
    at = canonical_axis("cumulative_sum", a, axis or 0)
    out = cumsum(a, at, dtype)
    if not include_initial:
        return out
    return make(out.uop.pad([(1, 0) if i == at else (0, 0) for i in range(a.ndim)]))


def cumprod(a: Any, axis: int | None = None, dtype: Any = None) -> Array:
    """The products of the elements up to each one along an axis (flattened, for None)."""
    x, axis = _flattened("cumprod", a, axis)
    out, wide = _result(x, dtype)
    u = x.uop.cast(wide)
    n = u.shape[axis]
    pairs = (*u.shape[: axis + 1], n, *u.shape[axis + 1 :])

    def numbers(where: int) -> UOp:
        own = [n if i == where else 1 for i in range(len(pairs))]
        return graph.arange(n, dtypes.int32).reshape(own).expand(pairs)

    factors = u.reshape((*u.shape[:axis], 1, *u.shape[axis:])).expand(pairs)
    counted = (numbers(axis) < numbers(axis + 1)).where(u.const_like(1), factors)
    return make(counted.reduce("mul", (axis + 1,)).cast(out))


def diff(a: Any, n: int = 1, axis: int = -1) -> Array:
    """Differences of neighbours along an axis, n times."""
    x = asarray(a)
    axis = canonical_axis("diff", x, axis)
    n = integer("diff", "n", n)
    if n < 0:
        raise ValueError(f"diff: n must not be negative, got {n}")
    for _ in range(n):
        d = int(x.shape[axis])
        later, earlier = (
            make(x.uop.shrink([b if i == axis else (0, e) for i, e in enumerate(x.shape)]))
            for b in ((min(1, d), d), (0, max(0, d - 1)))
        )
        different = x.dtype.kind == "b"
        x = (elementwise.not_equal if different else elementwise.subtract)(later, earlier)
    return x.copy()
