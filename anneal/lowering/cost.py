"""What a kernel costs, known before it runs.

In: the statements of a kernel. Out: numbers. A FLOP is one arithmetic operation on floats (a
transcendental function counts as one); index arithmetic is free.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from anneal.lowering.kernels import Guarded
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.uop import UOp, toposort

_FREE = frozenset({ops.CAST, ops.BITCAST, ops.WHERE, ops.NOT, ops.AND, ops.OR, ops.XOR})


def item_bytes(dtype: DType) -> int:
    """Bytes of an element in a buffer: bool takes a u32."""
    return 4 if dtype is dtypes.bool_ else dtype.itemsize


def kernel_flops(parts: Sequence[Guarded]) -> int:
    """Operations on floats: each node once for all counts of the ranges that it depends on, as if
    what invocations share were computed once."""
    total = 0
    for part in parts:
        ranges: dict[UOp, frozenset[UOp]] = {}
        for u in toposort(part.statements):
            if u.op is ops.RANGE:
                ranges[u] = frozenset((u,))
                continue
            own = frozenset(u.src[1:]) if u.op in (ops.REDUCE, ops.FOR) else frozenset()
            inside = frozenset[UOp]().union(*(ranges[s] for s in u.src))
            ranges[u] = inside - own
            if u.dtype.is_float and (u.op in ops.BINARY | ops.UNARY or u.op is ops.REDUCE) and (
                u.op not in _FREE
            ):
                total += _trips(inside | own if u.op is ops.REDUCE else inside)
    return total


def _trips(ranges: Any) -> int:
    return math.prod(int(r.src[0].arg) for r in ranges)
