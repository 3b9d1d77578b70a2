"""The kernel level: one scalar at a time, over named ranges. A kernel is a value.

    Kernel(body, opts, name)              an effect, the Opts that shaped it, and what it is called
    RANGE(size; name, kind)               a counter; its kind says who counts: see KINDS
    ARG(size; position)                   a buffer that the kernel is given
    LOAD(memory, index[, gate, other])    an element; `other` where the gate is false
    STORE(memory, index, value[, gate])   an effect: it has no value
    REDUCE(value, *ranges; how)           all its values combined
    STAGE(value, *ranges; space, strides) memory that holds the value for all counts of the ranges
    AFTER(memory, *edges)                 order: see below
    END(effect, *ranges)                  the effect for every count, the first range outermost
    BLOCK(*effects)                       all of them, in no order but that of AFTER

A node depends on the ranges *free* in it, which REDUCE, STAGE and END bind. They alone decide where
it is computed: in the innermost of the loops that it depends on. Reductions over the same RANGE
node share a loop.

Order is edges, and only memory that was given needs them, as a STAGE is a value.
AFTER(memory, effect) reads what the effect wrote; AFTER(memory, load) writes what the load has
read; AFTER(memory, range) is the memory when an iteration of the range begins, as the one before
left it: the range *carries* the memory.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.symbolic import hi, simplify
from anneal.uop.uop import Dim, UOp, const, dim_uop, rebuild, structural_key, toposort

# Who counts a range, outermost first. GRID: workgroups, or the chunks of work on a CPU. THREAD: the
# threads of a CPU. LOCAL: the invocations of a workgroup. LOOP: an instruction stream. UNROLL: its
# text, written for each count. VECTOR: the lanes of a register.
KINDS = ("grid", "thread", "local", "loop", "unroll", "vector")
PARALLEL = frozenset({"grid", "thread", "local"})
SPACES = ("register", "workgroup", "buffer")

BINDERS = frozenset({ops.REDUCE, ops.STAGE, ops.END})
EFFECTS = frozenset({ops.STORE, ops.END, ops.BLOCK})

_NONE: frozenset[UOp] = frozenset()
ZERO = const(0, dtypes.index)


# -- building --------------------------------------------------------------------------------------


def axis(size: Dim, name: str, kind: str = "loop") -> UOp:
    """A RANGE that counts from 0 to `size` - 1."""
    return UOp(ops.RANGE, dtypes.index, (dim_uop(size),), (name, kind))


def argument(position: int, dtype: DType, size: Dim) -> UOp:
    """The buffer that the kernel is given in this place."""
    return UOp(ops.ARG, dtype, (dim_uop(size),), position)


def load(memory: UOp, index: UOp, gate: UOp | None = None, other: UOp | None = None) -> UOp:
    """An element of `memory`; where the gate is false `other`, or 0, and nothing is read."""
    if gate is None:
        return UOp(ops.LOAD, memory.dtype, (memory, index))
    other = const(0, memory.dtype) if other is None else other
    return UOp(ops.LOAD, memory.dtype, (memory, index, gate, other))


def store(memory: UOp, index: UOp, value: UOp, gate: UOp | None = None) -> UOp:
    """Writes an element, where the gate is true."""
    return UOp(ops.STORE, dtypes.void, (memory, index, value, *(() if gate is None else (gate,))))


def after(memory: UOp, *edges: UOp) -> UOp:
    """`memory` in the order that `edges` (effects, loads, ranges) ask for."""
    if memory.op is ops.AFTER:
        memory, edges = memory.src[0], (*memory.src[1:], *edges)
    return UOp(ops.AFTER, memory.dtype, (memory, *dict.fromkeys(edges))) if edges else memory


def end(effect: UOp, *ranges: UOp) -> UOp:
    """The effect for every count of `ranges`; nested ENDs are one."""
    if not ranges:
        return effect
    if effect.op is ops.END:
        effect, ranges = effect.src[0], (*ranges, *effect.src[1:])
    return UOp(ops.END, dtypes.void, (effect, *ranges))


def block(*effects: UOp) -> UOp:
    return effects[0] if len(effects) == 1 else UOp(ops.BLOCK, dtypes.void, effects)


def reduce(how: str, value: UOp, *ranges: UOp) -> UOp:
    """All values combined by `how`: add, mul, max or min."""
    return UOp(ops.REDUCE, value.dtype, (value, *ranges), (how, ())) if ranges else value


def stage(value: UOp, *ranges: UOp, space: str = "register",
          strides: Sequence[int] | None = None) -> UOp:  # fmt: skip
    """Memory for `value`, row-major in the order of `ranges` unless `strides` say otherwise."""
    if strides is None:
        sizes = [int(r.src[0].arg) for r in ranges]
        strides = [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    return UOp(ops.STAGE, value.dtype, (value, *ranges), (space, tuple(strides)))


# -- reading ---------------------------------------------------------------------------------------


def memory_of(u: UOp) -> UOp:
    """The ARG or STAGE that a LOAD or STORE, or an AFTER, is about."""
    if u.op not in (ops.ARG, ops.STAGE):
        u = u.src[0] if u.op is not ops.AFTER else u
    while u.op is ops.AFTER:
        u = u.src[0]
    return u


def staged_position(s: UOp, index: Sequence[UOp]) -> UOp:
    """Where a STAGE holds its value for these counts of its ranges."""
    where: UOp = ZERO
    for x, n in zip(index, s.arg[1], strict=True):
        where = where + x * n
    return simplify([where])[0]


def size_of(memory: UOp) -> UOp:
    """The number of elements of an ARG or STAGE."""
    if memory.op is ops.ARG:
        return memory.src[0]
    reach = sum((hi(r.src[0]) - 1) * n for r, n in zip(memory.src[1:], memory.arg[1], strict=True))
    return const(reach + 1, dtypes.index)


def free(u: UOp) -> frozenset[UOp]:
    """The ranges that `u` depends on and does not bind."""
    if u._free is not None:
        return u._free
    todo = [u]
    while todo:
        n = todo[-1]
        if n._free is None:
            pending = [s for s in n.src if s._free is None]
            if pending:
                todo += pending
                continue
            n._free = _free(n)
        todo.pop()
    assert u._free is not None
    return u._free


def _free(u: UOp) -> frozenset[UOp]:
    if u.op is ops.RANGE:
        return frozenset((u,))
    found = _NONE
    for s in u.src[:1] if u.op in BINDERS else u.src:
        more = s._free or _NONE
        if more and more is not found:
            found = found | more if found else more
    return found.difference(u.src[1:]) if u.op in BINDERS and found else found


def name_of(r: UOp) -> str:
    return str(r.arg[0])


def kind_of(r: UOp) -> str:
    return str(r.arg[1])


def count_of(r: UOp) -> int | None:
    """How far a range counts, where that is a number."""
    return int(r.src[0].arg) if r.src[0].op is ops.CONST else None


def terms(index: UOp) -> dict[UOp | None, int]:
    """An index as a sum of multiples: what is multiplied, and by how much; None is the constant."""
    out: dict[UOp | None, int] = {}
    todo = [(index, 1)]
    while todo:
        u, m = todo.pop()
        if u.op is ops.CONST:
            out[None] = out.get(None, 0) + m * int(u.arg)
        elif u.op is ops.ADD:
            todo += [(u.src[1], m), (u.src[0], m)]
        elif u.op is ops.SUB:
            todo += [(u.src[1], -m), (u.src[0], m)]
        elif u.op is ops.MUL and u.src[1].op is ops.CONST:
            todo.append((u.src[0], m * int(u.src[1].arg)))
        else:
            out[u] = out.get(u, 0) + m
    return out


def conjuncts(gate: UOp) -> list[UOp]:
    """What a gate is the conjunction of; the gate alone, if it is none."""
    found, todo = [], [gate]
    while todo:
        u = todo.pop()
        if u.op is ops.AND:
            todo += u.src
        else:
            found.append(u)
    return found


def loops_around(kernel: Kernel) -> dict[UOp, frozenset[UOp]]:
    """The ranges in whose loops each range counts: what depends on a range is computed in its loop,
    and so in all loops around that."""
    found: dict[UOp, frozenset[UOp]] = {}
    for u in reversed(kernel.nodes):
        if u.op in BINDERS:
            outer = free(u).union(*(found.get(r, _NONE) for r in free(u)))
            for n, r in enumerate(u.src[1:]):
                found[r] = found.get(r, _NONE) | outer | frozenset(u.src[1 : 1 + n])
    return found


@dataclass(frozen=True, slots=True)
class Opt:
    """A step of a schedule (`kernel/opts.py`): its name and its arguments, ranges by name."""

    name: str
    args: tuple[str | int, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.args))})"


@dataclass(frozen=True)
class Kernel:
    """A loop nest over memory, and the Opts that shaped it; a name, which those leave as it is.
    Printing shows it as code."""

    body: UOp
    opts: tuple[Opt, ...] = ()
    name: str = ""

    @functools.cached_property
    def nodes(self) -> tuple[UOp, ...]:
        """Every node, sources first."""
        return tuple(toposort([self.body]))

    @functools.cached_property
    def key(self) -> str:
        """A digest of its structure, equal across processes."""
        return structural_key([self.body])

    @property
    def reduces(self) -> bool:
        """Whether it has a reduction."""
        return any(u.op is ops.REDUCE for u in self.nodes)

    @functools.cached_property
    def params(self) -> tuple[UOp, ...]:
        """The ARGs, by position."""
        return tuple(sorted((u for u in self.nodes if u.op is ops.ARG), key=lambda u: u.arg))

    @property
    def written(self) -> frozenset[UOp]:
        """The ARGs that are written."""
        return frozenset(memory_of(u) for u in self.nodes if u.op is ops.STORE)

    @property
    def variables(self) -> tuple[UOp, ...]:
        """The VARs, by name."""
        return tuple(sorted((u for u in self.nodes if u.op is ops.VAR), key=lambda u: u.arg[0]))

    @functools.cached_property
    def ranges(self) -> tuple[UOp, ...]:
        """Every RANGE, in the order in which it is bound, outermost first."""
        found: dict[UOp, None] = {}
        for u in reversed(self.nodes):
            if u.op in BINDERS:
                found.update(dict.fromkeys(u.src[1:]))
        return tuple(found)

    @functools.cached_property
    def carried(self) -> frozenset[UOp]:
        """The ranges that carry memory from one iteration to the next."""
        return frozenset(s for u in self.nodes if u.op is ops.AFTER
                         for s in u.src[1:] if s.op is ops.RANGE)  # fmt: skip

    def __str__(self) -> str:
        from anneal.kernel.show import show_kernel

        return show_kernel(self)


def instantiated(root: UOp, r: UOp, value: UOp) -> UOp:
    """`root` with `value` for the count `r` where it is free; what binds `r` itself stays."""
    done: dict[UOp, UOp] = {r: value}
    for u in toposort([root], stop=lambda u: r not in free(u)):
        if u not in done:
            kept = r not in free(u)
            done[u] = u if kept else _rebuilt(u, done)
    return done[root]


def _rebuilt(u: UOp, done: Mapping[UOp, UOp]) -> UOp:
    """`u` of new sources; the ranges that it binds are no sources."""
    bound = u.src[1:] if u.op in BINDERS else ()
    return rebuild(u, tuple([s if s in bound else done[s] for s in u.src]))


def waits(effect: UOp) -> list[UOp]:
    """The effects that edges put before `effect`, in order."""
    nodes = toposort([effect])
    edges = {s for u in nodes if u.op is ops.AFTER for s in u.src[1:]}
    return [u for u in nodes if u in edges and u.op in EFFECTS]
