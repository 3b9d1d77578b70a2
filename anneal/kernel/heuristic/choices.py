"""What heuristics of all targets ask of a kernel, and the Opts that they take alike.

In: a kernel that no Opt has touched. Out: Choices, the kernel in shape so far and the reason for
each Opt; strides, sizes and visits of its ranges; the product that it computes, if it does.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from anneal.kernel.ir import (
    BINDERS,
    Kernel,
    Opt,
    free,
    kind_of,
    loops_around,
    name_of,
    terms,
)
from anneal.kernel.opts import Refused, apply
from anneal.kernel.spec import operations
from anneal.kernel.target import Target
from anneal.uop import dtypes, ops
from anneal.uop.symbolic import hi
from anneal.uop.uop import UOp, toposort

# Operations of a kernel, UNROLL ranges written out, of which compiling takes seconds.
_MOST_OPERATIONS = 1 << 15
# Results of each factor of a product whose sums run side by side.
_SUMS = 4
# Elements of one accumulator, whose rounding errors grow with them, of the parts that a long sum is
# cut into.
_PART = 256
# A vector of elements that do not lie side by side costs about as much as this many that do.
_GATHER = 4


@dataclass(slots=True)
class Choices:
    """A kernel as it takes shape, and why it does."""

    kernel: Kernel
    target: Target
    reasons: list[tuple[Opt, str]] = field(default_factory=list)
    given: Kernel = field(init=False)
    without_loops: Target = field(init=False)

    def __post_init__(self) -> None:
        self.given = self.kernel
        self.without_loops = replace(self.target, max_loop=None)

    def explained(self) -> tuple[tuple[str, str], ...]:
        """The Opts in order, those together that one reason is given for, and that reason."""
        runs = itertools.groupby(self.reasons, key=lambda reason: reason[1])
        return tuple([(" ".join([str(opt) for opt, _ in run]), why) for why, run in runs])

    def take(self, why: str, name: str, *args: str | int) -> bool:
        """Applies an Opt if the kernel takes it."""
        return self.take_all(why, (name, *args))

    def take_all(self, why: str, *opts: tuple[str | int, ...]) -> bool:
        """Applies all of the Opts, or none. How often an invocation loops is the last kernel's
        matter: before an Opt it may be too often."""
        steps = [Opt(str(name), tuple(args)) for name, *args in opts]
        try:
            self.kernel = apply(self.kernel, steps, self.without_loops)
        except Refused:
            return False
        self.reasons += [(opt, why) for opt in steps]
        return True

    def give(self, why: str, opts: Sequence[Opt]) -> None:
        """Applies Opts that someone else chose. Raises Refused, with the Opt and the reason."""
        kernel = apply(self.kernel, opts, self.without_loops)
        if (length := operations(kernel)) > _MOST_OPERATIONS:
            raise Refused(f"{length} operations to write out, more than {_MOST_OPERATIONS}: UNROLL "
                          "counts less")  # fmt: skip
        self.kernel = kernel
        self.reasons += [(opt, why) for opt in opts]


# -- sizes and strides -----------------------------------------------------------------------------


def extent(r: UOp) -> int:
    """How far a range counts, at most."""
    return max(hi(r.src[0]), 1)


def accesses(kernel: Kernel) -> list[UOp]:
    """Its LOADs and STOREs."""
    return [u for u in kernel.nodes if u.op in (ops.LOAD, ops.STORE)]


def stride(u: UOp, r: UOp) -> int | None:
    """How far the element of a LOAD or STORE moves with `r`; None where that is no number."""
    return stride_of(u.src[1], r)


def stride_of(index: UOp, r: UOp) -> int | None:
    """How far an index moves with `r`; None where that is no number."""
    step = 0
    for a, n in terms(index).items():
        if a is r:
            step += n
        elif a is not None and r in free(a):
            return None
    return step


def visits(u: UOp, around: dict[UOp, frozenset[UOp]]) -> int:
    """How often a node is computed."""
    ranges = free(u).union(*(around.get(r, frozenset()) for r in free(u)))
    return math.prod(map(extent, ranges))


# -- neighbours ------------------------------------------------------------------------------------


def merge_neighbours(c: Choices) -> None:
    """Two ranges of an END that walk through memory as one become one."""
    merged = True
    while merged:
        merged = False
        for u in c.kernel.nodes:
            if u.op is not ops.END:
                continue
            for slow, fast in zip(u.src[1:], u.src[2:], strict=False):
                if _walk_as_one(c.kernel, slow, fast):
                    merged = c.take("side by side in memory", "MERGE", name_of(slow), name_of(fast))
                    break
            if merged:
                break


def _walk_as_one(kernel: Kernel, slow: UOp, fast: UOp) -> bool:
    indices = {u.src[1] for u in accesses(kernel)}
    for u in kernel.nodes:
        touched = {slow, fast} & free(u)
        if not touched or u in (slow, fast):
            continue
        if u.dtype is dtypes.index and u not in indices:
            continue  # part of an index, looked at there
        if u in indices:
            step = {r: stride_of(u, r) for r in (slow, fast)}
            if None in step.values() or step[slow] != (step[fast] or 0) * extent(fast):
                return False
        elif any(s.dtype is dtypes.index and {slow, fast} & free(s) for s in u.src) and (
            u.op not in (ops.LOAD, ops.STORE, *BINDERS)
        ):  # fmt: skip
            return False  # a comparison, or a counter as a value
    return True


# -- products --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Product:
    """END(STOREs of functions of one sum of left * right): `i` only in the left factor, `j` only in
    the right and side by side in the outputs, `k` in both."""

    left: UOp
    right: UOp
    i: UOp | None
    j: UOp
    k: tuple[UOp, ...]


def product_of(kernel: Kernel) -> Product | None:
    nest = kernel.body
    if nest.op is not ops.END:
        return None
    effects = _stores(nest.src[0])
    sums = [u for u in toposort([e.src[2] for e in effects]) if u.op is ops.REDUCE]
    factors = factors_of(sums[0]) if len(sums) == 1 else None
    if factors is None:
        return None
    total, ranges = sums[0], nest.src[1:]
    for left, right in (factors, factors[::-1]):
        only_right = [r for r in ranges if r in free(right) and r not in free(left)
                      and all(stride(e, r) == 1 for e in effects)]  # fmt: skip
        only_left = [r for r in ranges if r in free(left) and r not in free(right)]
        both = [r for r in total.src[1:] if r in free(left) and r in free(right)]
        if only_right and len(both) == len(total.src) - 1:
            i = max(only_left, key=extent, default=None)
            return Product(left, right, i, only_right[0], tuple(both))
    return None


def _stores(effect: UOp) -> Sequence[UOp]:
    """The STOREs of a nest's innermost loop; none where it is more than that."""
    effects = effect.src if effect.op is ops.BLOCK else (effect,)
    return effects if all(e.op is ops.STORE for e in effects) else ()


