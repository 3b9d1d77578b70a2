"""Kernels in order: bodies of the stored nodes, merged where they run over the same ranges.

In: the stored nodes. Out: groups of STOREs, each one kernel, sources before users. Two bodies over
one grid are one kernel when the later reads the earlier only at the very element that it wrote.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anneal.lowering.kernels import kernel_body
from anneal.lowering.rangeify import points
from anneal.uop import dtypes, ops
from anneal.uop.uop import UOp, substitute, toposort

# Reductions in one kernel: each more loop makes every thread's work longer.
_MOST_REDUCTIONS = 4


@dataclass(frozen=True, slots=True)
class Body:
    """One kernel before its names: STOREs whose ARGs carry the tensor node they stand for."""

    stores: tuple[UOp, ...]
    outputs: tuple[UOp, ...]
    inputs: tuple[UOp, ...]


def bodies(stored: Sequence[UOp], max_buffers: int) -> list[Body]:
    """The kernels that compute the stored nodes."""
    slots = {u: i for i, u in enumerate(u for u in toposort(stored)
                                        if u.op is ops.PARAM or u in set(stored))}  # fmt: skip
    arg_of = {u: UOp(ops.ARG, u.dtype, (), (i, points(u.shape))) for u, i in slots.items()}
    node_of = {a: u for u, a in arg_of.items()}
    out: list[Body] = []
    for u in stored:
        args = {n: a for n, a in arg_of.items() if n is not u}
        out.append(_body((kernel_body(u, arg_of[u], args),), node_of))
    return _merged(out, arg_of, node_of, max_buffers)


def _body(stores: tuple[UOp, ...], node_of: Mapping[UOp, UOp]) -> Body:
    outputs = tuple(node_of[s.src[0]] for s in stores)
    loads = dict.fromkeys(node_of[n.src[0]] for n in toposort(stores) if n.op is ops.LOAD)
    return Body(stores, outputs, tuple(loads))


def _merged(kernels: list[Body], arg_of: Mapping[UOp, UOp], node_of: Mapping[UOp, UOp],
            max_buffers: int) -> list[Body]:  # fmt: skip
    done: list[Body] = []
    for later in kernels:
        for i in range(len(done) - 1, -1, -1):
            earlier = done[i]
            if _reaches(done[i + 1 :], earlier, later):
                continue
            both = _merge(earlier, later, arg_of, node_of)
            if both is not None and len(both.outputs) + len(both.inputs) <= max_buffers:
                done.pop(i)
                later = both
                break
        done.append(later)
    return _ordered(done)


def _reaches(between: Sequence[Body], first: Body, last: Body) -> bool:
    """Whether `last` needs `first` by way of another kernel."""
    tainted = set(first.outputs)
    for k in between:
        if tainted.intersection(k.inputs):
            tainted.update(k.outputs)
    return bool((tainted - set(first.outputs)).intersection(last.inputs))


def _merge(a: Body, b: Body, arg_of: Mapping[UOp, UOp], node_of: Mapping[UOp, UOp]) -> Body | None:
    if a.outputs[0].shape != b.outputs[0].shape or a.stores[0].src[1] is not b.stores[0].src[1]:
        return None
    shared = set(a.inputs) & set(b.inputs)
    if not shared and not set(a.outputs) & set(b.inputs):
        return None  # nothing to gain
    stores = _apart(a, b)
    known = {UOp(ops.LOAD, s.dtype, (s.src[0], s.src[1])): s.src[2] for s in a.stores}
    stores = tuple(substitute(stores, known))
    both = _body((*a.stores, *stores), node_of)
    if set(both.inputs) & set(both.outputs):
        return None
    if sum(n.op is ops.REDUCE for n in toposort(both.stores)) > _MOST_REDUCTIONS:
        return None
    return both


def _apart(a: Body, b: Body) -> tuple[UOp, ...]:
    """`b`'s stores with reduce ranges numbered after `a`'s: a range belongs to one reduction."""
    taken = [n.arg[0] for n in toposort(a.stores) if n.op is ops.RANGE]
    first = 1 + max(taken, default=-1)
    mine = [n for n in toposort(b.stores) if n.op is ops.RANGE and n.arg[1] == "reduce"]
    fresh = {n: UOp(ops.RANGE, dtypes.index, n.src, (first + i, "reduce"))
             for i, n in enumerate(mine)}  # fmt: skip
    return tuple(substitute(b.stores, fresh))


def _ordered(kernels: list[Body]) -> list[Body]:
    """Sources before users; otherwise as given."""
    maker = {u: k for k in kernels for u in k.outputs}
    done: dict[int, Body] = {}
    todo = kernels[::-1]
    while todo:
        k = todo[-1]
        pending = [maker[u] for u in k.inputs if u in maker and id(maker[u]) not in done]
        if pending:
            todo += pending
            continue
        done[id(k)] = k
        todo.pop()
    return list(done.values())
