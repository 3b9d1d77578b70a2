"""A kernel as instructions, loops nested in them, each value at the loop that it depends on.

In: a kernel. Out: instructions for a renderer, which only writes them down. A value is computed
where it is first needed, but at the outermost loop that determines it, before the loops inside.
Reductions over the same loops in the same place share them. Sums in an index are taken from the
outermost loop in, so what does not change in a loop is computed before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from anneal.kernel.expand import expanded
from anneal.kernel.guards import without_guards
from anneal.kernel.ir import (
    Kernel,
    argument,
    end,
    free,
    kind_of,
    memory_of,
    size_of,
    staged_position,
    store,
    terms,
    waits,
)
from anneal.uop import dtypes, ops
from anneal.uop.symbolic import hi
from anneal.uop.uop import UOp, const, rebuild, toposort


@dataclass(frozen=True, slots=True)
class Place:
    """An element of memory, or as many as a vector has lanes: at `base` + `step` * lane + `offset`;
    or where `base` is a vector, at each of its lanes."""

    memory: UOp
    base: UOp | None
    step: int
    offset: int


@dataclass(frozen=True, slots=True)
class Let:
    """Compute a node; of a LOAD, from `place`."""

    node: UOp
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class Put:
    """Write `value` at `place`, where `gate` is true; `by`: the LOCAL and VECTOR ranges that it
    counts. Invocations that differ in others would all write the same."""

    place: Place
    value: UOp
    gate: UOp | None
    by: frozenset[UOp]


@dataclass(frozen=True, slots=True)
class Fold:
    """One step of the reduction `node`: it takes `values`, one, or two factors of a product."""

    node: UOp
    values: tuple[UOp, ...]


@dataclass(frozen=True, slots=True)
class Loop:
    """`body` for every count of `range`, or no more than `count` of them. `reductions` run through
    it: where `first`, they begin here. `folds` end the innermost body."""

    range: UOp
    body: list[Instruction]
    reductions: tuple[UOp, ...] = ()
    first: bool = True
    folds: tuple[Fold, ...] = ()
    count: UOp | None = None


@dataclass(frozen=True, slots=True)
class Across:
    """The lanes of `range` combined: `node` of the value `partial` of each."""

    node: UOp
    partial: UOp
    range: UOp


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of a STAGE begins here, as an ARG of a negative position: it may have held
    something else so far."""

    node: UOp
    space: str


@dataclass(frozen=True, slots=True)
class Barrier:
    """All invocations of the workgroup have come this far, and see what the others wrote."""


Instruction = Let | Put | Loop | Across | Memory | Barrier


@dataclass(slots=True)
class _Level:
    """An open loop, and what is computed in it."""

    range: UOp | None
    out: list[Instruction] = field(default_factory=list)
    made: dict[object, UOp] = field(default_factory=dict)


_NONE: frozenset[UOp] = frozenset()

# What needs no instruction.
_GIVEN = frozenset({ops.CONST, ops.RANGE, ops.VAR})


def linearize(kernel: Kernel, counted: bool = False) -> list[Instruction]:
    """The instructions of one invocation. Where `counted`, a guard that all effects of a loop have
    is the number of its iterations."""
    body = expanded(kernel.body)
    counts: dict[tuple[UOp, UOp], UOp] = {}
    if counted:
        body, counts = without_guards(body)
    linear = _Linearizer(body, counts)
    linear.effect(linear.body)
    return linear.levels[0].out