def factors_of(total: UOp) -> tuple[UOp, UOp] | None:
    """Of a sum of products, each perhaps under a condition."""
    x = total.src[0]
    if x.op is ops.WHERE:
        x = x.src[1]
    if total.arg[0] != "add" or x.op is not ops.MUL:
        return None
    return x.src[0], x.src[1]


def tile_of_sums(c: Choices) -> None:
    """Several results whose sums run over vectors: each factor that is read serves all of them that
    it is of."""
    nest = c.kernel.body
    if nest.op is not ops.END:
        return
    if not _stores(nest.src[0]):
        return
    inner = [u for u in c.kernel.nodes if u.op is ops.REDUCE and factors_of(u) is not None]
    if len(inner) != 1:
        return
    factors = factors_of(inner[0])
    assert factors is not None
    left, right = (free(f) for f in factors)
    tile: list[str] = []
    for mine, other in ((left, right), (right, left)):
        ranges = [r for r in nest.src[1:] if r in mine and r not in other and kind_of(r) == "loop"]
        r = min(ranges, key=lambda r: (extent(r) > _SUMS, -extent(r)), default=None)
        if r is None:
            continue
        name, why = name_of(r), f"{_SUMS} sums share what they read"
        if extent(r) > _SUMS:
            if not c.take(why, "SPLIT", name, _SUMS):
                continue
            name = f"{name}%{_SUMS}"
        tile.append(name)
    rest = [name_of(r) for r in c.kernel.body.src[1:] if name_of(r) not in tile]
    if tile and c.take("the tile innermost", "REORDER", *rest, *tile):
        for name in tile:
            c.take("all at once", "UNROLL", name)


