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
    VECTOR range may have. `index_bits`: of what counts elements, one of them a sign. `registers`:
    vector registers of one invocation. `threads`: of a CPU. `lanes`: invocations of a workgroup
    that cost no more than one; `busy`: invocations that keep a device busy. `dispatch`: what
    starting a workgroup costs, in elements. `shared`: results that share an operand of a product,
    from its computation on."""

    name: str
    kinds: tuple[str, ...]
    max_buffers: int = 1 << 16
    max_local: int = 256
    local_axes: int = 3
    max_grid: int = 65_535
    grid_axes: int = 3
    workgroup_bytes: int = 16_384
    max_loop: int | None = None
    vector_widths: tuple[int, ...] = (4,)
    index_bits: int = 64
    registers: int = 32
    threads: int = 1
    lanes: int = 1
    busy: int = 1
    dispatch: int = 0
    shared: int = 16


_WEBGPU_KINDS = ("grid", "local", "loop", "unroll", "vector")
# A GPU, and the software renderer that tests WGSL where there is none: a workgroup is one vector of
# a CPU there, which few of them keep busy.
WEBGPU = Target("webgpu", _WEBGPU_KINDS, max_loop=65_535, index_bits=32, registers=16,
                lanes=64, busy=1 << 13)
SOFTWARE = Target("webgpu", _WEBGPU_KINDS, max_loop=65_535, index_bits=32, registers=64,
                  lanes=8, busy=1 << 8, dispatch=1 << 12)
CPU = Target("cpu", ("thread", "loop", "unroll", "vector"),
             vector_widths=(2, 4, 8, 16), threads=2, shared=256)  # fmt: skip
