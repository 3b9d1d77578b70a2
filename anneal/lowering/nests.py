"""Statements of the scheduler as kernels: the values of `kernel/ir.py`.

In: a grid and guarded statements, whose ARGs are numbered as the launch binds them. Out: one
kernel for each set of grid ranges that statements run over, in order: a loop nest that no Opt has
touched. REGISTERS become STAGEs, LOADs that wait for a loop AFTERs, scatters carried memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from anneal.kernel.ir import (
    BINDERS,
    EFFECTS,
    Kernel,
    after,
    argument,
    axis,
    block,
    conjuncts,
    end,
    free,
    load,
    memory_of,
    reduce,
    size_of,
    stage,
    store,
    terms,
)
from anneal.lowering.kernels import Guarded
from anneal.uop import dtypes, ops
from anneal.uop.symbolic import bounds, simplify
from anneal.uop.uop import UOp, rebuild, substitute, toposort


def kernels_of(grid: Sequence[UOp], parts: Sequence[Guarded]) -> list[Kernel]:
    """The kernels of one launch of today's schedule; a part that runs where some of the grid's
    ranges are zero is a nest without those."""
    maker = _Maker([s for p in parts for s in p.statements])
    out: list[Kernel] = []
    for part in parts:
        zero = set(toposort([part.condition])) if part.condition is not None else set()
        ranges = [maker.done.get(r) or maker.range(r) for r in grid if r not in zero]
        effects = [e for s in part.statements if (e := maker.done[s]).op in EFFECTS]
        if not effects:  # registers only, which another part reads
            continue
        body = block(*_read_before_written(effects))
        (body,) = simplify([merged(gated(end(body, *ranges)))])
        out.append(Kernel(body))
    return out


def _read_before_written(effects: list[UOp]) -> list[UOp]:
    """`effects`, where each waits for the others to read what it overwrites in its place."""
    order = toposort(effects)
    loads: dict[UOp, list[UOp]] = {}
    for u in order:
        if u.op is ops.LOAD and u.src[0].op is ops.ARG:
            loads.setdefault(u.src[0], []).append(u)
    done: dict[UOp, UOp] = {}
    for u in order:
        src = tuple([done[s] for s in u.src])
        if u.op is ops.STORE:
            own = set(toposort([u]))
            others = [done.get(x, x) for x in loads.get(memory_of(u), ())
                      if x not in own and u not in toposort([x])]  # fmt: skip
            src = (after(src[0], *others), *src[1:])
        done[u] = rebuild(u, src)
    return [done[e] for e in effects]


class _Maker:
    """Every node of the statements in the new form."""

    def __init__(self, statements: Sequence[UOp]) -> None:
        self.done: dict[UOp, UOp] = {}
        self.names: dict[str, UOp] = {}
        self.kept: dict[UOp, UOp] = {}  # of REGISTERS the statement that fills them
        for u in toposort(statements):
            if u.op is ops.FOR or u.op is ops.STORE:
                inner = u.src[0] if u.op is ops.FOR else u
                if inner.src[0].op is ops.REGISTERS and (u.op is ops.FOR or inner.src[0]
                                                         not in self.kept):  # fmt: skip
                    self.kept[inner.src[0]] = u
        for u in toposort(statements):
            self.done[u] = self._made(u)

    def range(self, r: UOp) -> UOp:
        number, kind = r.arg
        name = f"{'g' if kind == 'grid' else 'r'}{number}"
        if self.names.setdefault(name, r) is not r:
            name = f"{name}.{len(self.names)}"
            self.names[name] = r
        made = axis(int(r.src[0].arg), name)
        self.done[r] = made
        return made

    def _made(self, u: UOp) -> UOp:
        if u.op is ops.RANGE:
            return self.range(u)
        if u.op is ops.ARG:
            return argument(u.arg[0], u.dtype, u.arg[1])
        src = [self.done[s] for s in u.src]
        if u.op is ops.REGISTERS:
            return u  # until its statement is known
        if u.op is ops.LOAD:
            return self._load(u, src)
        if u.op is ops.REDUCE:
            return reduce(u.arg[0], src[0], *src[1:])
        if u.op is ops.STORE:
            return self._store(u, src)
        if u.op is ops.FOR:
            return self._for(u, src)
        return rebuild(u, tuple(src))

    def _load(self, u: UOp, src: list[UOp]) -> UOp:
        memory, index, *order = src
        if u.src[0].op is ops.REGISTERS:
            return load(self.done[u.src[0]], index)
        edges = [e for e in order if e.op in (ops.END, ops.STORE, ops.RANGE)]
        return load(after(memory, *edges), index)

    def _store(self, u: UOp, src: list[UOp]) -> UOp:
        memory, index, value = src
        if u.src[0].op is ops.REGISTERS:
            return value
        # What the value reads of the memory after a loop was written by it, and stays.
        edges = [e for n in toposort([value]) if n.op is ops.AFTER and n.src[0] is memory
                 for e in n.src[1:] if e.op is not ops.RANGE]  # fmt: skip
        return store(after(memory, *edges), index, value)

    def _for(self, u: UOp, src: list[UOp]) -> UOp:
        inner = u.src[0]
        if inner.src[0].op is not ops.REGISTERS:
            return end(src[0], *src[1:])
        (index,) = simplify([self.done[inner.src[1]]])
        steps = terms(index)
        strides = [steps.get(r, 0) for r in src[1:]]
        made = stage(src[0], *src[1:], strides=strides)
        self.done[inner.src[0]] = made
        return made


def merged(body: UOp) -> UOp:
    """`body` with sums of sums as one, also where a condition of the outer ones is between."""
    done: dict[UOp, UOp] = {}
    for u in toposort([body]):
        new = rebuild(u, tuple([done[s] for s in u.src]))
        if u.op is ops.REDUCE and u.arg[0] == "add":
            new = _merged_sum(new)
        done[u] = new
    return done[body]


def _merged_sum(u: UOp) -> UOp:
    x, condition = u.src[0], None
    if x.op is ops.WHERE and x.src[2].op is ops.CONST and x.src[2].arg == 0:
        condition, x, zero = x.src
    if x.op is not ops.REDUCE or x.arg != u.arg or set(x.src[1:]) & set(u.src[1:]):
        return u
    if condition is None:
        return reduce("add", x.src[0], *u.src[1:], *x.src[1:])
    if not free(condition).isdisjoint(x.src[1:]):
        return u
    return reduce("add", condition.where(x.src[0], zero), *u.src[1:], *x.src[1:])


def gated(body: UOp) -> UOp:
    """`body` where a LOAD that only a WHERE keeps inside of its memory has the condition itself: a
    padding's elements are never read."""
    unsafe = _unsafe(body)
    done: dict[tuple[UOp, UOp | None], UOp] = {}
    todo: list[tuple[UOp, UOp | None]] = [(body, None)]
    while todo:
        u, gate = todo[-1]
        if u not in unsafe:
            done[u, gate] = u
        if (u, gate) in done:
            todo.pop()
            continue
        wanted = [(s, _under(u, n, gate)) for n, s in enumerate(u.src)]
        pending = [w for w in wanted if w not in done]
        if pending:
            todo += reversed(pending)
            continue
        made = rebuild(u, tuple([done[w] for w in wanted]))
        if u.op is ops.LOAD and len(u.src) == 2 and gate is not None and not _is_inside(u):
            made = load(made.src[0], made.src[1], gate)
        elif u.op is ops.WHERE and _is_gate_of(*made.src):
            made = made.src[1]
        done[u, gate] = made
        todo.pop()
    return done[body, None]


