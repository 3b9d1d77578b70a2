"""Functions of rules/decompose.upat."""

from __future__ import annotations

import math

from anneal.uop import dtypes, ops
from anneal.uop.uop import UOp, const


def times_zero(x: UOp, negative: bool) -> UOp | None:
    """The product of `x` and 0 or -0: a zero with the product's sign, NaN for infinities and NaN.

    For float32; None for others.
    """
    if x.dtype is not dtypes.float32:
        return None
    sign = const(0x8000_0000, dtypes.uint32)
    bits = x.bitcast(dtypes.uint32)
    zero = ((bits ^ sign if negative else bits) & sign).bitcast(x.dtype)
    return (x.alu(ops.ABS) < math.inf).where(zero, math.nan)
