"""Opts for the workgroups of a GPU, or of a software renderer, each with its reason.

In: a kernel that no Opt has touched, and its target. Out: the kernel in shape, and the choices. A
choice that the kernel refuses is left out; none changes what it computes.

Ranges that every reduction depends on are *outer*: their counts share no work, and so they are
counted by workgroups and invocations. The others belong to a row, whose lanes are an invocation's
vector and, if the row is long, all invocations of a workgroup.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from anneal.kernel.heuristic.choices import (
    Choices,
    accesses,
    by_gain,
    extent,
    merge_neighbours,
    part_of,
    short_sums,
    stride,
    visits,
)
from anneal.kernel.ir import BINDERS, Kernel, free, kind_of, loops_around, name_of
from anneal.kernel.target import Target
from anneal.uop import ops
from anneal.uop.uop import UOp

_WIDTH = 4  # lanes of WGSL's vectors
# Rows and vectors of a register tile, the most first.
_ROWS, _VECTORS = (16, 8, 4, 2, 1), (4, 2, 1)
# Work in a sum, in loads, for each vector that a tile adds to: compiling that takes some ms.
_LOADS_A_REGISTER = 1 << 21
# Part of a tile that may lie outside of the results, and what a tile with such a part is worth.
_OUTSIDE, _RAGGED = 1 / 8, 0.75
# Loads inside of loops, by all invocations, that pay for the longer text of a tile; and its length.
_LEAST_LOADS, _MOST_OPERATIONS = 1 << 16, 4096
# Counts of a row for each lane that pay for combining the lanes' results.
_LEAST_EACH = 8
# How often a workgroup loops that works at several parts.
_MOST_LOOPS = 128
# What a reduction may cost to be computed again for each count of a range.
_CHEAP = 8
# How often a sum over few elements is written out.
_UNROLLED = 4


def for_webgpu(kernel: Kernel, target: Target) -> Choices:
    """The kernel in shape for workgroups, their invocations and vectors of four."""
    c = Choices(kernel, target)
    merge_neighbours(c)
    s = _Shape(c, _outer(c.kernel))
    if not _tile(s):
        _spread(s)
    short_sums(c)
    _launch(s)
    return c


@dataclass(slots=True)
class _Shape:
    """Choices, and the names of the outer ranges that nobody counts yet."""

    c: Choices
    outer: list[str]

    @property
    def points(self) -> int:
        return math.prod(extent(r) for r in self.ranges())

    def ranges(self) -> list[UOp]:
        by_name = {name_of(r): r for r in self.c.kernel.ranges}
        return [by_name[n] for n in self.outer]

    def split(self, why: str, name: str, n: int, kind: str) -> bool:
        """Parts of `n`, whose counts are of a kind, of an outer range."""
        inner = f"{name}%{n}"
        if not self.c.take_all(why, ("SPLIT", name, n), (kind, inner)):
            return False
        self.outer[self.outer.index(name)] = f"{name}/{n}"
        return True

    def whole(self, why: str, name: str, kind: str) -> bool:
        """All counts of an outer range are of a kind."""
        if not self.c.take(why, kind, name):
            return False
        self.outer.remove(name)
        return True


def _outer(kernel: Kernel) -> list[str]:
    """The ranges of the nest that no reduction is computed again for, but for little work; if there
    are none, all but those that are reduced, too."""
    nest = kernel.body
    if nest.op is not ops.END:
        return []
    around = loops_around(kernel)
    reduced = {r for u in kernel.nodes if u.op is ops.REDUCE for r in u.src[1:]}
    ranges = [r for r in nest.src[1:] if r not in kernel.carried and r not in reduced]
    work = {u: visits(u, around) * math.prod(map(extent, u.src[1:]))
            for u in kernel.nodes if u.op is ops.REDUCE or u.op is ops.STAGE}  # fmt: skip
    total = sum(visits(u, around) for u in accesses(kernel))
    out = []
    for r in ranges:
        again = sum(n * (extent(r) - 1) for u, n in work.items() if r not in free(u))
        if again * 2 <= total or all(
            math.prod(map(extent, u.src[1:])) <= _CHEAP for u in work if r not in free(u)
        ):  # fmt: skip
            out.append(name_of(r))
    return out or [name_of(r) for r in ranges]


def _near(u: UOp, r: UOp, around: dict[UOp, frozenset[UOp]]) -> bool:
    return stride(u, r) in (0, 1)


# -- tiles -----------------------------------------------------------------------------------------


def _tile(s: _Shape) -> bool:
    """Several results in one invocation, along the axes on which they share what they read."""
    c, kernel = s.c, s.c.kernel
    summed = {r for u in kernel.nodes if u.op is ops.REDUCE for r in u.src[1:]}
    loads = [u for u in accesses(kernel) if u.op is ops.LOAD and free(u) & summed]
    around = loops_around(kernel)
    work = sum(visits(u, around) for u in loads)
    if work < _LEAST_LOADS:
        return False
    if any(u.op is ops.STAGE for u in kernel.nodes) or any(
        u.op is ops.END for u in kernel.nodes if u is not kernel.body
    ):  # fmt: skip
        return False
    sharing: dict[frozenset[UOp], UOp] = {}
    for r in s.ranges():
        shared = frozenset(u for u in loads if r not in free(u))
        if shared and extent(r) > 1:
            sharing[shared] = r  # of the axes along which the same is shared, the innermost
    order = s.ranges()
    axes = sorted(sharing.values(), key=order.index)[-2:]
    if not axes:
        return False
    wide = next((r for r in reversed(axes) if _is_wide(kernel, r)), None)
    lengths = _lengths(s, axes, wide, work)
    if not lengths:
        return False
    why = "results share what they read"
    for r in axes:
        name, n = name_of(r), lengths[r]
        if r is wide:
            _vectors_of_results(s, name, n)
        elif n > 1:
            s.whole(why, name, "UNROLL") if n == extent(r) else s.split(why, name, n, "UNROLL")
    k = _unit_sum(kernel, loads) if wide is None else None
    if k is not None:
        _vector_of_a_row(c, k)
    elif wide is not None:
        _unrolled_sum(c, loads, summed)
    return True


def _unrolled_sum(c: Choices, loads: list[UOp], summed: set[UOp]) -> None:
    """Four steps of a sum at once, where an operand's lie side by side."""
    for r in c.kernel.ranges:
        if (r in summed and extent(r) % _UNROLLED == 0 and extent(r) > _UNROLLED
                and any(stride(u, r) == 1 for u in loads)):  # fmt: skip
            name = name_of(r)
            c.take_all("four steps of the sum", ("SPLIT", name, _UNROLLED),
                       ("UNROLL", f"{name}%{_UNROLLED}"))  # fmt: skip


