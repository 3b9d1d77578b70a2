"""Opts from a kernel's strides and sizes alone, each with its reason: what runs where nobody has
searched.

In: a kernel that no Opt has touched, and its target. Out: the kernel in shape, and the choices. A
choice that the kernel refuses is left out; none changes what it computes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from anneal.kernel.ir import (
    BINDERS,
    Kernel,
    Opt,
    count_of,
    free,
    kind_of,
    loops_around,
    memory_of,
    name_of,
    terms,
)
from anneal.kernel.opts import Refused, apply
from anneal.kernel.target import Target
from anneal.uop import dtypes, ops
from anneal.uop.symbolic import hi
from anneal.uop.uop import UOp, toposort

# Work, in elements computed, below which threads cost more than they save: some 20 microseconds.
_LEAST_FOR_THREADS = 1 << 15
# Chunks for each thread: enough that one that is held up does not hold up the others.
_CHUNKS = 4
# Rows and vectors of a register tile: 24 of 32 vector registers.
_ROWS, _VECTORS = 8, 3
# Tiles of rows for which a packed panel of the other operand stays in the second cache, and the
# length of a sum between two visits of the output.
_TILES, _BLOCK = 16, 256
# Rows from which packing pays: each element of the panel is read once for every tile of them.
_LEAST_ROWS_TO_PACK = 32
# Results of each factor of a product whose sums run side by side.
_SUMS = 4
# Accumulators of a sum beside its vector: as many as an addition takes cycles.
_ACCUMULATORS = 4
# Elements of one accumulator, whose rounding errors grow with them: where vectors leave more, and
# of the parts that such a sum is cut into.
_LONGEST_SUM, _PART = 512, 256
# Part of a vector's lanes that are worth it: the others compute nothing.
_LEAST_LANES = 4
# Elements of a panel that stay in the first caches, and how often each is read at least.
_PANEL, _LEAST_READS = 1 << 14, 16
# A vector of elements that do not lie side by side costs about as much as this many that do.
_GATHER = 4


@dataclass(slots=True)
class Choices:
    """A kernel as it takes shape, and why it does."""

    kernel: Kernel
    target: Target
    reasons: list[tuple[Opt, str]] = field(default_factory=list)

    def take(self, why: str, name: str, *args: str | int) -> bool:
        """Applies an Opt if the kernel takes it."""
        opt = Opt(name, args)
        try:
            self.kernel = apply(self.kernel, [opt], self.target)
        except Refused:
            return False
        self.reasons.append((opt, why))
        return True


def for_cpu(kernel: Kernel, target: Target, threads: int) -> Choices:
    """The kernel in shape for vectors and threads of a CPU."""
    c = Choices(kernel, target)
    _merge_neighbours(c)
    if not _contraction(c, threads):
        _vectors(c)
        _threads(c, threads)
    _short_sums(c)
    return c


# -- sizes and strides -----------------------------------------------------------------------------


def _size(r: UOp) -> int:
    return max(hi(r.src[0]), 1)


def _accesses(kernel: Kernel) -> list[UOp]:
    return [u for u in kernel.nodes if u.op in (ops.LOAD, ops.STORE)]


def _step(u: UOp, r: UOp) -> int | None:
    """How far the element of a LOAD or STORE moves with `r`; None where that is no number."""
    return _step_of(u.src[1], r)


def _step_of(index: UOp, r: UOp) -> int | None:
    step = 0
    for a, n in terms(index).items():
        if a is r:
            step += n
        elif a is not None and r in free(a):
            return None
    return step


def _visits(u: UOp, around: dict[UOp, frozenset[UOp]]) -> int:
    """How often a node is computed."""
    ranges = free(u).union(*(around.get(r, frozenset()) for r in free(u)))
    return math.prod(map(_size, ranges))


# -- neighbours ------------------------------------------------------------------------------------


def _merge_neighbours(c: Choices) -> None:
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
    indices = {u.src[1] for u in _accesses(kernel)}
    for u in kernel.nodes:
        touched = {slow, fast} & free(u)
        if not touched or u in (slow, fast):
            continue
        if u.dtype is dtypes.index and u not in indices:
            continue  # part of an index, looked at there
        if u in indices:
            step = {r: _step_of(u, r) for r in (slow, fast)}
            if None in step.values() or step[slow] != (step[fast] or 0) * _size(fast):
                return False
        elif any(s.dtype is dtypes.index and {slow, fast} & free(s) for s in u.src) and (
            u.op not in (ops.LOAD, ops.STORE, *BINDERS)
        ):  # fmt: skip
            return False  # a comparison, or a counter as a value
    return True


# -- products --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Product:
    """END(STORE(sum of left * right)): `i` only in the left factor, `j` only in the right and side
    by side in the output, `k` in both."""

    end: UOp
    store: UOp
    left: UOp
    right: UOp
    i: UOp | None
    j: UOp
    k: tuple[UOp, ...]


def _product_of(kernel: Kernel) -> _Product | None:
    nest = kernel.body
    if nest.op is not ops.END or nest.src[0].op is not ops.STORE:
        return None
    effect = nest.src[0]
    sums = [u for u in toposort([effect.src[2]]) if u.op is ops.REDUCE]
    factors = _factors(sums[0]) if len(sums) == 1 else None
    if factors is None:
        return None
    total, ranges = sums[0], nest.src[1:]
    for left, right in (factors, factors[::-1]):
        only_right = [r for r in ranges if r in free(right) and r not in free(left)
                      and _step(effect, r) == 1]  # fmt: skip
        only_left = [r for r in ranges if r in free(left) and r not in free(right)]
        both = [r for r in total.src[1:] if r in free(left) and r in free(right)]
        if only_right and len(both) == len(total.src) - 1:
            i = max(only_left, key=_size, default=None)
            return _Product(nest, effect, left, right, i, only_right[0], tuple(both))
    return None


def _factors(total: UOp) -> tuple[UOp, UOp] | None:
    """Of a sum of products, each perhaps under a condition."""
    x = total.src[0]
    if x.op is ops.WHERE:
        x = x.src[1]
    if total.arg[0] != "add" or x.op is not ops.MUL:
        return None
    return x.src[0], x.src[1]


def _contraction(c: Choices, threads: int) -> bool:
    """Tiles for a sum of products: vectors along the output, several rows of it at once."""
    p = _product_of(c.kernel)
    width = max(c.target.vector_widths)
    if p is None or _size(p.j) < width // _LEAST_LANES:
        return False
    before = c.kernel, list(c.reasons)
    rows = _size(p.i) if p.i is not None else 1
    length = math.prod(map(_size, p.k))
    if rows * _size(p.j) * length < _LEAST_FOR_THREADS:
        return False
    height, vectors = _tile(rows, _size(p.j), width)
    i, j = name_of(p.i) if p.i is not None else "", name_of(p.j)
    tile = f"a tile of {height} x {vectors * width}"
    if p.i is not None and height > 1:
        c.take(tile, "SPLIT", i, height)
        i, row = f"{i}/{height}", f"{i}%{height}"
    else:
        row = ""
    c.take(tile, "SPLIT", j, vectors * width)
    wide, j = f"{j}%{vectors * width}", f"{j}/{vectors * width}"
    c.take(tile, "SPLIT", wide, width)
    lanes, column = f"{wide}%{width}", f"{wide}/{width}"
    if not c.take(f"{width} results side by side", "VECTOR", lanes):
        c.kernel, c.reasons = before
        return False
    outer = _chunks_of(c, [n for n in (i, j) if n] if rows >= height * threads else [j, i], threads)
    _order(c, [*outer, row, column, lanes])
    _pack(c, p, rows, outer, column, lanes)
    if row:
        c.take(tile, "UNROLL", row)
    c.take(tile, "UNROLL", column)
    return True


def _tile(rows: int, columns: int, width: int) -> tuple[int, int]:
    """Rows and vectors of a register tile, by what padding each would waste."""

    def waste(n: int, part: int) -> float:
        return -(-n // part) * part / n

    shapes = ((_ROWS, _VECTORS), (_ROWS, 2), (6, 4), (12, 2), (4, 4))
    if rows < _ROWS:
        return rows, max(1, min(-(-columns // width), _ROWS * _VECTORS // (2 * rows), 6))
    return min(shapes, key=lambda s: waste(rows, s[0]) * waste(columns, s[1] * width)
               * (1.0 if s == (_ROWS, _VECTORS) else 1.2))  # fmt: skip


def _chunks_of(c: Choices, names: list[str], threads: int) -> list[str]:
    """The outer ranges in order, the first of them in chunks for threads; the others of the nest
    before them."""
    by_name = {name_of(r): r for r in c.kernel.ranges}
    names = [n for n in names if n in by_name]
    nest = c.kernel.body
    others = [name_of(r) for r in nest.src[1:] if "%" not in name_of(r) and name_of(r) not in names]
    order = [*others, *names]
    first = next((n for n in order if _size(by_name[n]) > 1), None)
    if first is None:
        return order
    part = -(-_size(by_name[first]) // (threads * _CHUNKS))
    part = max(part, min(_TILES, -(-_size(by_name[first]) // threads)) if first in names else 1)
    if part == 1:
        c.take("work for every thread", "THREAD", first)
        return [first, *[n for n in order if n != first]]
    c.take("work for every thread", "SPLIT", first, part)
    c.take("work for every thread", "THREAD", f"{first}/{part}")
    rest = [f"{first}%{part}" if n == first else n for n in order]
    return [f"{first}/{part}", *rest]


def _order(c: Choices, names: Sequence[str]) -> None:
    c.take("outermost first", "REORDER", *[n for n in names if n])


def _pack(c: Choices, p: _Product, rows: int, outer: list[str], column: str, lanes: str) -> None:
    """A panel of the right factor in the order in which it is read, where rows enough read it; and
    long sums in blocks, for accuracy and so that panels stay near."""
    k = [name_of(r) for r in p.k]
    longest = max(p.k, key=_size)
    if len(p.k) == 1 and _size(longest) > 2 * _BLOCK:
        name = name_of(longest)
        c.take("blocks of the sum", "SPLIT", name, _BLOCK)
        inner = next((n for n in outer[1:] if n), None)
        held = inner is not None and c.take("the output holds the sum so far", "CACHE",
                                            f"{name}/{_BLOCK}", inner)  # fmt: skip
        if not held:
            c.take("sums of partial sums", "GROUP", f"{name}/{_BLOCK}")
        k = [f"{name}%{_BLOCK}"]
    unit = p.right.op is ops.LOAD and _step(p.right, p.j) == 1
    if p.right.op is ops.LOAD and (rows >= _LEAST_ROWS_TO_PACK or not unit):
        right = memory_of(p.right)
        inside = [n for n in outer[1:] if n.startswith(name_of(p.j))]
        c.take("a panel in the order of its use", "STAGE", right.arg, *inside[-1:], *k, column,
               lanes)  # fmt: skip


# -- everything else -------------------------------------------------------------------------------


def _vectors(c: Choices) -> None:
    """Vectors along the ranges whose elements lie side by side, where most work is."""
    width = max(c.target.vector_widths)
    for r in _by_gain(c.kernel, width // _LEAST_LANES):
        if not any(q is r for q in c.kernel.ranges):
            continue  # another choice split it
        lanes = max((w for w in c.target.vector_widths if w <= _size(r)), default=0)
        if lanes:
            _vectorize(c, r, lanes)


def _by_gain(kernel: Kernel, least: int) -> list[UOp]:
    """Ranges of `least` counts or more in order of what vectors of them save."""
    around = loops_around(kernel)
    gain: dict[UOp, float] = {}
    for u in _accesses(kernel):
        visits = _visits(u, around)
        for r in free(u):
            if kind_of(r) != "loop" or r in kernel.carried:
                continue
            near = _step(u, r) in (0, 1) or _panel(kernel, u, r, around) is not None
            gain[r] = gain.get(r, 0) + (visits if near else -_GATHER * visits)
    return sorted((r for r, g in gain.items() if g > 0 and _size(r) >= least),
                  key=lambda r: (-gain[r], name_of(r)))  # fmt: skip


def _panel(kernel: Kernel, u: UOp, r: UOp, around: dict[UOp, frozenset[UOp]]) -> list[UOp] | None:
    """The ranges of the panel in which a LOAD's elements lie side by side along `r`: those that are
    summed over. None where it is not read often enough, or too large to stay near."""
    if u.op is not ops.LOAD or u.src[0].op is not ops.ARG or u.src[0] in kernel.written:
        return None
    summed = {s for n in kernel.nodes if n.op is ops.REDUCE for s in n.src[1:]}
    inner = [s for s in kernel.ranges if s in summed and s in free(u) and kind_of(s) == "loop"]
    size = math.prod(map(_size, inner)) * min(_size(r), 16)
    reads = _visits(u, around) // math.prod(map(_size, free(u)))
    if r in inner or not inner or size > _PANEL or reads < _LEAST_READS or _step(u, r) is None:
        return None
    return inner


def _vectorize(c: Choices, r: UOp, width: int) -> None:
    name, size = name_of(r), _size(r)
    reduced = [u for u in c.kernel.nodes if u.op is ops.REDUCE and r in u.src[1:]]
    before = c.kernel, list(c.reasons)
    if reduced and size > _LONGEST_SUM * width * _ACCUMULATORS:
        part = _LONGEST_SUM * width * _ACCUMULATORS
        if c.take("sums of partial sums", "SPLIT", name, part):
            c.take("sums of partial sums", "GROUP", f"{name}/{part}")
            name = f"{name}%{part}"
    several = bool(reduced) and size >= width * _ACCUMULATORS * 2 and len(reduced) <= 2
    several = several and not any(u.op is ops.END and r in u.src[1:] for u in c.kernel.nodes)
    part = width * _ACCUMULATORS if several else width
    ok = c.take(f"{width} at a time", "SPLIT", name, part)
    lanes = f"{name}%{part}"
    if several:
        ok = ok and c.take("several accumulators", "SPLIT", lanes, width)
        ok = ok and c.take("several accumulators", "GROUP", f"{lanes}/{width}")
        ok = ok and c.take("several accumulators", "UNROLL", f"{lanes}/{width}")
        lanes = f"{lanes}%{width}"
    if reduced:
        c.take("partial results in lanes", "GROUP", lanes)
    if not (ok and c.take(f"{width} at a time", "VECTOR", lanes)):
        c.kernel, c.reasons = before
    elif reduced:
        _tile_of_sums(c)
    else:
        _panels(c, lanes)


def _panels(c: Choices, lanes: str) -> None:
    """What sums read in strides along the vector is brought side by side, once for all of them."""
    for position in range(len(c.kernel.params)):
        around = loops_around(c.kernel)
        for u in _accesses(c.kernel):
            r = next((q for q in free(u) if name_of(q) == lanes), None)
            if r is None or memory_of(u).arg != position or _step(u, r) in (0, 1):
                continue
            inner = _panel(c.kernel, u, r, around)
            if inner is not None:
                c.take("side by side along the vector", "STAGE", position,
                       *map(name_of, inner), lanes)  # fmt: skip
                break


def _tile_of_sums(c: Choices) -> None:
    """Several results whose sums run over vectors: each factor that is read serves all of them that
    it is of."""
    nest = c.kernel.body
    if nest.op is not ops.END:
        return
    effects = nest.src[0].src if nest.src[0].op is ops.BLOCK else nest.src[:1]
    if any(e.op is not ops.STORE for e in effects):
        return
    inner = [u for u in c.kernel.nodes if u.op is ops.REDUCE and _factors(u) is not None]
    if len(inner) != 1:
        return
    factors = _factors(inner[0])
    assert factors is not None
    left, right = (free(f) for f in factors)
    tile: list[str] = []
    for mine, other in ((left, right), (right, left)):
        ranges = [r for r in nest.src[1:] if r in mine and r not in other and kind_of(r) == "loop"]
        r = min(ranges, key=lambda r: (_size(r) > _SUMS, -_size(r)), default=None)
        if r is None:
            continue
        name, why = name_of(r), f"{_SUMS} sums share what they read"
        if _size(r) > _SUMS:
            if not c.take(why, "SPLIT", name, _SUMS):
                continue
            name = f"{name}%{_SUMS}"
        tile.append(name)
    rest = [name_of(r) for r in c.kernel.body.src[1:] if name_of(r) not in tile]
    if tile and c.take("the tile innermost", "REORDER", *rest, *tile):
        for name in tile:
            c.take("all at once", "UNROLL", name)


def _short_sums(c: Choices) -> None:
    """Long sums of floats become sums of partial sums, each of some hundreds of elements."""
    why = "sums of partial sums"
    for r in c.kernel.ranges:
        for u in c.kernel.nodes:
            loops = [q for q in u.src[1:] if kind_of(q) == "loop"] if u.op is ops.REDUCE else []
            if r not in loops or u.arg[0] != "add" or not u.dtype.is_float:
                continue
            inner = math.prod(map(_size, loops[loops.index(r) + 1 :]))
            if inner * _size(r) <= 2 * _PART or inner >= _PART:
                continue
            part, name = max(_PART // inner, 1), name_of(r)
            if part > 1 and c.take(why, "SPLIT", name, part):
                name = f"{name}/{part}"
            c.take(why, "GROUP", name)
            break


def _threads(c: Choices, threads: int) -> None:
    """The outermost range in chunks, if there is work for all."""
    around = loops_around(c.kernel)
    work = sum(_visits(u, around) for u in _accesses(c.kernel))
    if threads < 2 or work < _LEAST_FOR_THREADS:
        return
    nest = c.kernel.body
    if nest.op is ops.END:
        for r in sorted(nest.src[1:], key=lambda r: -min(_size(r), threads * _CHUNKS)):
            size, name = _size(r), name_of(r)
            if kind_of(r) != "loop" or size < threads:
                continue
            part = -(-size // (threads * _CHUNKS))
            before = c.kernel, list(c.reasons)
            if part == 1 and c.take("work for every thread", "THREAD", name):
                return
            if c.take("work for every thread", "SPLIT", name, part) and c.take(
                "work for every thread", "THREAD", f"{name}/{part}"
            ):  # fmt: skip
                return
            c.kernel, c.reasons = before
        return
    _partial_sums(c, threads)


def _partial_sums(c: Choices, threads: int) -> None:
    """One result of a long reduction: every thread reduces parts of it."""
    if c.kernel.body.op is not ops.STORE:
        return
    for u in c.kernel.nodes:
        if u.op is not ops.REDUCE or free(u) or len(u.src) < 2:
            continue
        r = next((r for r in u.src[1:] if kind_of(r) == "loop" and (count_of(r) or 0) > 1), None)
        if r is None:
            continue
        part = -(-_size(r) // 64)
        before = c.kernel, list(c.reasons)
        name = name_of(r)
        if part > 1:
            c.take("partial results of threads", "SPLIT", name, part)
            name = f"{name}/{part}"
        c.take("partial results of threads", "GROUP", name)
        if not c.take("partial results of threads", "THREAD", name):
            c.kernel, c.reasons = before
        return
