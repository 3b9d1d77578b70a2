"""Functions that rules/gradient.upat names: adjoints that take more than an expression.

`x` is a source of the matched node `out`, `g` the cotangent of `out`; `a` is its arg.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.uop import Dim, Shape, UOp, arange, const, dim_uop, prod, scatter


def wider(a: DType, b: DType) -> DType:
    """The float dtype of two that holds more bits (float32 for float16 with bfloat16)."""
    if a is b:
        return a
    return dtypes.float32 if a.bits == b.bits else a if a.bits > b.bits else b


def in_accumulator(g: UOp) -> UOp:
    """`g` as the dtype that sums of it are kept in: float32 for the 16-bit floats."""
    return g.cast(dtypes.float32) if g.dtype.bits == 16 else g


def uncast(x: UOp, g: UOp) -> UOp | None:
    """A cotangent stays in the wider of the two types: a narrowing cast does not narrow it."""
    return g.cast(wider(x.dtype, g.dtype)) if x.dtype.is_float else None


def base_of_slope(x: UOp, y: UOp) -> UOp:
    """The x of y * x**(y-1); another where y is 0 and x**-2 is too large to be multiplied by 0."""
    if y.op is ops.CONST:
        return x if y.arg != 0 else x.const_like(1)
    near = x.alu(ops.ABS) < (2.0**-7 if x.dtype is dtypes.float16 else 2.0**-60)
    return (y.eq(0) & near).where(1, x)


def bell(x: UOp) -> UOp:
    """2 / sqrt(pi) * exp(-x**2); from 30 on 0, as its derivatives are: x**2 may overflow."""
    near = x.maximum(-30).minimum(30)
    return (-(near * near)).alu(ops.EXP) * (2 / math.sqrt(math.pi))


def inverse(order: Sequence[int]) -> tuple[int, ...]:
    return tuple(sorted(range(len(order)), key=order.__getitem__))


def unexpanded(x: UOp, g: UOp) -> UOp:
    return in_accumulator(g).sum_to(x.shape)


def unpadded(out: UOp, g: UOp) -> UOp:
    amounts = out.dims
    return g.shrink([(lo, lo + n) for lo, n in zip(amounts[::2], out.src[0].shape, strict=True)])


def unshrunk(out: UOp, g: UOp) -> UOp:
    bounds = out.dims
    triples = zip(bounds[::2], bounds[1::2], out.src[0].shape, strict=True)
    return g.pad([(lo, d - (lo + n)) for lo, n, d in triples])


def unsheared(a: tuple[int, int, int, int, int], x: UOp, g: UOp) -> UOp:
    axis, by, step, offset, _ = a
    length = x.shape[axis]
    assert isinstance(length, int)
    return g.shear(axis, by, -step, -offset, length)


def repeated(out: UOp, g: UOp) -> UOp:
    """`g`, of a reduction's shape, as often as the reduction had terms."""
    x, axes = out.src[0], out.arg[1]
    kept = tuple(1 if i in axes else d for i, d in enumerate(x.shape))
    return g.reshape(kept).expand(x.shape)


def to_extremes(out: UOp, g: UOp) -> UOp:
    """`g` shared equally among the elements that are the maximum (minimum)."""
    x, axes = out.src[0], out.arg[1]
    chosen = x.eq(repeated(out, out))
    ones = chosen.where(const(1, dtypes.float32), 0).sum(axes).cast(g.dtype)
    return chosen.where(repeated(out, g / ones), 0)


def product_of_others(out: UOp) -> UOp:
    """For each factor of a product the product of the rest, without division: n*n work."""
    x, axes = out.src[0], out.arg[1]
    kept = [i for i in range(x.ndim) if i not in axes]
    order = (*kept, *axes)
    n = prod([x.shape[i] for i in axes])
    outer: Shape = tuple(x.shape[i] for i in kept)
    rows = x.permute(order).reshape((*outer, 1, n)).expand((*outer, n, n))
    number = arange(n, dtypes.int32)
    ones: tuple[Dim, ...] = (1,) * len(outer)
    row = number.reshape((*ones, n, 1)).expand(rows.shape)
    column = number.reshape((*ones, 1, n)).expand(rows.shape)
    others = row.eq(column).where(rows.const_like(1), rows).reduce("mul", (rows.ndim - 1,))
    return others.reshape([x.shape[i] for i in order]).permute(inverse(order))


def to_named_extremes(a: tuple[str, int, Dim], i: UOp, x: UOp, out: UOp, g: UOp) -> UOp:
    """`g` shared equally among the elements that are the maximum (minimum) where `i` puts them."""
    _, axis, length = a
    chosen = x.eq(out.gather(i, axis))
    ones = scatter("add", i, chosen.where(const(1, dtypes.float32), 0), axis, length)
    return chosen.where((g / ones.maximum(1).cast(g.dtype)).gather(i, axis), 0)


def product_of_others_named(a: tuple[str, int, Dim], i: UOp, x: UOp) -> UOp:
    """For each factor the product of the rest that `i` puts where it puts that, without division:
    n*n work."""
    axis, n = a[1], x.shape[a[1]]
    pairs = (*x.shape[: axis + 1], n, *x.shape[axis + 1 :])

    def along(u: UOp, here: int) -> UOp:
        shape = [n if k == here else 1 if k in (axis, axis + 1) else d for k, d in enumerate(pairs)]
        return u.reshape(shape).expand(pairs)

    last = dim_uop(a[2]).cast(dtypes.int32) - 1
    place = i.cast(dtypes.int32).maximum(0).minimum(last)
    number = arange(n, dtypes.int32).reshape([n if k == axis else 1 for k in range(x.ndim)])
    number = number.expand(x.shape)
    own = along(number, axis).eq(along(number, axis + 1))
    named = along(place, axis).eq(along(place, axis + 1)) & own.logical_not()
    return named.where(along(x, axis + 1), x.const_like(1)).reduce("mul", (axis + 1,))


def scattered(a: int, x: UOp, i: UOp, g: UOp) -> UOp:
    return scatter("add", i, in_accumulator(g), a, x.shape[a])


