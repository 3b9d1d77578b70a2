"""Floored division of ints by division of what has no sign, for kernel.upat.

In: two operands of one dtype of integers. Out: a graph whose only divisions are of numbers that are
not negative by numbers above 0: those, devices have, and agree on.
"""

from __future__ import annotations

from anneal.uop import dtypes, ops
from anneal.uop.symbolic import lo
from anneal.uop.uop import UOp

_UNSIGNED = {dtypes.int8: dtypes.uint8, dtypes.int16: dtypes.uint16, dtypes.int32: dtypes.uint32,
             dtypes.int64: dtypes.uint64}  # fmt: skip


def floored_quotient(x: UOp, y: UOp) -> UOp | None:
    """floor(x / y), 0 where y is; None where no sign or 0 needs care."""
    if lo(x) >= 0 and lo(y) > 0:
        return None
    return _zero_by_zero(_quotient(x, y), y)


def floored_remainder(x: UOp, y: UOp) -> UOp | None:
    """x - floor(x / y) * y, 0 where y is."""
    if lo(x) >= 0 and lo(y) > 0:
        return None
    return _zero_by_zero(x - _quotient(x, y) * y, y)


def _zero_by_zero(value: UOp, y: UOp) -> UOp:
    return value if lo(y) > 0 else y.eq(0).where(value.const_like(0), value)


def _magnitude(x: UOp) -> UOp:
    """|x|; of the least int, which has no negative, as an unsigned one. `index` never wraps."""
    size = x if lo(x) >= 0 else x.alu(ops.ABS)
    return size.cast(_UNSIGNED.get(x.dtype, x.dtype))


def _quotient(x: UOp, y: UOp) -> UOp:
    """floor(x / y), something where y is 0."""
    size, by = _magnitude(x), _magnitude(y)
    by = by if lo(by) > 0 else by.maximum(1)
    if x.dtype.kind == "u":
        return size // by
    apart = (x < 0) if lo(y) > 0 else (x < 0).ne(y < 0) & x.ne(0)
    less = (size - 1).maximum(0) if x.dtype is dtypes.index else size - 1
    q = (apart.where(less, size) // by).cast(x.dtype)
    return apart.where(q.const_like(-1) - q, q)  # floor(-a / b) is -1 - floor((a - 1) / b)
