"""UNROLL ranges written out, and what all workgroups or threads must have finished as launches.

In: a kernel. Out: kernels without UNROLL ranges but those of STAGEs, whose filling is expanded when
it is written, and without reductions over GRID and THREAD ranges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from anneal.kernel.ir import (
    Kernel,
    argument,
    axis,
    block,
    count_of,
    end,
    free,
    kind_of,
    load,
    name_of,
    reduce,
    store,
)
from anneal.kernel.opts import combined
from anneal.uop import dtypes, ops
from anneal.uop.symbolic import hi, simplified_with, simplify
from anneal.uop.uop import UOp, const, rebuild, substitute, toposort


def expanded(body: UOp) -> UOp:
    """`body` without UNROLL ranges: effects stand once for every count, in the order of their END;
    of a reduction the values are combined in a tree."""
    (body,) = simplify([body])
    done: dict[UOp, UOp] = {}
    for u in toposort([body]):
        src = tuple([done[s] for s in u.src])
        unrolled = [r for r in u.src[1:] if kind_of(r) == "unroll"] if u.op in _UNROLLED else []
        done[u] = _written_out(u, src, unrolled) if unrolled else rebuild(u, src)
    return simplify([done[body]])[0]


# What binds ranges that are written out; a STAGE's when it is filled.
_UNROLLED = frozenset({ops.END, ops.REDUCE})


def _written_out(u: UOp, src: tuple[UOp, ...], unrolled: Sequence[UOp]) -> UOp:
    """An END or REDUCE of the sources `src`, its `unrolled` ranges written out."""
    inside = src[0]
    for r in reversed(unrolled):
        copies = [_counted(inside, r, n) for n in range(count_of(r) or 0)]
        inside = block(*copies) if u.op is ops.END else _tree(u.arg[0], copies)
    rest = [s for s in src[1:] if s not in unrolled]
    return end(inside, *rest) if u.op is ops.END else reduce(u.arg[0], inside, *rest)


def _counted(root: UOp, r: UOp, n: int) -> UOp:
    """`root` at a count of a range, simplified."""
    return simplified_with(root, {r: const(n, dtypes.index)}, lambda u: r in free(u))


def _tree(how: str, values: list[UOp]) -> UOp:
    while len(values) > 1:
        pairs = [values[i : i + 2] for i in range(0, len(values), 2)]
        values = [combined(how, *p) if len(p) == 2 else p[0] for p in pairs]
    return values[0]


def launches(kernel: Kernel, first: int | None = None) -> list[Kernel]:
    """The kernels that run one after another for `kernel`: a reduction over a GRID or THREAD range
    stores its partial results in a buffer of its own, and the next launch combines them. Such
    buffers have positions from `first` on, after the kernel's own where that is not given."""
    partial = [u for u in kernel.nodes if u.op is ops.REDUCE
               and any(kind_of(r) in ("grid", "thread") for r in u.src[1:])]  # fmt: skip
    if not partial:
        return [kernel]
    total = partial[0]
    position = first if first is not None else 1 + max(p.arg for p in kernel.params)
    (r,) = total.src[1:]
    size = hi(r.src[0])
    memory = argument(position, total.dtype, size)
    q = axis(size, f"{name_of(r)}.")
    whole = reduce(total.arg[0], load(memory, q), q)
    made = replace(kernel, body=end(store(memory, r, total.src[0]), r))
    rest = replace(kernel, body=simplify(substitute([kernel.body], {total: whole}))[0])
    return [made, *launches(rest, position + 1)]
