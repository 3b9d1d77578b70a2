"""The invocations of a workgroup share the loops of one point of the grid: a row of a softmax.

In: the grid and statements of a kernel. Out: the statements for one of LANES invocations. A long
loop takes every LANES-th iteration, so that neighbours read neighbours; a sum over it is a GROUP of
partial sums; what a loop stores is there for all once a BARRIER follows it. Of loops in loops, one
is shared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from anneal.lowering.kernels import identity, kernel_range
from anneal.lowering.linearize import Guarded
from anneal.uop import dtypes, ops
from anneal.uop.symbolic import simplify
from anneal.uop.uop import UOp, const, rebuild, substitute, toposort

LANES = 64
LANE = UOp(ops.RANGE, dtypes.index, (const(LANES, dtypes.index),), (-1, "lane"))
_FIRST = LANE.eq(0)
# Iterations of a loop that may be shared, and of the longest if any is.
_SHORT, _LONG = LANES, 2 * LANES
# Points of the grid that keep a device busy alone: above, sharing pays only where it makes
# neighbours read neighbouring elements.
_FEW = 1024

Parts = tuple[Guarded, ...]


def shared(grid: Sequence[UOp], parts: Parts) -> Parts | None:
    """`parts` for one lane of a workgroup at each point of the grid; None if that does not pay."""
    points = math.prod(map(_size, grid))
    nodes = toposort(s for p in parts for s in p.statements)
    if not _may_be_shared(nodes, parts):
        return None
    chosen = _chosen(nodes)
    if not chosen or max(map(_size, chosen)) < _LONG:
        return None
    if points > _FEW and not all(_is_contiguous(r, nodes) for r in chosen):
        return None
    done = _for_a_lane(nodes, chosen)
    return tuple([Guarded(p.condition, tuple(simplify([done[s] for s in p.statements])))
                  for p in parts])  # fmt: skip


def _may_be_shared(nodes: Sequence[UOp], parts: Parts) -> bool:
    """Whether no lane reads what another overwrites: no scatters, and updates in place only of a
    loop's own elements."""
    loads = [n for n in nodes if n.op is ops.LOAD]
    if any(s.op is ops.RANGE for n in loads for s in n.src[2:]):
        return False
    read = {n.src[0] for n in loads if len(n.src) == 2}
    return not any(s.op is ops.STORE and s.src[0] in read for p in parts for s in p.statements)


def _chosen(nodes: Sequence[UOp]) -> list[UOp]:
    """The loop counters to share, the longest first: no value may depend on two of them."""
    together: dict[frozenset[UOp], None] = {}
    below: dict[UOp, frozenset[UOp]] = {}
    for u in nodes:
        own = (u,) if u.op is ops.RANGE and u.arg[1] == "loop" else ()
        found = frozenset[UOp](own).union(*(below[s] for s in u.src))
        together[found] = None
        below[u] = found - frozenset(u.src[1:]) if u.op in (ops.REDUCE, ops.FOR) else found
    chosen: list[UOp] = []
    loops = {r for group in together for r in group}
    for r in sorted(loops, key=lambda r: (-_size(r), r.arg[0])):
        others = {c for group in together if r in group for c in group}
        if _size(r) >= _SHORT and not others.intersection(chosen):
            chosen.append(r)
    return chosen


def _is_contiguous(r: UOp, nodes: Sequence[UOp]) -> bool:
    """Whether loads read neighbouring elements for neighbouring values of `r`, or the same."""
    indices = [n.src[1] for n in nodes if n.op is ops.LOAD]
    steps = simplify([substitute([i], {r: r + 1})[0] - i for i in indices])
    return all(s.op is ops.CONST and s.arg in (0, 1) for s in steps)


def _for_a_lane(nodes: Sequence[UOp], chosen: Sequence[UOp]) -> dict[UOp, UOp]:
    """Every node as one lane computes it."""
    done: dict[UOp, UOp] = {}
    left: dict[UOp, UOp] = {}
    inside: dict[UOp, UOp] = {}
    for r in chosen:
        left[r] = kernel_range(r.arg[0], -(-_size(r) // LANES), "loop")
        done[r] = left[r] * LANES + LANE
        if _size(r) % LANES:
            inside[r] = done[r] < _size(r)
            done[r] = done[r].minimum(_size(r) - 1)
    for u in nodes:
        if u in done:
            continue
        if u.op is ops.REDUCE or u.op is ops.FOR:
            done[u] = _loop(u, done, left, inside)
        elif u.op is ops.REGISTERS:
            done[u] = UOp(ops.WORKGROUP, u.dtype, (), u.arg)
        elif u.op is ops.STORE:
            done[u] = rebuild(u, (*[done[s] for s in u.src], _FIRST))
        elif u.op is ops.LOAD:
            after = [UOp(ops.BARRIER, s.dtype, (done[s],)) for s in u.src[2:]]
            done[u] = rebuild(u, (*[done[s] for s in u.src[:2]], *after))
        else:
            done[u] = rebuild(u, tuple([done[s] for s in u.src]))
    return done


def _loop(u: UOp, done: Mapping[UOp, UOp], left: Mapping[UOp, UOp],
          inside: Mapping[UOp, UOp]) -> UOp:  # fmt: skip
    """A loop over what is left to this lane, if its counter is shared; else by the first lane."""
    ranges = [left.get(r, r) for r in u.src[1:]]
    shared = next((r for r in u.src[1:] if r in left), None)
    if shared is None:
        return rebuild(u, (done[u.src[0]], *ranges))
    if u.op is ops.FOR:
        store = u.src[0]
        condition = [inside[shared]] if shared in inside else []
        store = rebuild(store, (*[done[s] for s in store.src], *condition))
        return rebuild(u, (store, *ranges))
    body = done[u.src[0]]
    if shared in inside:
        body = inside[shared].where(body, const(identity(u.arg[0], u.dtype), u.dtype))
    return UOp(ops.GROUP, u.dtype, (rebuild(u, (body, *ranges)), LANE), u.arg[0])


def _size(r: UOp) -> int:
    return int(r.src[0].arg)