def short_sums(c: Choices) -> None:
    """Long sums of floats become sums of partial sums, each of some hundreds of elements."""
    done: set[str] = set()
    while (found := _too_long(c.kernel, done)) is not None:
        done.add(name_of(found[1]))
        _cut(c, *found)


def _too_long(kernel: Kernel, done: set[str]) -> tuple[UOp, UOp] | None:
    """A sum, and its range within which the sum of the inner ones becomes too long."""
    for u in kernel.nodes:
        if u.op is not ops.REDUCE or u.arg[0] != "add" or not u.dtype.is_float:
            continue
        loops = [r for r in u.src[1:] if kind_of(r) == "loop"]
        if math.prod(map(extent, loops)) <= 2 * _PART:
            continue
        count = 1
        for r in reversed(loops):
            if count * extent(r) > _PART and name_of(r) not in done:
                return u, r
            count *= extent(r)
    return None


def _cut(c: Choices, u: UOp, r: UOp) -> None:
    """Partial sums of `u` inside of `r`, or of a part of it; sums of them over the rest of it, and
    of those over each range outside, so that what is near in memory is added first."""
    loops = [q for q in u.src[1:] if kind_of(q) == "loop"]
    place = loops.index(r)
    inner = math.prod(map(extent, loops[place + 1 :]))
    part, name = part_of(extent(r), max(_PART // inner, 1)), name_of(r)
    why = "sums of partial sums"
    for q in loops[:place]:
        c.take(why, "GROUP", name_of(q))
    if part < 2 or not c.take_all(why, ("SPLIT", name, part), ("GROUP", f"{name}/{part}")):
        c.take(why, "GROUP", name)


def part_of(size: int, most: int) -> int:
    """Of `size` in parts the length of one, at most `most`: one that leaves no rest, if such are
    not much shorter."""
    return next((n for n in range(most, most // 2, -1) if size % n == 0), most)


# -- which range -----------------------------------------------------------------------------------


def by_gain(kernel: Kernel, least: int, near: Callable[[UOp, UOp, dict[UOp, frozenset[UOp]]], bool],
            across: int = 0) -> list[UOp]:  # fmt: skip
    """Ranges of `least` counts or more in order of what vectors of them save: an access whose
    elements are `near` along the range gains its visits, another loses some times as much. Lanes
    of a reduction are combined at the end, for as much as `across` counts more."""
    around = loops_around(kernel)
    reduced = {r for u in kernel.nodes if u.op is ops.REDUCE for r in u.src[1:]}
    gain: dict[UOp, float] = {}
    for u in accesses(kernel):
        times = visits(u, around)
        for r in free(u):
            if kind_of(r) != "loop" or r in kernel.carried:
                continue
            part = extent(r) / (extent(r) + across) if r in reduced else 1.0
            gain[r] = gain.get(r, 0) + (times * part if near(u, r, around) else -_GATHER * times)
    return sorted((r for r, g in gain.items() if g > 0 and extent(r) >= least),
                  key=lambda r: (-gain[r], name_of(r)))  # fmt: skip
