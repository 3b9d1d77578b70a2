"""What a device offers to a kernel: kinds of ranges, and their limits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Target:
    """`kinds`: of ranges that it has. `max_buffers`: that a kernel may bind. `max_local`:
    invocations of a workgroup; `local_axes`: axes that they may be counted along. `max_grid`:
    counts of one grid axis; `grid_axes`: how many of those. `workgroup_bytes`: memory that a
    workgroup shares. `max_loop`: iterations of nested loops, all together, that one invocation may
    run (Mesa's llvmpipe ends them at 65,535 without a word), or None. `vector_widths`: lanes that a
    VECTOR range may have. `registers`: vector registers of one invocation."""

    name: str
    kinds: frozenset[str]
    max_buffers: int = 8
    max_local: int = 256
    local_axes: int = 3
    max_grid: int = 65_535
    grid_axes: int = 3
    workgroup_bytes: int = 16_384
    max_loop: int | None = None
    vector_widths: tuple[int, ...] = (4,)
    registers: int = 32


WEBGPU = Target("webgpu", frozenset({"grid", "local", "loop", "unroll", "vector"}),
                max_loop=60_000)  # fmt: skip
CPU = Target("cpu", frozenset({"thread", "loop", "unroll", "vector"}), max_buffers=1 << 16,
             vector_widths=(2, 4, 8, 16))  # fmt: skip
