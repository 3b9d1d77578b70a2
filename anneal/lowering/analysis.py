"""What a Plan costs, known before it runs: FLOPs, bytes moved, memory.

Bytes are those of the buffers a kernel binds, each read or written once: what a cache that loses
nothing would move.
"""

from __future__ import annotations

from typing import Any

from anneal.lowering.cost import item_bytes
from anneal.lowering.plan import Plan


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
