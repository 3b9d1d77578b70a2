"""Functions that rules/gradient.upat names: adjoints that take more than an expression.

`x` is a source of the matched node `out`, `g` the cotangent of `out`; `a` is its arg.
"""

from __future__ import annotations

from collections.abc import Sequence

from anneal.uop import dtypes
from anneal.uop.dtypes import DType
from anneal.uop.uop import Dim, Shape, UOp, arange, const, prod, scatter


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


def scattered(a: int, x: UOp, i: UOp, g: UOp) -> UOp:
    return scatter("add", i, in_accumulator(g), a, x.shape[a])


