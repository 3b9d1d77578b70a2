"""The search for a schedule: lists of Opts, each next to one that was good, measured.

In: a kernel that no Opt has touched, a target, lists of Opts to start from, and who measures a
kernel. Out: the best shapes found. What a kernel refuses is never measured, nor is the same kernel
twice, by whichever Opts it came to be. The order in which neighbours are tried is a function of
the kernel, so a search whose measure is one finds the same again.

Neighbours of a list have one Opt more, or one less with what hangs on it, or another number or kind
in one. Long sums of floats are cut as the heuristics cut them: accuracy is not searched.
"""

from __future__ import annotations

import itertools
import math
import random
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from anneal.kernel.heuristic.choices import Choices, accesses, extent, short_sums
from anneal.kernel.ir import (
    Kernel,
    Opt,
    count_of,
    free,
    kind_of,
    memory_of,
    name_of,
)
from anneal.kernel.opts import Refused
from anneal.kernel.target import Target
from anneal.uop import ops
from anneal.uop.uop import UOp, structural_key, substitute

# What running a kernel costs, at least a part of what is said to be the limit, above which it may
# be left; None where it cannot run, takes too long to compile, or computes something else.
Measure = Callable[[Kernel, float], float | None]
Line = tuple[Opt, ...]

# Lengths of parts: of what is written out, of a tile, and of what workgroups or threads share.
_UNROLLED, _TILES, _SHARES = (2, 4, 8), (4, 16, 64), (2, 4, 8, 16, 32, 64)
# Counts of a range that may be written out whole.
_WHOLE = 16
# Elements of a CPU's STAGE: those of the first cache, and some; an invocation has registers alone.
_STAGED = 1 << 15
# Neighbours of one list that are tried before those of the next best.
_TURN = 8
# Who costs this many times the best is not worth an exact measure.
_HOPELESS = 1.5


@dataclass(frozen=True, slots=True)
class Ranked:
    """A kernel in shape, and what it costs."""

    kernel: Kernel
    cost: float


def search(kernel: Kernel, target: Target, starts: Sequence[Line], measure: Measure, width: int,
           budget: int, told: Callable[[int, float], None] | None = None
           ) -> list[Ranked]:  # fmt: skip
    """The `width` best shapes of `kernel`, the best first, after at most `budget` measurements.
    `told` hears after each how many there were, and the least cost so far. No kernel is worse than
    the best of `starts`; there is none where the kernel takes none of those."""
    s = _Search(kernel, target, measure, width, budget, told or (lambda count, best: None))
    for line in starts:
        s.start(line)
    while s.count < budget and s.round():
        pass
    return s.best


class _Search:
    """The best so far, and for each of them the neighbours that are left."""

    def __init__(self, kernel: Kernel, target: Target, measure: Measure, width: int, budget: int,
                 told: Callable[[int, float], None]) -> None:  # fmt: skip
        self.kernel, self.target, self.measure, self.told = kernel, target, measure, told
        self.width, self.budget, self.count = width, budget, 0
        self.registers = target.registers
        self.order = random.Random(kernel.key)
        self.seen: set[str] = set()
        self.best: list[Ranked] = []
        self.left: dict[Line, Iterator[Line]] = {}

    def start(self, line: Line) -> None:
        """A list to begin with, however many registers it takes."""
        made = shaped(self.kernel, line, self.target)
        if made is not None:
            self.registers = max(self.registers, _accumulators(made))
            self.attempt(line)

    def attempt(self, line: Line) -> bool:
        """Whether a list gave a kernel that was not seen before, which is then measured. One that
        sums in more registers than there are is none: some compilers know no end of it."""
        made = shaped(self.kernel, line, self.target)
        if (made is None or (key := _key(made)) in self.seen
                or _accumulators(made) > self.registers):  # fmt: skip
            return False
        self.seen.add(key)
        least = self.best[0].cost if self.best else math.inf
        cost = self.measure(made, least * _HOPELESS)
        self.count += 1
        if cost is not None:
            self.best = sorted([*self.best, Ranked(made, cost)], key=lambda r: r.cost)[: self.width]
            least = self.best[0].cost
        self.told(self.count, least)
        return True

    def round(self) -> bool:
        """A turn for each of the best; whether one of them had a neighbour left."""
        tried = 0
        for ranked in list(self.best):
            line = ranked.kernel.opts
            if line not in self.left:
                found = list(dict.fromkeys(neighbours(ranked.kernel, self.target)))
                self.order.shuffle(found)
                self.left[line] = iter(found)
            turn = 0
            for near in self.left[line]:
                turn += self.attempt(near)
                if self.count >= self.budget or turn >= _TURN:
                    break
            tried += turn
        return tried > 0