def _under(u: UOp, n: int, gate: UOp | None) -> UOp | None:
    """The condition under which source `n` of `u` is wanted, given that of `u`: what a STAGE holds
    and what an AFTER waits for is wanted in any case, and a binder's ranges are others than those
    of a condition outside."""
    if u.op is ops.STAGE or (u.op is ops.AFTER and n > 0):
        return None
    if gate is not None and u.op in BINDERS and not free(gate).isdisjoint(u.src[1:]):
        return None
    if u.op is not ops.WHERE or n == 0 or not _is_about_indices(u.src[0]):
        return gate
    mine = u.src[0] if n == 1 else u.src[0].logical_not()
    return mine if gate is None else gate & mine


def _is_gate_of(condition: UOp, yes: UOp, no: UOp) -> bool:
    """Whether `yes` gives `no` without the condition, by what its LOADs then give."""
    wanted = set(conjuncts(condition))
    outside = {n: n.src[3] for n in toposort([yes], stop=lambda n: n.op in (ops.LOAD, *BINDERS))
               if n.op is ops.LOAD and len(n.src) > 2 and wanted <= set(conjuncts(n.src[2]))}
    return bool(outside) and simplify(substitute([yes], outside))[0] is no


def _is_about_indices(condition: UOp) -> bool:
    """Whether a condition only compares counters."""
    return all(n.dtype in (dtypes.index, dtypes.bool_) and n.op is not ops.LOAD
               for n in toposort([condition]))  # fmt: skip


def _is_inside(u: UOp) -> bool:
    low, high = bounds(u.src[1])
    return low >= 0 and high < int(size_of(memory_of(u)).arg)


def _unsafe(body: UOp) -> set[UOp]:
    """What is above a LOAD that may be outside of its memory."""
    found: set[UOp] = set()
    for u in toposort([body]):
        if u.op is ops.LOAD and not _is_inside(u) or any(s in found for s in u.src):
            found.add(u)
    return found
