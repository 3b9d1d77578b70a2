"""One invocation computes a tile of results, where they share operands.

In: the grid and statements of a kernel. Out: a smaller grid, and every statement once for each
element of the tile. `linearize` then finds that the sums run over one range, and loads once what
several use: with tiles of 8 by 8 a matrix product loads 16 elements for 64 products.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from anneal.lowering.kernels import kernel_range
from anneal.lowering.linearize import Guarded
from anneal.uop import ops
from anneal.uop.symbolic import simplify
from anneal.uop.uop import UOp, rebuild, substitute, toposort

# Lengths of a tile along an axis, and the part of it that may lie outside of the grid.
_EDGES, _OUTSIDE = (8, 4, 2, 1), 1 / 8
# Fewer invocations than this leave a device idle: a GPU, and others.
_FEWEST_OF_GPU, _FEWEST = 8192, 2048
# Loads inside of loops, by all invocations, that pay for a longer text; and operations in it.
_LEAST_LOADS, _MOST_OPERATIONS = 1 << 18, 4096

Grid = tuple[UOp, ...]
Parts = tuple[Guarded, ...]


def tiled(grid: Grid, parts: Parts, gpu: bool) -> tuple[Grid, Parts]:
    """`grid` and `parts` with a tile for each invocation, if that pays."""
    edges = _edges(grid, parts, _FEWEST_OF_GPU if gpu else _FEWEST)
    if not edges:
        return grid, parts
    counts = {r: _counts(r, n) for r, n in edges.items()}
    smaller = {r: kernel_range(r.arg[0], counts[r], "grid") for r in edges}
    found: dict[UOp | None, dict[UOp, None]] = {}
    for offsets in itertools.product(*map(range, edges.values())):
        at = {r: smaller[r] * n + i for (r, n), i in zip(edges.items(), offsets, strict=True)}
        inside: UOp | None = None
        for r, x in at.items():
            if counts[r] * edges[r] > _size(r):
                inside = x < _size(r) if inside is None else inside & (x < _size(r))
                at[r] = x.minimum(_size(r) - 1)
        for part in parts:
            condition: UOp | None = None
            if part.condition is not None:
                (condition,) = simplify(substitute([part.condition], at))
                if condition.op is ops.CONST and not condition.arg:
                    continue
                condition = None if condition.op is ops.CONST else condition
            mine = found.setdefault(condition, {})
            mine.update(dict.fromkeys(_stores(part.statements, at, inside)))
    new = tuple([Guarded(condition, tuple(s)) for condition, s in found.items()])
    return tuple([smaller.get(r, r) for r in grid]), new


def _stores(statements: Sequence[UOp], at: dict[UOp, UOp], inside: UOp | None) -> list[UOp]:
    """The statements at an element of the tile, if that is `inside` of the grid."""
    stores = substitute(statements, at)
    if inside is not None:
        stores = [rebuild(s, (*s.src, inside)) for s in stores]
    stores = simplify(stores)
    return [rebuild(s, s.src[:3]) if s.src[3:] and s.src[3].op is ops.CONST else s for s in stores]


def _edges(grid: Grid, parts: Parts, fewest: int) -> dict[UOp, int]:
    """The axes of the grid to tile, at most two, and the lengths of the tile along them."""
    statements = [s for p in parts for s in p.statements]
    if any(s.op is not ops.STORE for s in statements):
        return {}
    nodes = toposort(statements)
    below = _below(nodes)
    loads = [n for n in nodes if n.op is ops.LOAD and any(r.arg[1] == "loop" for r in below[n])]
    if sum(math.prod(_size(r) for r in below[n] | set(grid)) for n in loads) < _LEAST_LOADS:
        return {}
    sharing: dict[frozenset[UOp], UOp] = {}
    for r in grid:
        shared = frozenset(n for n in loads if r not in below[n])
        if shared and _size(r) > 1:
            sharing[shared] = r  # of the axes along which the same is shared, the innermost
    axes = sorted(sharing.values(), key=grid.index)[-2:]
    rest = math.prod(_size(r) for r in grid if r not in axes)
    lengths = [[n for n in _EDGES if _counts(r, n) * n <= _size(r) * (1 + _OUTSIDE)] for r in axes]
    fit = [tile for tile in itertools.product(*lengths)
           if rest * math.prod(map(_counts, axes, tile)) >= fewest
           and len(nodes) * math.prod(tile) <= _MOST_OPERATIONS]  # fmt: skip
    best = max(fit, key=lambda tile: (math.prod(tile), -max(tile, default=1)), default=())
    return {r: n for r, n in zip(axes, best, strict=False) if n > 1}


def _counts(r: UOp, n: int) -> int:
    """How many tiles of length `n` the axis takes."""
    return -(-_size(r) // n)


def _size(r: UOp) -> int:
    return int(r.src[0].arg)


def _below(nodes: Sequence[UOp]) -> dict[UOp, frozenset[UOp]]:
    """The counters that each node depends on."""
    below: dict[UOp, frozenset[UOp]] = {}
    for u in nodes:
        own = (u,) if u.op is ops.RANGE else ()
        below[u] = frozenset[UOp](own).union(*(below[s] for s in u.src))
    return below