def shaped(kernel: Kernel, line: Line, target: Target) -> Kernel | None:
    """`kernel` after the Opts, its long sums cut; None where it refuses one of them."""
    c = Choices(kernel, target)
    try:
        c.give("searched", line)
    except Refused:
        return None
    short_sums(c)
    return c.kernel


def _accumulators(kernel: Kernel) -> int:
    """How many sums run at once in an instruction stream."""
    return sum(math.prod(extent(r) for r in free(u) if kind_of(r) == "unroll")
               for u in kernel.nodes if u.op is ops.REDUCE
               and any(kind_of(r) == "loop" for r in u.src[1:]))  # fmt: skip


def plainly_counted(kernel: Kernel, target: Target) -> Line:
    """Opts that only say who counts: each element is computed as by no Opts at all."""
    kind = next(k for k in ("grid", "thread") if k in target.kinds)
    c = Choices(kernel, target)
    for r in kernel.body.src[1:] if kernel.body.op is ops.END else ():
        name, part = name_of(r), -(-extent(r) // target.max_grid)
        if part == 1:
            c.take("", kind.upper(), name)
        else:
            c.take_all("", ("SPLIT", name, part), (kind.upper(), f"{name}/{part}"))
    return c.kernel.opts


def _key(kernel: Kernel) -> str:
    """The structure, whatever ranges are called."""
    numbered = {r: UOp(r.op, r.dtype, r.src, (n, kind_of(r))) for n, r in enumerate(kernel.ranges)}
    return structural_key(substitute([kernel.body], numbered))


# -- neighbours ------------------------------------------------------------------------------------


def neighbours(kernel: Kernel, target: Target) -> Iterator[Line]:
    """Lists of Opts next to those that shaped `kernel`; some it may refuse."""
    line = kernel.opts
    for n, opt in enumerate(line):
        yield _without(line, n)
        if opt.name == "SPLIT":
            length = int(opt.args[1])
            for other in (length // 2, length * 2, length * 4):
                if other > 1:
                    yield _split_by(line, n, other)
        elif opt.name.lower() in target.kinds:
            for kind in target.kinds:
                if kind != opt.name.lower():
                    yield (*line[:n], Opt(kind.upper(), opt.args), *line[n + 1 :])
    for more in _additions(kernel, target):
        yield (*line, *more)


def _without(line: Line, n: int) -> Line:
    """The list without an Opt, and without those after it that go by ranges that it made."""
    made = _made_by(line[n])
    kept = list(line[:n])
    for opt in line[n + 1 :]:
        if made is not None and any(made.match(str(a)) for a in opt.args):
            continue
        kept.append(opt)
    return tuple(kept)


def _made_by(opt: Opt) -> re.Pattern[str] | None:
    """What the names of ranges begin with that an Opt makes, and all that are made of those."""
    if opt.name in ("SPLIT", "CUT"):
        name, n = map(re.escape, map(str, opt.args))
        return re.compile(rf"{name}[/%+]{n}(?![0-9])")
    return re.compile(re.escape("*".join(map(str, opt.args)))) if opt.name == "MERGE" else None


def _split_by(line: Line, n: int, length: int) -> Line:
    """The list with another length in a SPLIT, its ranges by their new names."""
    name, old = map(str, line[n].args)
    prefix = re.compile(rf"({re.escape(name)}[/%]){old}(?![0-9])")
    renamed = [Opt(o.name, tuple([prefix.sub(rf"\g<1>{length}", a) if isinstance(a, str) else a
                                  for a in o.args])) for o in line[n + 1 :]]  # fmt: skip
    return (*line[:n], Opt("SPLIT", (line[n].args[0], length)), *renamed)


def _additions(kernel: Kernel, target: Target) -> Iterator[Line]:
    """Opts for a kernel as it is, those together that only make sense together."""
    reduced = {r for u in kernel.nodes if u.op is ops.REDUCE for r in u.src[1:]}
    for r in kernel.ranges:
        if kind_of(r) == "loop" and r not in kernel.carried and extent(r) > 1:
            yield from _inner(r, r in reduced, target)
            yield from _outer(r, target)
        elif kind_of(r) != "loop":
            yield (Opt("LOOP", (name_of(r),)),)
    for u in kernel.nodes:
        if u.op is ops.END:
            yield from _orders(u)
        elif u.op is ops.REDUCE and len(u.src) > 2:
            yield from [(Opt("GROUP", (name_of(r),)),) for r in u.src[1:]]
    yield from _stages(kernel, target)
    yield from _caches(kernel, reduced)


def _inner(r: UOp, reduced: bool, target: Target) -> Iterator[Line]:
    """Lanes, invocations and text along a range, or along parts of it."""
    name, size = name_of(r), extent(r)
    lengths = {"unroll": _UNROLLED, "vector": target.vector_widths,
               "local": _powers(target.lanes, target.max_local)}  # fmt: skip
    for kind, several in lengths.items():
        if kind not in target.kinds:
            continue
        if size <= _WHOLE or kind == "local" and size <= target.max_local:
            yield (Opt(kind.upper(), (name,)),)
        for n in several:
            if n < size:
                inner, split = f"{name}%{n}", Opt("SPLIT", (name, n))
                last = Opt(kind.upper(), (inner,))
                yield (split, last)
                if reduced:
                    yield (split, Opt("GROUP", (inner,)), last)


def _powers(least: int, most: int) -> list[int]:
    return [1 << n for n in range(max(least, 2).bit_length() - 1, most.bit_length())]


def _outer(r: UOp, target: Target) -> Iterator[Line]:
    """Workgroups or threads along a range, each with one count of it or several."""
    name, size = name_of(r), extent(r)
    for kind in ("grid", "thread"):
        if kind in target.kinds:
            yield (Opt(kind.upper(), (name,)),)
            parts = _SHARES if kind == "grid" else {-(-size // (target.threads * c))
                                                    for c in (1, 2, 4, 8)}  # fmt: skip
            for n in sorted(parts):
                if 1 < n < size:
                    yield Opt("SPLIT", (name, n)), Opt(kind.upper(), (f"{name}/{n}",))


def _orders(u: UOp) -> Iterator[Line]:
    """The ranges of an END with one of them first, or last, or a part of it last; neighbours as
    one."""
    names = [name_of(r) for r in u.src[1:]]
    for n, r in enumerate(u.src[1:]):
        rest = [*names[:n], *names[n + 1 :]]
        if rest:
            yield (Opt("REORDER", (names[n], *rest)),)
            yield (Opt("REORDER", (*rest, names[n])),)
        for tile in _TILES if kind_of(r) == "loop" and rest else ():
            if tile < extent(r):
                outer, inner = f"{names[n]}/{tile}", f"{names[n]}%{tile}"
                order = [outer if q == names[n] else q for q in names]
                yield Opt("SPLIT", (names[n], tile)), Opt("REORDER", (*order, inner))
    for slow, fast in itertools.pairwise(names):
        yield (Opt("MERGE", (slow, fast)),)


def _stages(kernel: Kernel, target: Target) -> Iterator[Line]:
    """An argument near, along the innermost of the ranges that its elements depend on."""
    written = kernel.written
    for u in accesses(kernel):
        memory = memory_of(u)
        if u.op is not ops.LOAD or memory.op is not ops.ARG or memory in written:
            continue
        inside = [r for r in kernel.ranges if r in free(u) and kind_of(r) not in ("grid", "thread")
                  and count_of(r) is not None]  # fmt: skip
        for n in range(len(inside)):
            ranges = inside[n:]
            shared = any(kind_of(r) == "local" for r in ranges)
            own = target.registers if "local" in target.kinds else _STAGED
            most = target.workgroup_bytes // 4 if shared else own
            if math.prod(map(extent, ranges)) <= most:
                yield (Opt("STAGE", (int(memory.arg), *map(name_of, ranges))),)


def _caches(kernel: Kernel, reduced: set[UOp]) -> Iterator[Line]:
    """A sum in blocks that the output carries."""
    for u in kernel.nodes:
        if u.op is ops.END and u.src[0].op is ops.STORE:
            for r in sorted(reduced, key=name_of):
                if kind_of(r) == "loop" and extent(r) > 1:
                    yield from [(Opt("CACHE", (name_of(r), name_of(s))),) for s in u.src[1:]]
