"""What a plan costs, known before it runs: FLOPs, bytes moved, memory.

In: the statements of a kernel, or a Plan. Out: numbers. A FLOP is one arithmetic operation on
floats (a transcendental function counts as one); index arithmetic is free. Bytes are those of the
buffers a kernel binds, each read or written once: what a cache that loses nothing would move.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from anneal.lowering.kernels import Guarded
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.uop import UOp, toposort

if TYPE_CHECKING:
    from anneal.lowering.plan import Plan

_FREE = frozenset({ops.CAST, ops.BITCAST, ops.WHERE, ops.NOT, ops.AND, ops.OR, ops.XOR})


def item_bytes(dtype: DType) -> int:
    """Bytes of an element in a buffer: bool takes a u32."""
    return 4 if dtype is dtypes.bool_ else dtype.itemsize


def kernel_flops(grid: Sequence[UOp], parts: Sequence[Guarded]) -> int:
    """Operations on floats of all invocations."""
    total = 0
    for part in parts:
        zero = toposort([part.condition]) if part.condition is not None else ()
        invocations = _trips(r for r in grid if r not in zero)
        loops: dict[UOp, frozenset[UOp]] = {}
        for u in toposort(part.statements):
            if u.op is ops.RANGE:
                loops[u] = frozenset((u,)) if u.arg[1] == "loop" else frozenset()
                continue
            own = frozenset(u.src[1:]) if u.op in (ops.REDUCE, ops.FOR) else frozenset()
            inside = frozenset[UOp]().union(*(loops[s] for s in u.src))
            loops[u] = inside - own
            if u.dtype.is_float and (u.op in ops.BINARY | ops.UNARY or u.op is ops.REDUCE) and (
                u.op not in _FREE
            ):
                total += invocations * _trips(inside | own if u.op is ops.REDUCE else inside)
    return total


def _trips(ranges: Any) -> int:
    return math.prod(int(r.src[0].arg) for r in ranges)


def cost_analysis(plan: Plan) -> dict[str, Any]:
    """FLOPs and bytes of a call, in sum and kernel by kernel."""
    kernels = [{"name": launch.kernel.name, "flops": launch.kernel.flops,
                "bytes accessed": launch.kernel.bytes} for launch in plan.launches]  # fmt: skip
    return {"flops": sum(k.kernel.flops for k in plan.launches),
            "bytes accessed": sum(k.kernel.bytes for k in plan.launches),
            "kernels": kernels}  # fmt: skip


def memory_analysis(plan: Plan) -> dict[str, int]:
    """Bytes of arguments, results (those in an argument's memory apart) and temporaries, and the
    most that is held at once. The names are those of JAX's memory statistics."""
    size = {"input": 0, "output": 0, "temp": 0}
    alias = 0
    for s in plan.slots:
        nbytes = s.size * item_bytes(s.dtype)
        if s.alias is None:
            size[s.kind] += nbytes
        else:
            alias += nbytes
    return {"argument_size_in_bytes": size["input"], "output_size_in_bytes": size["output"],
            "alias_size_in_bytes": alias, "temp_size_in_bytes": size["temp"],
            "peak_memory_in_bytes": sum(size.values())}  # fmt: skip
