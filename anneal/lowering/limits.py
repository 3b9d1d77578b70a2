"""What a device allows, and what is worth its while: all that lowering asks of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

# Iterations of all loops of one invocation. Mesa's llvmpipe ends a shader's loops after 65,535 in
# all, without a word; and a device that is not asked for more never hangs the desktop. What is
# planned for is less, which leaves room for loops over parts of sums.
MOST_ITERATIONS = 60_000
LAST_ITERATION = 65_535


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds a kernel: storage buffers it may bind, bytes of one binding; whether operations
    are fused at all; whether invocations run side by side on a GPU, which wants more of them, and
    where those of a workgroup can share long loops. `threads` of a CPU, 0 for a device that runs
    WGSL."""

    max_buffers: int = 8
    max_binding_bytes: int = 128 << 20
    fuse: bool = True
    gpu: bool = False
    threads: int = 0


def trips(sizes: Iterable[int]) -> int:
    """Iterations of loops in loops, the outermost first: those of all of them count."""
    total, times = 0, 1
    for n in sizes:
        times *= n
        total += times
    return total