class _Linearizer:
    def __init__(self, body: UOp, counts: Mapping[tuple[UOp, UOp], UOp]) -> None:
        self.body, self.counts = body, counts
        self.levels = [_Level(None)]
        # Reductions below each node, and those that it reads without memory between.
        self.below: dict[UOp, frozenset[UOp]] = {}
        self.read: dict[UOp, frozenset[UOp]] = {}
        self.roots = [body]
        self.sorted: dict[UOp, dict[tuple[UOp, ...], list[UOp]]] = {}
        # What an edge below puts in an order.
        self.ordered: set[UOp] = set()
        self.stages: dict[UOp, UOp] = {}
        nodes = toposort([body])
        self.local = frozenset(u for u in nodes if u.op is ops.RANGE and kind_of(u) == "local")
        self.loaded = frozenset(memory_of(u) for u in nodes if u.op is ops.LOAD)
        self._look(body)

    def _look(self, root: UOp) -> None:
        """Notes the reductions below `root`."""
        none: frozenset[UOp] = frozenset()
        for u in toposort([root], stop=self.below.__contains__):
            if u in self.below:
                continue
            below = read = frozenset((u,)) if u.op is ops.REDUCE else none
            for s in u.src:
                below = below | self.below[s] if self.below[s] else below
                read = read | self.read[s] if self.read[s] else read
                if s in self.ordered:
                    self.ordered.add(u)
            if u.op is ops.AFTER:
                self.ordered.add(u)
            self.below[u] = below
            self.read[u] = none if u.op is ops.STAGE else read

    # -- levels -------------------------------------------------------------------------------

    def _level_of(self, ranges: frozenset[UOp]) -> int:
        for n in range(len(self.levels) - 1, 0, -1):
            if self.levels[n].range in ranges:
                return n
        return 0

    def _at(self, level: int, make: Callable[[], UOp]) -> UOp:
        """What `make` gives, its instructions at the end of an outer level."""
        inner = self.levels[level + 1 :]
        del self.levels[level + 1 :]
        out = make()
        self.levels += inner
        return out

    def _once(self, key: object, ranges: frozenset[UOp], make: Callable[[], UOp]) -> UOp:
        for level in self.levels:
            known = level.made.get(key)
            if known is not None:
                return known

        def at_level() -> UOp:
            out = make()
            self.levels[-1].made[key] = out
            return out

        return self._at(self._level_of(ranges), at_level)

    def _out(self, instruction: Instruction) -> None:
        self.levels[-1].out.append(instruction)

    # -- effects ------------------------------------------------------------------------------

    def effect(self, u: UOp) -> None:
        """Writes `u`, after what its edges put before it."""
        for e in waits(u) if u in self.ordered else ():
            if all(r in self._open() for r in free(e)):
                self._once(e, free(e), lambda e=e: self._past(e))  # type: ignore[misc]
        self._once(u, free(u), lambda: self._effect(u))

    def _past(self, u: UOp) -> UOp:
        """Writes `u` to its end, of all invocations."""
        self._effect(u)
        if self.local:
            self._out(Barrier())
        return u

    def _open(self) -> set[UOp | None]:
        return {level.range for level in self.levels} | self._counted

    _counted: frozenset[UOp] = frozenset()

    def _effect(self, u: UOp) -> UOp:
        """Writes `u`; of what is counted where it is wanted, only what it depends on counts it."""
        before, self._counted = self._counted, self._counted & free(u)
        self._written(u)
        self._counted = before
        return u

    def _written(self, u: UOp) -> None:
        if u.op is ops.BLOCK:
            for e in u.src:
                self.effect(e)
        elif u.op is ops.END:
            counts = {r: self.counts[u, r] for r in u.src[1:] if (u, r) in self.counts}
            self._nest(u.src[1:], counts, lambda: self.effect(u.src[0]))
        else:
            memory, index, value, *gate = u.src
            for e in memory.src[1:] if memory.op is ops.AFTER else ():
                if e.op is ops.LOAD:
                    self.value(e)
            place = self._place(memory, index)
            what = self.value(value)
            if memory_of(memory) in self.loaded and not self.local <= self._counted:
                self._out(Barrier())  # one invocation writes what others, too, have read
            self._out(Put(place, what, self.value(gate[0]) if gate else None, self._counted))

    def _nest(self, ranges: Sequence[UOp], counts: Mapping[UOp, UOp],
              inside: Callable[[], None]) -> None:  # fmt: skip
        if not ranges:
            return inside()
        r, *rest = ranges
        if kind_of(r) != "loop":
            before, self._counted = self._counted, self._counted | {r}
            self._nest(rest, counts, inside)
            self._counted = before
            return None
        count = self.value(counts[r]) if r in counts else None
        level = _Level(r)
        self.levels.append(level)
        self._nest(rest, counts, inside)
        self.levels.pop()
        self._out(Loop(r, level.out, count=count))
        return None

    # -- values -------------------------------------------------------------------------------

    def value(self, root: UOp) -> UOp:
        """The node that a renderer knows for `root`, computed by now."""
        todo = [root]
        while todo:
            u = todo[-1]
            if self._made(u) is not None:
                todo.pop()
                continue
            pending = [s for s in self._operands(u) if self._made(s) is None]
            if pending:
                todo += reversed(pending)
                continue
            self._once(u, free(u), lambda u=u: self._make(u))  # type: ignore[misc]
            todo.pop()
        made = self._made(root)
        assert made is not None
        return made

    def _made(self, u: UOp) -> UOp | None:
        if u.op in _GIVEN:
            return u
        for level in self.levels:
            known = level.made.get(u)
            if known is not None:
                return known
        return None

    def _operands(self, u: UOp) -> tuple[UOp, ...]:
        """What is computed before `u`; loops are entered when they are made."""
        if u.op in (ops.REDUCE, ops.STAGE, ops.RANGE, ops.ARG):
            return ()
        if u.op is ops.LOAD:
            return (*u.src[2:], *_parts(u.src[1]))
        if _is_sum(u):
            return _parts(u)
        if u.op is ops.LT and u.src[0].dtype is dtypes.index and _vector(u) is not None:
            return (*_parts(u.src[0]), *_parts(u.src[1]))
        return u.src

    def _make(self, u: UOp) -> UOp:
        if u.op is ops.REDUCE:
            return self._reduce(u)
        if u.op is ops.LOAD:
            return self._load(u)
        if _is_sum(u):
            return self._sum(u)
        if u.op is ops.LT and u.src[0].dtype is dtypes.index and _vector(u) is not None:
            return self._bound(u)
        made = rebuild(u, tuple([self.value(s) for s in u.src]))
        self._out(Let(made))
        return made

    def _load(self, u: UOp) -> UOp:
        for e in u.src[0].src[1:] if u.src[0].op is ops.AFTER else ():
            if e.op is not ops.RANGE and e.op is not ops.LOAD:
                self.effect(e)
        place = self._place(u.src[0], u.src[1])
        made = rebuild(u, (*u.src[:2], *[self.value(s) for s in u.src[2:]]))
        self._out(Let(made, place))
        return made

    def _place(self, memory: UOp, index: UOp) -> Place:
        held = memory_of(memory)
        if held.op is ops.STAGE:
            held = self._staged(held)
        parts = terms(index)
        offset = parts.pop(None, 0)
        step = 0
        for a in list(parts):
            if a is not None and a.op is ops.RANGE and kind_of(a) == "vector":
                step = parts.pop(a)
        base = self._summed({a: c for a, c in parts.items() if a is not None})
        return Place(held, base, step, offset)

    def _staged(self, u: UOp) -> UOp:
        """The memory of a STAGE, filled where its other ranges are given."""

        def fill() -> UOp:
            memory = self.stages.get(u)
            if memory is None:
                size = size_of(u).arg
                memory = self.stages[u] = argument(-1 - len(self.stages), u.dtype, size)
            shared = u.arg[0] == "workgroup"
            self._out(Memory(memory, u.arg[0]))
            if shared and len(self.levels) > 1:  # the iteration before may still read it
                self._out(Barrier())
            own = store(memory, staged_position(u, u.src[1:]), u.src[0])
            effect = expanded(end(own, *u.src[1:]))
            self._look(effect)
            self.roots.append(effect)
            self.effect(effect)
            self.roots.pop()
            if shared:
                self._out(Barrier())
            return memory

        return self._once(u, free(u), fill)

    def _sum(self, u: UOp) -> UOp:
        parts = terms(u)
        constant = parts.pop(None, 0)
        total = self._summed({a: c for a, c in parts.items() if a is not None})
        if total is None:
            return const(constant, dtypes.index)
        return self._let(total + constant) if constant else total

    def _summed(self, parts: dict[UOp, int]) -> UOp | None:
        """The sum of multiples, from the outermost loop in."""
        if not parts:
            return None

        def make() -> UOp:
            total: UOp | None = None
            for a, c in sorted(parts.items(), key=lambda part: self._level_of(free(part[0]))):
                one = self.value(a)
                if c != 1:
                    one = self._let(one * c)
                total = one if total is None else self._let(total + one)
            assert total is not None
            return total

        return self._once(tuple(parts.items()), _NONE.union(*map(free, parts)), make)

    def _let(self, u: UOp) -> UOp:
        """Computes an index whose sources are known."""

        def make() -> UOp:
            self._out(Let(u))
            return u

        return u if u.op in (ops.CONST, ops.RANGE) else self._once(("sum", u), free(u), make)

    def _bound(self, u: UOp) -> UOp:
        """A limit on lanes: `step * lane < rest`, the rest one number for all of them."""
        parts = terms(u.src[0])
        for a, c in terms(u.src[1]).items():
            parts[a] = parts.get(a, 0) - c
        lane = _vector(u)
        assert lane is not None
        step = parts.pop(lane, 0)
        if any(a is not None and lane in free(a) for a in parts):  # the lanes are no line
            made = rebuild(u, tuple([self.value(s) for s in u.src]))
            self._out(Let(made))
            return made
        rest = self._summed({a: -c for a, c in parts.items() if a is not None and c})
        number = const(-parts.get(None, 0), dtypes.index)
        right = number if rest is None else self._let(rest + number) if number.arg else rest
        made = (lane * step if step != 1 else lane) < right
        self._out(Let(made))
        return made

    # -- reductions ---------------------------------------------------------------------------

    def _reduce(self, u: UOp) -> UOp:
        loops = _loops(u)
        members = self._together(u, loops) if loops else [u]
        if loops:
            folds: list[Fold] = []
            self._loops(loops, tuple(members), folds, first=True)
        for m in members:
            partial = m if loops else self.value(m.src[0])
            for r in sorted(m.src[1:], key=lambda r: kind_of(r) != "vector"):
                if kind_of(r) != "loop":
                    self._out(Across(m, partial, r))
                    partial = m
            self.levels[-1].made[m] = m
        return u

    def _together(self, u: UOp, loops: tuple[UOp, ...]) -> list[UOp]:
        """Reductions over the same loops that begin here and do not wait for each other."""
        here, chosen = self._level_of(free(u)), [u]
        opened = self._open()
        for m in self._siblings(loops):
            if m is u or self._made(m) is not None or self._level_of(free(m)) != here:
                continue
            if not all(r in opened or kind_of(r) == "vector" for r in free(m)):
                continue
            if all(m not in self.below[c] and c not in self.below[m] for c in chosen):
                chosen.append(m)
        return chosen

    def _siblings(self, loops: tuple[UOp, ...]) -> list[UOp]:
        """The reductions over `loops` of what is being written, in an order of structure."""
        root = self.roots[-1]
        known = self.sorted.get(root)
        if known is None:
            order = [u for u in toposort([root]) if u in self.read[root]]
            known = self.sorted[root] = {}
            for u in order:
                known.setdefault(_loops(u), []).append(u)
        return known.get(loops, [])

    def _loops(self, loops: Sequence[UOp], members: tuple[UOp, ...], folds: list[Fold],
               first: bool) -> None:  # fmt: skip
        r, *rest = loops
        level = _Level(r)
        self.levels.append(level)
        if rest:
            self._loops(rest, members, folds, first=False)
        else:
            folds += [self._fold(m) for m in members]
        self.levels.pop()
        self._out(Loop(r, level.out, members, first, () if rest else tuple(folds)))

    def _fold(self, m: UOp) -> Fold:
        """A sum of products takes both factors: they are multiplied and added at once."""
        x = m.src[0]
        if m.arg[0] == "add" and x.op is ops.MUL and x.dtype.is_float and self._made(x) is None:
            return Fold(m, tuple([self.value(s) for s in x.src]))
        return Fold(m, (self.value(x),))


def trips(instructions: Sequence[Instruction]) -> int:
    """How often the loops run, all together, those in loops for every iteration around them."""
    total = 0
    todo = [(i, 1) for i in instructions]
    for i, times in todo:
        if isinstance(i, Loop):
            times *= max(hi(i.range.src[0]), 1)
            total += times
            todo += [(inner, times) for inner in i.body]
    return total


def _loops(u: UOp) -> tuple[UOp, ...]:
    return tuple([r for r in u.src[1:] if kind_of(r) == "loop"])


def _parts(index: UOp) -> tuple[UOp, ...]:
    """What an index is a sum of multiples of; lanes are nobody's to compute."""
    return tuple([a for a in terms(index) if a is not None and a.op is not ops.RANGE])


def _is_sum(u: UOp) -> bool:
    return u.dtype is dtypes.index and (
        u.op is ops.ADD or u.op is ops.MUL and u.src[1].op is ops.CONST)  # fmt: skip


def _vector(u: UOp) -> UOp | None:
    for r in free(u):
        if r.arg[1] == "vector":
            return r
    return None


def width_of(u: UOp) -> int:
    """The lanes of a value."""
    r = _vector(u)
    return 1 if r is None else int(r.src[0].arg)