def _is_wide(kernel: Kernel, r: UOp) -> bool:
    """Whether all that moves with `r` moves by one element, some of the STOREs among it."""
    steps = [(u, stride(u, r)) for u in accesses(kernel)]
    return (all(n in (0, 1) for _, n in steps) and extent(r) >= _WIDTH
            and any(n == 1 for u, n in steps if u.op is ops.STORE))  # fmt: skip


def _lengths(s: _Shape, axes: list[UOp], wide: UOp | None, work: int) -> dict[UOp, int]:
    """How many results, or vectors of them, a tile has along each of the axes: the most that leave
    the device busy."""
    sums = sum(u.op is ops.REDUCE for u in s.c.kernel.nodes)
    nodes = len(s.c.kernel.nodes)
    registers = min(s.c.target.registers, max(work // _LOADS_A_REGISTER, 16))
    rest = s.points // math.prod(map(extent, axes))
    choices = []
    for r in axes:
        size = -(-extent(r) // _WIDTH) if r is wide else extent(r)
        whole = () if r is wide or size >= _ROWS[0] else (size,)
        edges = _VECTORS if r is wide else (*_ROWS, *whole)
        choices.append([(r, n) for n in edges if -(-size // n) * n <= size * (1 + _OUTSIDE)])
    best, found = (0.0, 0), {}
    for tile in itertools.product(*choices):
        count = math.prod(n for _, n in tile)
        width = _WIDTH if wide is not None else 1
        groups = rest * math.prod(
            -(-extent(r) // (n * (_WIDTH if r is wide else 1))) for r, n in tile)
        if (count * sums > registers or count * nodes > _MOST_OPERATIONS
                or count * width > 1 and groups < s.c.target.busy):  # fmt: skip
            continue
        no_rest = all(extent(r) % (n * (_WIDTH if r is wide else 1)) == 0 for r, n in tile)
        rank = (count * (1 if no_rest else _RAGGED), -max(n for _, n in tile))
        if rank > best:
            best, found = rank, dict(tile)
    if wide is None and best[0] < 2:
        return {}
    return found


def _vectors_of_results(s: _Shape, name: str, vectors: int) -> None:
    """Vectors along an outer range, several of them in an invocation."""
    why, n = "four results side by side", vectors * _WIDTH
    if vectors == 1:
        s.split(why, name, n, "VECTOR")
    elif s.c.take_all(why, ("SPLIT", name, n), ("SPLIT", f"{name}%{n}", _WIDTH),
                      ("VECTOR", f"{name}%{n}%{_WIDTH}"),
                      ("UNROLL", f"{name}%{n}/{_WIDTH}")):  # fmt: skip
        s.outer[s.outer.index(name)] = f"{name}/{n}"


def _unit_sum(kernel: Kernel, loads: list[UOp]) -> str | None:
    """A range summed over, along which all that depends on it lies side by side."""
    for u in kernel.nodes:
        for r in u.src[1:] if u.op is ops.REDUCE else ():
            if extent(r) >= 4 * _WIDTH and all(
                stride(v, r) == 1 for v in loads if r in free(v)
            ):  # fmt: skip
                return name_of(r)
    return None


# -- rows and elements -----------------------------------------------------------------------------


def _spread(s: _Shape) -> None:
    """Vectors, and invocations of a workgroup, along the ranges whose elements lie side by side."""
    outer, lanes = set(s.outer), s.c.target.lanes
    for r in by_gain(s.c.kernel, _WIDTH, _near):
        if not any(q is r for q in s.c.kernel.ranges):
            continue
        name = name_of(r)
        if name in outer:
            if s.points >= _WIDTH * s.c.target.busy:
                s.split("four at a time", name, _WIDTH, "VECTOR")
        elif extent(r) >= _LEAST_EACH * lanes and not _other_lanes(s, r):
            _row(s.c, name, extent(r))
        elif extent(r) >= 4 * _WIDTH and s.points >= lanes:
            _vector_of_a_row(s.c, name)


def _other_lanes(s: _Shape, r: UOp) -> bool:
    """Whether a value would know two ranges that invocations count."""
    for u in s.c.kernel.nodes:
        known = free(u).union(u.src[1:] if u.op in BINDERS else ())
        if r in known and any(kind_of(q) == "local" for q in known):
            return True
    return False


def _is_reduced(kernel: Kernel, name: str) -> bool:
    return any(name_of(r) == name for u in kernel.nodes if u.op is ops.REDUCE for r in u.src[1:])


def _row(c: Choices, name: str, size: int) -> None:
    """A row by all invocations of a workgroup, each taking vectors of it."""
    lanes = c.target.lanes
    wide = _WIDTH if size >= _WIDTH * lanes else 1
    part = lanes * wide
    lane, vector = f"{name}%{part}", f"{name}%{part}%{wide}"
    steps: list[tuple[str | int, ...]] = [("SPLIT", name, part)]
    if wide > 1:
        steps.append(("SPLIT", lane, wide))
        lane = f"{lane}/{wide}"
    reduced = _is_reduced(c.kernel, name)
    steps += [("GROUP", x) for x in (lane, vector) if reduced and (wide > 1 or x is lane)]
    steps += [("VECTOR", vector)] if wide > 1 else []
    c.take_all("a row by a workgroup", *steps, ("LOCAL", lane))


def _vector_of_a_row(c: Choices, name: str) -> None:
    """Vectors along a range of one invocation."""
    grouped = [("GROUP", f"{name}%{_WIDTH}")] if _is_reduced(c.kernel, name) else []
    c.take_all("four at a time", ("SPLIT", name, _WIDTH), *grouped,
               ("VECTOR", f"{name}%{_WIDTH}"))  # fmt: skip


# -- who counts the rest ---------------------------------------------------------------------------


def _launch(s: _Shape) -> None:
    """Invocations of workgroups, and workgroups, along what is left of the outer ranges."""
    target = s.c.target
    if not any(kind_of(r) == "local" for r in s.c.kernel.ranges):  # else a row is a workgroup's
        _invocations(s)
        _chunks(s)
    part = 1 << (target.max_grid.bit_length() - 1)
    for r in s.ranges():
        if extent(r) > target.max_grid:
            s.split("more than an axis counts", name_of(r), part, "GRID")
    free_axes = target.grid_axes - sum(kind_of(r) == "grid" for r in s.c.kernel.ranges)
    while len(s.outer) > free_axes and _merged(s, _shortest_pair(s), target.max_grid):
        pass
    for r in sorted(s.ranges(), key=extent, reverse=True)[:free_axes]:
        s.c.take("workgroups", "GRID", name_of(r))


def _shortest_pair(s: _Shape) -> int:
    """The first of the neighbours among the outer ranges that count least together."""
    lengths = [extent(r) for r in s.ranges()]
    return min(range(len(lengths) - 1), key=lambda n: lengths[n] * lengths[n + 1])


def _merged(s: _Shape, first: int, most: int) -> bool:
    """Whether an outer range, by number, and the next became one, of at most so many counts."""
    slow, fast = s.outer[first : first + 2]
    if math.prod(map(extent, s.ranges()[first : first + 2])) > most or not s.c.take(
        "fewer axes", "MERGE", slow, fast
    ):  # fmt: skip
        return False
    s.outer[first : first + 2] = [f"{slow}*{fast}"]
    return True


def _invocations(s: _Shape) -> None:
    """The invocations of a workgroup count neighbours: of one range, or of several that are merged,
    where parts of those are not refused."""
    target = s.c.target
    before = s.c.kernel, list(s.c.reasons), list(s.outer)
    while (len(s.outer) > 1 and max(map(extent, s.ranges())) < target.lanes
           and _merged(s, len(s.outer) - 2, target.max_local * target.max_grid)):  # fmt: skip
        pass
    if s.outer and not _counted(s, target.lanes) and not _counted(s, target.max_local):
        s.c.kernel, s.c.reasons, s.outer = before
        _counted(s, target.lanes)


def _counted(s: _Shape, lanes: int) -> bool:
    """Whether so many invocations count the innermost range that has as many, or the longest."""
    why = "invocations of a workgroup"
    near = max(reversed(s.ranges()), key=lambda r: min(extent(r), lanes))
    if extent(near) <= lanes:
        return s.whole(why, name_of(near), "LOCAL")
    return s.split(why, name_of(near), lanes, "LOCAL")


def _chunks(s: _Shape) -> None:
    """Workgroups each work at several parts, where starting one costs as much as that."""
    target = s.c.target
    if not s.outer or not target.dispatch:
        return
    around = loops_around(s.c.kernel)
    work = max(sum(visits(u, around) for u in accesses(s.c.kernel)), 1)
    r = max(s.ranges(), key=extent)
    enough, most = target.dispatch * s.points // work, s.points * target.lanes // target.busy
    part = part_of(extent(r), min(_MOST_LOOPS, enough, most, extent(r)))
    name, why = name_of(r), "work for a workgroup"
    if part > 1 and part == extent(r):
        s.outer.remove(name)  # a loop as it is
    elif part > 1 and -(-extent(r) // part) > target.max_grid:
        s.split(why, name, part, "LOOP")
    elif part > 1 and s.c.take_all(why, ("SPLIT", name, part), ("GRID", f"{name}/{part}")):
        s.outer.remove(name)
