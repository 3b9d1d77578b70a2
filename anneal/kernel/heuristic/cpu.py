"""Opts for vectors and threads of a CPU, each with its reason: what runs where nobody has searched.

In: a kernel that no Opt has touched, and its target. Out: the kernel in shape, and the choices. A
choice that the kernel refuses is left out; none changes what it computes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from anneal.kernel.heuristic.choices import (
    Choices,
    Product,
    accesses,
    by_gain,
    extent,
    merge_neighbours,
    part_of,
    product_of,
    short_sums,
    stride,
    tile_of_sums,
    visits,
)
from anneal.kernel.ir import (
    BINDERS,
    Kernel,
    count_of,
    free,
    kind_of,
    loops_around,
    memory_of,
    name_of,
)
from anneal.kernel.opts import computed_again
from anneal.kernel.target import Target
from anneal.uop import ops
from anneal.uop.uop import UOp, toposort

# Work, in elements computed, below which threads cost more than they save: some 20 microseconds.
_LEAST_FOR_THREADS = 1 << 15
# Chunks for each thread: enough that one that is held up does not hold up the others.
_CHUNKS = 4
# Fewer of a product's rows: each chunk packs the other operand for itself.
_CHUNKS_OF_PRODUCTS = 2
# Rows and vectors of a register tile: 24 of 32 vector registers.
_ROWS, _VECTORS = 8, 3
# Tiles of rows for which a packed panel of the other operand stays in the second cache, and the
# length of a sum between two visits of the output.
_TILES, _BLOCK = 16, 256
# Rows of a factor that is not packed that are read side by side: as many streams as a core follows.
_STREAMS = 16
# Rows from which packing pays: each element of the panel is read once for every tile of them.
_LEAST_ROWS_TO_PACK = 32
# Accumulators of a sum beside its vector: as many as an addition takes cycles.
_ACCUMULATORS = 4
# Elements of one accumulator, whose rounding errors grow with them, where vectors leave more.
_LONGEST_SUM = 512
# Operations on vectors that combine the lanes of one.
_ACROSS = 8
# Part of a vector's lanes that are worth it: the others compute nothing.
_LEAST_LANES = 4
# Operations that cost more than to read their result.
_COSTLY = ops.TRANSCENDENTAL
# Elements of a panel that stay in the first caches, and how often each is read at least.
_PANEL, _LEAST_READS = 1 << 14, 16


def for_cpu(kernel: Kernel, target: Target) -> Choices:
    """The kernel in shape for vectors and threads of a CPU."""
    c = Choices(kernel, target)
    threads = target.threads
    merge_neighbours(c)
    _digits_of_sums(c)
    if not _contraction(c, threads):
        _keep_rows(c)
        _own_loops(c)
        _vectors(c)
        _threads(c, threads)
    short_sums(c)
    return c


def _digits_of_sums(c: Choices) -> None:
    """A range summed over, of which an index wants digits, as after heads are merged, is loops over
    those: nothing is divided inside."""
    summed = {r for u in c.kernel.nodes if u.op is ops.REDUCE for r in u.src[1:]}
    for u in c.kernel.nodes:
        if u.op is ops.FLOORDIV and u.src[0] in summed and u.src[1].op is ops.CONST:
            r, n = u.src[0], int(u.src[1].arg)
            if any(r is q for q in c.kernel.ranges) and extent(r) % n == 0:
                c.take("its digits are counted", "SPLIT", name_of(r), n)


def _contraction(c: Choices, threads: int) -> bool:
    """Tiles for a sum of products: vectors along the output, several rows of it at once."""
    p = product_of(c.kernel)
    width = max(c.target.vector_widths)
    if p is None or extent(p.j) < width // _LEAST_LANES:
        return False
    before = c.kernel, list(c.reasons)
    rows = extent(p.i) if p.i is not None else 1
    length = math.prod(map(extent, p.k))
    if rows * extent(p.j) * length < _LEAST_FOR_THREADS:
        return False
    height, vectors = _tile(rows, extent(p.j), width)
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
    _pack(c, p, rows, outer, row, column, lanes)
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
    first = next((n for n in order if extent(by_name[n]) > 1), None)
    if first is None:
        return order
    part = -(-extent(by_name[first]) // (threads * _CHUNKS_OF_PRODUCTS))
    part = max(part, min(_TILES, -(-extent(by_name[first]) // threads)) if first in names else 1)
    if part == 1:
        c.take("work for every thread", "THREAD", first)
        return [first, *[n for n in order if n != first]]
    c.take("work for every thread", "SPLIT", first, part)
    c.take("work for every thread", "THREAD", f"{first}/{part}")
    rest = [f"{first}%{part}" if n == first else n for n in order]
    return [f"{first}/{part}", *rest]


def _order(c: Choices, names: Sequence[str]) -> None:
    c.take("outermost first", "REORDER", *[n for n in names if n])


def _pack(c: Choices, p: Product, rows: int, outer: list[str], row: str, column: str,
          lanes: str) -> None:  # fmt: skip
    """A panel of the right factor in the order in which it is read, where enough rows read it;
    rows of the left if they are computed; long sums in blocks, for accuracy and so that panels
    stay near."""
    k = [name_of(r) for r in p.k]
    longest = max(p.k, key=extent)
    right, left = _read_by(p.right, p.j), _read_by(p.left, p.i) if p.i is not None else None
    packs = right is not None and (rows >= _LEAST_ROWS_TO_PACK or stride(right, p.j) != 1)
    block = _BLOCK if packs else max(_STREAMS, extent(longest) // _BLOCK)
    if len(p.k) == 1 and extent(longest) > 2 * _BLOCK:
        name, part = name_of(longest), part_of(extent(longest), block)
        c.take("blocks of the sum", "SPLIT", name, part)
        inner = next((n for n in outer[1:] if n), None)
        held = inner is not None and c.take("the output holds the sum so far", "CACHE",
                                            f"{name}/{part}", inner)  # fmt: skip
        if not held:
            c.take("sums of partial sums", "GROUP", f"{name}/{part}")
        k = [f"{name}%{part}"]
    if right is not None and packs:
        inside = [n for n in outer[1:] if n.startswith(name_of(p.j))]
        c.take("a panel in the order of its use", "STAGE", memory_of(right).arg, *inside[-1:], *k,
               column, lanes)  # fmt: skip
    if left is not None and row and p.left.op is not ops.LOAD:
        _compute_rows(c, left, p.i, row, k)


def _compute_rows(c: Choices, left: UOp, i: UOp | None, row: str, k: list[str]) -> None:
    """The left factor, computed once for all columns, along what lies side by side."""
    why, position = "computed once for all columns", memory_of(left).arg
    if i is not None and stride(left, i) == 1:
        if c.take(why, "STAGE", position, *k, row):
            c.take("as many at a time", "VECTOR", f"{row}:{position}")
        return
    if not c.take(why, "STAGE", position, row, *k):
        return
    filled = f"{k[-1]}:{position}"
    for width in sorted(c.target.vector_widths, reverse=True):
        r = next(r for r in c.kernel.ranges if name_of(r) == filled)
        loads = [u for u in accesses(c.kernel) if u.op is ops.LOAD and r in free(u)]
        if extent(r) % width == 0 and all(stride(u, r) in (0, 1) for u in loads) and c.take_all(
            f"{width} at a time", ("SPLIT", filled, width), ("VECTOR", f"{filled}%{width}")
        ):  # fmt: skip
            return


def _read_by(factor: UOp, r: UOp) -> UOp | None:
    """A LOAD that a factor is computed of and that depends on `r`; None where that takes a
    reduction."""
    below = toposort([factor])
    if any(u.op in BINDERS for u in below):
        return None
    return next((u for u in below if u.op is ops.LOAD and r in free(u)), None)


# -- everything else -------------------------------------------------------------------------------


def _keep_rows(c: Choices) -> None:
    """What several loops over a row compute at some cost is computed once, if it stays near."""
    for r in c.kernel.ranges:
        below = [u for u in toposort(computed_again(c.kernel, r)) if r in free(u)]
        if (extent(r) <= _PANEL and any(u.op in _COSTLY for u in below)
                and all(stride(u, r) == 1 for u in below if u.op is ops.LOAD)):  # fmt: skip
            c.take("computed once for all loops over it", "KEEP", name_of(r))


def _own_loops(c: Choices) -> None:
    """Loops over a row that fill memory are vectors, or not, each by what it reads and writes."""
    for r in c.kernel.ranges:
        if kind_of(r) == "loop" and r not in c.kernel.carried:
            c.take("a loop for each memory", "APART", name_of(r))


def _vectors(c: Choices) -> None:
    """Vectors along the ranges whose elements lie side by side, where most work is."""
    width = max(c.target.vector_widths)

    def near(u: UOp, r: UOp, around: dict[UOp, frozenset[UOp]]) -> bool:
        return stride(u, r) in (0, 1) or _panel(c.kernel, u, r, around) is not None

    for r in by_gain(c.kernel, width // _LEAST_LANES, near, _ACROSS * width):
        if not any(q is r for q in c.kernel.ranges):
            continue  # another choice split it
        lanes = max((w for w in c.target.vector_widths if w <= extent(r)), default=0)
        if lanes:
            _vectorize(c, r, lanes)


def _panel(kernel: Kernel, u: UOp, r: UOp, around: dict[UOp, frozenset[UOp]]) -> list[UOp] | None:
    """The ranges of the panel in which a LOAD's elements lie side by side along `r`: those that are
    summed over, and those inside of the loops that read it again. None where it is not read often
    enough, or too large to stay near."""
    if u.op is not ops.LOAD or u.src[0].op is not ops.ARG or u.src[0] in kernel.written:
        return None
    summed = {s for n in kernel.nodes if n.op is ops.REDUCE for s in n.src[1:]}
    again = frozenset[UOp]().union(*(around.get(s, ()) for s in free(u))) - free(u)
    inner = [s for s in kernel.ranges if s in free(u) and kind_of(s) == "loop" and s is not r
             and (s in summed or not again.isdisjoint(around.get(s, ())))]  # fmt: skip
    size = math.prod(map(extent, inner)) * extent(r)
    reads = visits(u, around) // math.prod(map(extent, free(u)))
    if r in summed or not inner or size > _PANEL or reads < _LEAST_READS or stride(u, r) is None:
        return None
    return inner


def _vectorize(c: Choices, r: UOp, width: int) -> None:
    name, size = name_of(r), extent(r)
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
        lanes, accumulator = f"{lanes}%{width}", f"{lanes}/{width}"
    if reduced:
        c.take("partial results in lanes", "GROUP", lanes)
    if several:
        ok = ok and c.take_all("several accumulators", ("GROUP", accumulator),
                               ("UNROLL", accumulator))  # fmt: skip
    if not (ok and c.take(f"{width} at a time", "VECTOR", lanes)):
        c.kernel, c.reasons = before
    elif reduced:
        tile_of_sums(c)
    else:
        _panels(c, lanes)


def _panels(c: Choices, lanes: str) -> None:
    """What sums read in strides along the vector is brought side by side, once for all of them."""
    for position in range(len(c.kernel.params)):
        around = loops_around(c.kernel)
        for u in accesses(c.kernel):
            r = next((q for q in free(u) if name_of(q) == lanes), None)
            if r is None or memory_of(u).arg != position or stride(u, r) in (0, 1):
                continue
            inner = _panel(c.kernel, u, r, around)
            if inner is not None:
                c.take("side by side along the vector", "STAGE", position,
                       *map(name_of, inner), lanes)  # fmt: skip
                break


def _threads(c: Choices, threads: int) -> None:
    """The outermost range in chunks, if there is work for all."""
    around = loops_around(c.kernel)
    work = sum(visits(u, around) for u in accesses(c.kernel))
    if threads < 2 or work < _LEAST_FOR_THREADS:
        return
    nest = c.kernel.body
    if nest.op is ops.END:
        for r in sorted(nest.src[1:], key=lambda r: -min(extent(r), threads * _CHUNKS)):
            size, name = extent(r), name_of(r)
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
        part = -(-extent(r) // 64)
        before = c.kernel, list(c.reasons)
        name = name_of(r)
        if part > 1:
            c.take("partial results of threads", "SPLIT", name, part)
            name = f"{name}/{part}"
        c.take("partial results of threads", "GROUP", name)
        if not c.take("partial results of threads", "THREAD", name):
            c.kernel, c.reasons = before
        return
