"""Kernels: the stored nodes in groups, each group one kernel.

In: the stored nodes, sources first. Out: kernels in order, each with its statements.

A kernel's *domain* are the grid ranges: one invocation for every point. Each node of a group is
placed in the domain: every axis of it is a range of the domain, or a loop of its own; ranges of the
domain that it lacks must be zero, so that one invocation computes it. A node may join the group
that makes what it reads if every element that it reads of the group is made by the same invocation.
Then a row's maximum, the sum of its exponentials and the row itself are one kernel over the rows:
softmax, layer norm, cross-entropy with its gradient, an optimizer's update after the gradient it
reads, are this one rule. What only the group reads stays in registers.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import TopologicalSorter

from anneal.lowering.kernels import (
    ZERO,
    Element,
    Guarded,
    Index,
    combined,
    element,
    flat,
    identity,
    is_scatter,
    kernel_range,
)
from anneal.lowering.limits import MOST_ITERATIONS, trips
from anneal.lowering.rangeify import points
from anneal.lowering.split import is_for_many
from anneal.uop import ops
from anneal.uop.symbolic import simplify
from anneal.uop.uop import UOp, substitute, toposort

# Elements that one invocation keeps in registers between its loops.
_MOST_REGISTERS = 64
# Elements of a matrix product that one invocation computes in turn: more would need the parallel
# work, and a tile of both axes.
_SHORT_ROW = 64
# Work of one invocation, in additions, that pays for a kernel less.
_MOST_SERIAL = 1 << 17
# Fewer invocations than this leave the device idle, unless there is little to do at all.
_FEWEST_ROWS = 8
_LITTLE_WORK = 1 << 13
# Nodes, reductions and operations of a group: longer kernels cost more to compile than they save.
_MOST_NODES = 24
_MOST_REDUCTIONS = 10
_MOST_OPERATIONS = 512
# Domains of results this small leave most of the device idle: several share a kernel.
_SMALL_DOMAIN = 1 << 14
# Groups that read the same buffer and may take in a sibling, latest first.
_SIBLINGS = 4


@dataclass(frozen=True, slots=True)
class Body:
    """One kernel: statements over `grid`, the tensor nodes that it writes and reads. The ARG of a
    node carries its number in `args`."""

    grid: tuple[UOp, ...]
    parts: tuple[Guarded, ...]
    outputs: tuple[UOp, ...]
    inputs: tuple[UOp, ...]
    args: Mapping[UOp, UOp]

    @property
    def statements(self) -> tuple[UOp, ...]:
        return tuple(s for p in self.parts for s in p.statements)


Axes = tuple[int | None, ...]


@dataclass(slots=True, eq=False)
class _Group:
    """Nodes of one kernel so far. `domain`: sizes of the grid, by number; `place`: of each axis of
    a node the number of its grid range, or None for a loop."""

    rank: int
    domain: dict[int, int]
    place: dict[UOp, Axes] = field(default_factory=dict)

    def guard(self, u: UOp) -> frozenset[int]:
        """The grid ranges that must be zero where `u` is computed."""
        return frozenset(self.domain) - {a for a in self.place[u] if a is not None}


def bodies(stored: Sequence[UOp], outputs: Iterable[UOp], max_buffers: int,
           waits: Mapping[UOp, Sequence[UOp]]) -> list[Body]:  # fmt: skip
    """The kernels that compute the stored nodes, in order, none binding more than `max_buffers`
    where that is possible; with 0 every node is a kernel of its own. `waits`: of each AFTER what
    must be computed first."""
    return _Scheduler(stored, frozenset(outputs), max_buffers, waits).run()


class _Scheduler:
    def __init__(self, stored: Sequence[UOp], outputs: frozenset[UOp], max_buffers: int,
                 waits: Mapping[UOp, Sequence[UOp]]) -> None:  # fmt: skip
        self.stored = stored
        self.outputs = outputs
        self.max_buffers = max_buffers
        buffers = set(stored)
        nodes = [u for u in toposort(stored) if u.op is ops.PARAM or u in buffers]
        self.args = {u: UOp(ops.ARG, u.dtype, (), (i, points(u.shape)))
                     for i, u in enumerate(nodes)}  # fmt: skip
        self.node_of = {a: u for u, a in self.args.items()}
        self.elements = {u: element(u, _own_index(u), self.args) for u in stored}
        self.reads = {u: dict.fromkeys(n for n, _ in e.loads.values())
                      for u, e in self.elements.items()}  # fmt: skip
        below = {u: toposort([e.value]) for u, e in self.elements.items()}
        self.operations = {u: len(nodes) for u, nodes in below.items()}
        self.reduces = {u: {n: _below(n) for n in nodes if n.op is ops.REDUCE}
                        for u, nodes in below.items()}  # fmt: skip
        self.work = {u: _work(e, self.reduces[u].values()) for u, e in self.elements.items()}
        self.readers: dict[UOp, set[UOp]] = {}
        for u, read in self.reads.items():
            for n in read:
                self.readers.setdefault(n, set()).add(u)
        scatters = [u for u in stored if is_scatter(u) and len(u.src) == 3]
        self.shared = {n for u in scatters for n in (u, u.src[2])}
        self.waits = self._waits(waits) if waits else {}
        self.group_of: dict[UOp, _Group] = {}
        self.groups: list[_Group] = []
        self.groups_reading: dict[UOp, list[_Group]] = {}

    def run(self) -> list[Body]:
        for u in self._by_level():
            group = self._joined(u) or self._alone(u)
            self.group_of[u] = group
            for n in self.reads[u]:
                known = self.groups_reading.setdefault(n, [])
                if group not in known[-1:]:
                    known.append(group)
        for g in list(self.groups):
            self._merge_into_reader(g)
        for g in list(self.groups):
            self._run_beside(g)
        return [_Assembly(self, g).body() for g in self.groups]

    def _merge_into_reader(self, g: _Group) -> None:
        """A node alone, read by one kernel only, moves there if the invocations fit."""
        if len(g.place) != 1:
            return
        (u,) = g.place
        if is_scatter(u):
            return
        readers = self.readers.get(u, set())
        homes = {id(self.group_of[v]): self.group_of[v] for v in readers}
        if len(homes) != 1 or u in self.outputs:
            return
        (home,) = homes.values()
        place: list[int | None] = [None] * len(u.shape)
        for v in readers:
            e = self.elements[v]
            number = {x: a for x, a in zip(e.index, home.place[v], strict=True) if x is not ZERO}
            for n, index in e.loads.values():
                for k, x in enumerate(index if n is u else ()):
                    if x is not ZERO:
                        place[k] = number.get(x)
        made = _Group(home.rank, home.domain, {u: tuple(place), **home.place})
        if any(a is None or home.domain[a] != d
               for a, d in zip(place, u.shape, strict=True) if d != 1):  # fmt: skip
            return
        if all(self._same_invocation(made, v) for v in made.place) and self._worth(home, made, u):
            self._move(g, home, made)

    def _run_beside(self, g: _Group) -> None:
        """Results that no kernel reads run beside a later kernel's work: a few additions in one of
        its invocations, or small updates over a domain of the same lengths."""
        if any(self.readers.get(u) for u in g.place):
            return
        if g.domain and math.prod(g.domain.values()) > _SMALL_DOMAIN:
            return
        if not g.domain and sum(self.work[u] for u in g.place) > _LITTLE_WORK:
            return
        last = max((self.group_of[n].rank for u in g.place for n in self._before(u)
                    if n in self.group_of and n not in g.place), default=-1)  # fmt: skip
        lengths = list(g.domain.values())
        for home in reversed(self.groups):
            if home is g or home.rank <= last:
                continue
            if lengths and list(home.domain.values()) != lengths:
                continue
            if self.waits and self._last_reads(g, home):
                continue
            number = dict(zip(g.domain, home.domain, strict=False))
            moved: dict[UOp, Axes] = {u: tuple(None if a is None else number[a] for a in axes)
                                      for u, axes in g.place.items()}  # fmt: skip
            made = _Group(home.rank, home.domain, {**home.place, **moved})
            if len(self._buffers(made)) <= self.max_buffers and self._is_short(made):
                self._move(g, home, made)
                return

    def _last_reads(self, g: _Group, home: _Group) -> bool:
        """Whether something is kept only for `g` once `home` runs: where memory was worth computing
        again, it is worth a launch."""
        kept = {n for u in g.place for n in self.reads[u]} & self.elements.keys() - self.outputs
        return any(all(self.group_of[v].rank < home.rank for v in self.readers[n]) for n in kept)

    def _move(self, g: _Group, home: _Group, made: _Group) -> None:
        home.domain, home.place = made.domain, made.place
        for u in g.place:
            self.group_of[u] = home
        self.groups.remove(g)

    def _by_level(self) -> list[UOp]:
        """Stored nodes by their distance from the inputs, so that what is known early (the bias
        correction of an optimizer, say) comes before all that could wait for it."""
        level: dict[UOp, int] = {}
        order: Iterable[UOp] = self.stored
        if self.waits:
            order = TopologicalSorter({u: self._before(u) for u in self.stored}).static_order()
        for u in order:
            level[u] = 1 + max((level.get(n, 0) for n in self._before(u)), default=0)
        return sorted(self.stored, key=level.__getitem__)

    def _waits(self, waits: Mapping[UOp, Sequence[UOp]]) -> dict[UOp, list[UOp]]:
        """The stored nodes that must be computed before each, without being read by it."""
        mine = set(self.stored)
        found: dict[UOp, list[UOp]] = {}
        for u in self.stored:
            below = toposort(u.src, stop=mine.__contains__)
            afters = [n for n in below if n.op is ops.AFTER and n not in mine]
            needed = toposort([n for a in afters for n in waits[a]], stop=mine.__contains__)
            if any(n in mine for n in needed):
                found[u] = [n for n in needed if n in mine]
        return found

    def _before(self, u: UOp) -> list[UOp]:
        """The nodes that must be computed before `u`."""
        return [n for n in (*self.reads[u], *self.waits.get(u, ())) if n in self.elements]

    def _alone(self, u: UOp) -> _Group:
        group = _Group(len(self.groups), {})
        place: list[int | None] = []
        for axis, x in enumerate(self.elements[u].index):
            loops = x is ZERO or _is_scattered(u, axis)
            place.append(None if loops else len(group.domain))
            if not loops:
                group.domain[len(group.domain)] = int(x.src[0].arg)
        group.place[u] = tuple(place)
        self.groups.append(group)
        return group

    def _joined(self, u: UOp) -> _Group | None:
        """The group that `u` joins. A group after all that make what `u` reads keeps the order."""
        makers = [self.group_of[n] for n in self.reads[u] if n in self.group_of]
        last = max((self.group_of[n].rank for n in self._before(u)), default=-1)
        latest = [g for g in makers if g.rank == last][:1]
        siblings = dict.fromkeys(
            g for n in self.reads[u] for g in self.groups_reading.get(n, ())[-_SIBLINGS:]
            if g.rank >= last and g not in latest)  # fmt: skip
        others = sorted(siblings, key=lambda g: -g.rank)
        for g in (*latest, *others):
            if is_scatter(u) and any(n in g.place for n in u.src[2:]):
                continue  # what was there before is there only when its kernel has ended
            if any(is_for_many(n) and n in g.place for n in self.reads[u]):
                continue
            joined = self._placed(g, u, g in latest)
            if joined is not None and self._worth(g, joined, u):
                g.domain, g.place = joined.domain, joined.place
                return g
        return None

    # -- placing ------------------------------------------------------------------------------

    def _placed(self, g: _Group, u: UOp, reads_it: bool) -> _Group | None:
        """`g` with `u`, or None. The domain may lose ranges that become loops (if `u` reads what
        other invocations made), or gain ranges (for a sibling that has more)."""
        made = self._matched(g, u, reads_it, set())
        if made is None or self._same_invocation(made, u):
            return made
        if not reads_it:
            return None
        # What it reads is made where a range is zero, and it is wanted elsewhere: loop there.
        guards = {a for n in self.reads[u] if n in g.place for a in g.guard(n)}
        made = self._matched(g, u, reads_it, guards)
        return made if made is not None and self._same_invocation(made, u) else None

    def _matched(self, g: _Group, u: UOp, reads_it: bool, lost: set[int]) -> _Group | None:
        e = self.elements[u]
        own = {x: i for i, x in enumerate(e.index) if x is not ZERO}
        matched: dict[int, int] = {}  # axis of u: number in the domain
        pairs = self._pairs_of_makers(g, e) if reads_it else self._pairs_of_siblings(g, u)
        for number, x in pairs:
            axis = own.get(x) if x is not None else None
            # Of another length, some of its elements would be nobody's: a pad, a shrink.
            if (axis is None or u.shape[axis] != g.domain[number]
                    or _is_scattered(u, axis)):  # fmt: skip
                lost.add(number)
            elif matched.setdefault(axis, number) != number:
                lost |= {number, matched[axis]}
        taken: dict[int, int] = {}
        for axis, number in matched.items():
            if taken.setdefault(number, axis) != axis:
                lost.add(number)
        if not reads_it and (lost or not matched and u.shape != ()):
            return None
        domain = {n: size for n, size in g.domain.items() if n not in lost}
        place: dict[UOp, Axes] = {
            v: tuple(None if a in lost else a for a in axes) for v, axes in g.place.items()}
        mine: list[int | None] = []
        for axis, x in enumerate(e.index):
            number = matched.get(axis, -1)
            if _is_scattered(u, axis):
                mine.append(None)
                continue
            if x is not ZERO and number not in domain and not reads_it:
                number = 1 + max((*domain, *g.domain), default=-1)
                domain[number] = int(x.src[0].arg)
            mine.append(number if x is not ZERO and number in domain else None)
        return _Group(g.rank, domain, {**place, u: tuple(mine)})

    def _pairs_of_makers(self, g: _Group, e: Element) -> list[tuple[int, UOp | None]]:
        """For each axis of the group's nodes that `e` reads: its grid range, and what `e` reads
        there."""
        out: list[tuple[int, UOp | None]] = []
        for n, index in e.loads.values():
            for a, x in zip(g.place.get(n, ()), index, strict=False):
                if a is not None:
                    out.append((a, x))
        return out

    def _pairs_of_siblings(self, g: _Group, u: UOp) -> list[tuple[int, UOp | None]]:
        """Grid ranges of `g` and ranges of `u` that index one axis of a buffer both read."""
        theirs: dict[tuple[UOp, int], int] = {}
        for v, axes in g.place.items():
            e = self.elements[v]
            number = {x: a for x, a in zip(e.index, axes, strict=True) if x is not ZERO}
            for n, index in e.loads.values():
                for k, x in enumerate(index):
                    a = number.get(x)
                    if a is not None:
                        theirs.setdefault((n, k), a)
        own = set(self.elements[u].index)
        out: list[tuple[int, UOp | None]] = []
        for n, index in self.elements[u].loads.values():
            for k, x in enumerate(index):
                if x is not ZERO and x in own and (n, k) in theirs:
                    out.append((theirs[n, k], x))
        return out

    def _same_invocation(self, g: _Group, u: UOp) -> bool:
        """Whether all that `u` reads of `g` is made by the invocation that computes `u`."""
        e = self.elements[u]
        number = {x: a for x, a in zip(e.index, g.place[u], strict=True) if x is not ZERO}
        mine = g.guard(u)
        for n, index in e.loads.values():
            if n not in g.place or n is u:
                continue
            if not g.guard(n) <= mine:
                return False
            if any(a is not None and number.get(x) != a
                   for a, x in zip(g.place[n], index, strict=True)):  # fmt: skip
                return False
            made_there = {a for a in g.place[n] if a is not None}
            if made_there & mine:
                return False
        return True

    # -- worth --------------------------------------------------------------------------------

    def _worth(self, before: _Group, g: _Group, u: UOp) -> bool:
        if len(self._buffers(g)) > self.max_buffers:
            return False
        if not self._is_short(g, len(self.reduces[u])):
            return False
        work = sum(self.work[v] for v in g.place)
        threads = math.prod(g.domain.values())
        if threads > max(math.prod(before.domain.values()), *(points(v.shape) for v in g.place)):
            return False  # most invocations would have nothing to do
        if set(before.domain) <= set(g.domain) and all(
            None not in axes or v in before.place or self._has_no_loops(v, axes)
            for v, axes in g.place.items()
        ):  # fmt: skip
            return True  # as parallel as it was
        if work > _LITTLE_WORK and (threads < _FEWEST_ROWS or work > threads * _MOST_SERIAL):
            return False
        return all(self._is_row(v, axes) for v, axes in g.place.items())

    def _is_short(self, g: _Group, reductions: int = 0) -> bool:
        """Whether the kernel compiles in little time, and no invocation loops too often."""
        most = max(_MOST_REDUCTIONS, reductions)
        if len(g.place) > _MOST_NODES or sum(len(self.reduces[v]) for v in g.place) > most:
            return False
        if len(g.place) > 1 and sum(self.operations[v] for v in g.place) > _MOST_OPERATIONS:
            return False
        loops = sum(self._iterations(v, axes) for v, axes in g.place.items())
        return loops <= MOST_ITERATIONS

    def _iterations(self, u: UOp, axes: Axes) -> int:
        """How often the loops of one invocation run that computes `u`."""
        e = self.elements[u]
        loops = [x for x, a in zip(e.index, axes, strict=True) if a is None and x is not ZERO]
        total = 0
        if e.over is not None:
            others = [x for x in loops if x is not e.index[u.arg[1]]]
            total += _trips((*others, e.over))
        if not (e.over is not None and len(u.src) == 3):
            total += _trips(loops)
        for ranges in self.reduces[u].values():
            inside = [r for r in ranges if r in loops or r.arg[1] == "loop"]
            total += _trips(sorted(inside, key=lambda r: int(r.arg[0])))
        return total

    def _has_no_loops(self, u: UOp, axes: Axes) -> bool:
        return all(a is not None or x is ZERO
                   for a, x in zip(axes, self.elements[u].index, strict=True))  # fmt: skip

    def _is_row(self, u: UOp, axes: Axes) -> bool:
        """Whether the loops of `u` are elementwise work, or short where they hold a reduction."""
        e = self.elements[u]
        loops = {x for x, a in zip(e.index, axes, strict=True) if a is None and x is not ZERO}
        if math.prod(int(x.src[0].arg) for x in loops) <= _SHORT_ROW:
            return True
        return not any(loops & ranges for ranges in self.reduces[u].values())

    def _buffers(self, g: _Group) -> set[UOp]:
        """The nodes in buffers that `g` would bind."""
        return {u for u in {*g.place, *(n for v in g.place for n in self.reads[v])}
                if not self.is_inner(g, u)}  # fmt: skip

    def is_inner(self, g: _Group, u: UOp) -> bool:
        """Whether `u` needs no buffer: only its own invocation reads it, and it is short."""
        if u not in g.place or u in self.outputs or u in self.shared:
            return False
        if not self.readers.get(u, set()) <= set(g.place):
            return False
        sizes = [int(x.src[0].arg) for x, a in zip(self.elements[u].index, g.place[u], strict=True)
                 if a is None and x is not ZERO]  # fmt: skip
        return math.prod(sizes) <= _MOST_REGISTERS


def _is_scattered(u: UOp, axis: int) -> bool:
    """Whether one invocation computes all of `axis`: any index may mean any element."""
    return is_scatter(u) and axis == u.arg[1]


def _own_index(u: UOp) -> Index:
    return tuple(ZERO if d == 1 else kernel_range(i, d, "grid") for i, d in enumerate(u.shape))


def _below(u: UOp) -> set[UOp]:
    return {n for n in toposort([u]) if n.op is ops.RANGE}


def _trips(ranges: Iterable[UOp]) -> int:
    return trips(int(r.src[0].arg) for r in ranges)


def _work(e: Element, reduces: Iterable[set[UOp]]) -> int:
    """Additions to compute a node, about: its points, and those of its reductions."""
    total = points(e.node.shape)
    if e.over is not None:
        total += points(e.node.src[1].shape)
    for ranges in reduces:
        total += math.prod(int(r.src[0].arg) for r in ranges)
    return total


class _Assembly:
    """The statements of a finished group."""

    def __init__(self, scheduler: _Scheduler, g: _Group) -> None:
        self.s, self.g = scheduler, g
        order = sorted(g.domain)
        self.grid = {n: kernel_range(i, g.domain[n], "grid") for i, n in enumerate(order)}
        self.memory: dict[UOp, UOp] = {}
        self.written: dict[UOp, UOp] = {}
        self.values: dict[UOp, Element] = {}
        self.statements: dict[UOp, UOp] = {}

    def body(self) -> Body:
        registers = 0
        for u in self.g.place:
            self.memory[u] = self.s.args[u]
            if self.s.is_inner(self.g, u):
                loops = self._loops(u)
                size = math.prod(int(r.src[0].arg) for r in loops)
                self.memory[u] = UOp(ops.REGISTERS, u.dtype, (), (registers, size))
                registers += 1
        for u in self.g.place:
            self._state(u)
        # A scalar of this invocation is a value: no memory of its own.
        kept = [u for u in self.g.place
                if self.memory[u].op is ops.ARG or self._loops(u)]  # fmt: skip
        roots = dict(zip(kept, simplify([self.statements[u] for u in kept]), strict=True))
        loaded = {n.src[0] for n in toposort(roots.values()) if n.op is ops.LOAD}
        kept = [u for u in kept if self.memory[u].op is ops.ARG or self.memory[u] in loaded]
        parts: dict[frozenset[int], list[UOp]] = {}
        for u in kept:
            parts.setdefault(self.g.guard(u), []).append(roots[u])
        order = sorted(parts, key=lambda guard: (len(guard), sorted(guard)))
        guarded = tuple(Guarded(self._condition(guard), tuple(parts[guard])) for guard in order)
        outputs = tuple(u for u in kept if self.memory[u].op is ops.ARG)
        found = dict.fromkeys(n.src[0] for n in toposort(s for p in guarded for s in p.statements)
                              if n.op is ops.LOAD)  # fmt: skip
        read = [self.s.node_of[a] for a in found if a.op is ops.ARG]
        inputs = tuple(u for u in read if u not in outputs)
        grid = tuple(self.grid[n] for n in sorted(self.grid))
        used_args = {u: self.s.args[u] for u in (*outputs, *inputs)}
        return Body(grid, guarded, outputs, inputs, used_args)

    def _index(self, u: UOp) -> Index:
        """Grid ranges where the domain has them, loops numbered after them elsewhere."""
        out: list[UOp] = []
        loops = 0
        for x, a in zip(self.s.elements[u].index, self.g.place[u], strict=True):
            if x is ZERO:
                out.append(ZERO)
            elif a is not None:
                out.append(self.grid[a])
            else:
                out.append(kernel_range(len(self.grid) + loops, x.src[0].arg, "loop"))
                loops += 1
        return tuple(out)

    def _loops(self, u: UOp) -> tuple[UOp, ...]:
        return tuple(x for x in self._index(u) if x is not ZERO and x.arg[1] == "loop")

    def _state(self, u: UOp) -> None:
        """The statement that computes `u`, reading what the group already made."""
        e = element(u, self._index(u), self.s.args)
        known: dict[UOp, UOp] = {}
        for load in toposort([e.value, *(e.target or ())]):
            n, index = e.loads.get(load, (None, ()))
            if n in self.values:  # its index may be made of others: those come first
                known[load] = self._read(n, tuple(substitute(index, known)))
        if e.target is not None:
            self._scatter(e, known)
            return
        value = substitute([e.value], known)[0]
        self.values[u] = Element(u, e.index, value, e.loads)
        memory = self.memory[u]
        store = UOp(ops.STORE, u.dtype, (memory, self._address(u, e.index), value))
        loops = self._loops(u)
        self.statements[u] = UOp(ops.FOR, u.dtype, (store, *loops)) if loops else store

    def _scatter(self, e: Element, known: Mapping[UOp, UOp]) -> None:
        """What nothing gives, and then every index combines into its element, in order."""
        u, memory, loops = e.node, self.memory[e.node], self._loops(e.node)
        assert e.target is not None
        assert e.over is not None
        value, *target = substitute([e.value, *e.target], known)
        self.values[u] = e
        others = tuple(x for x in loops if x is not e.index[u.arg[1]])
        if len(u.src) == 3:
            store = UOp(ops.STORE, u.dtype, (memory, self._address(u, tuple(target)), value))
            self.statements[u] = UOp(ops.FOR, u.dtype, (store, *others, e.over))
            return
        none = u.const_like(identity(u.arg[0], u.dtype))
        start = UOp(ops.STORE, u.dtype, (memory, self._address(u, e.index), none))
        starts = UOp(ops.FOR, u.dtype, (start, *loops))
        where = self._address(u, tuple(target))
        before = UOp(ops.LOAD, u.dtype, (memory, where, starts, e.over))
        store = UOp(ops.STORE, u.dtype, (memory, where, combined(u.arg[0], before, value)))
        self.statements[u] = UOp(ops.FOR, u.dtype, (store, *others, e.over))

    def _address(self, u: UOp, index: Index) -> UOp:
        if self.memory[u].op is ops.ARG:
            return flat(index, u.shape)
        kept = [(x, d) for x, d, a in zip(index, u.shape, self.g.place[u], strict=True)
                if a is None]  # fmt: skip
        return flat(tuple(x for x, _ in kept), tuple(d for _, d in kept))

    def _read(self, n: UOp, index: Index) -> UOp:
        """An element of the group's own node `n`: its value where that is at hand, else from where
        it was put."""
        made = self.values[n]
        at_hand = made.target is None and made.index == index
        if at_hand and (not self._loops(n) or _is_cheap(made.value)):
            return made.value
        load = (self.memory[n], self._address(n, index))
        after = (self.statements[n],) if self._loops(n) else ()
        return UOp(ops.LOAD, n.dtype, (*load, *after))

    def _condition(self, guard: frozenset[int]) -> UOp | None:
        condition: UOp | None = None
        for n in sorted(guard):
            zero = self.grid[n].eq(ZERO)
            condition = zero if condition is None else condition & zero
        return condition


def _is_cheap(value: UOp) -> bool:
    """Whether computing it again in another loop costs less than keeping it: nothing of it loops
    for each element."""
    for n in toposort([value]):
        if n.op is ops.REDUCE and any(r.arg[1] == "loop" for r in _below(n) - set(n.src[1:])):
            return False
    return True

