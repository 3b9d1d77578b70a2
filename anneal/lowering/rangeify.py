"""Decides which tensor nodes become buffers; everything else is computed where it is used.

In: the outputs of a simplified graph. Out: the nodes to store, in order. The decision weighs work
against memory: `points` of a node are its elements, its `visits` are how often its consumers would
compute it if it were not stored. Movement and cheap elementwise work is repeated freely; a
reduction never is, and neither are transcendentals for many consumers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from anneal.lowering.kernels import is_scatter
from anneal.lowering.limits import MOST_ITERATIONS, trips
from anneal.uop import ops
from anneal.uop.uop import Carry, Shape, UOp, rebuild, toposort

# Visits for each point up to which a reduction is computed where it is used. Above 1 by what the
# edges of a convolution's window miss.
_REDUCTION_VISITS = 1.5
# A transcendental function costs about this many additions.
_TRANSCENDENTAL = 10
_REDUCTION = 1000
# Elementwise work up to this costs less than the load that would replace it.
_CHEAP = 3
# Work for each element that a store and the loads after it are worth.
_ROUND_TRIP = 32
# Work for each element that a buffer less is worth.
_AGAIN = 64
# Part of a product's multiplications that computing its operands again may take: one in so many.
_OPERANDS = 4
# A launch, in additions of the whole device: less work than this is done again instead.
_LAUNCH = 8192
# Ways to reach a node that are told apart.
_MOST_PATHS = 64
# Results fewer than this leave most of a device idle, unless each takes few iterations.
_FEW, _FEW_ITERATIONS = 256, 1 << 13
# The longest expression in one kernel: shader compilers take more than linear time.
_LONGEST = 256

_COSTS = dict.fromkeys(ops.TRANSCENDENTAL, _TRANSCENDENTAL)
_RENAMING = ops.MOVEMENT | ops.IDENTITY
_LEAVES = frozenset({ops.CONST, ops.PARAM, ops.ARANGE, ops.VAR, ops.BUFFER})


def points(shape: Shape) -> int:
    """Elements, a symbolic dim counted by its greatest value."""
    from anneal.uop.symbolic import hi

    return math.prod(d if isinstance(d, int) else hi(d) for d in shape)


def untied(
    outputs: Sequence[UOp], carry: Carry
) -> tuple[list[UOp], dict[UOp, tuple[UOp, ...]]]:
    """`outputs` with AFTERs of one source, and what each of those waits for: order is no data."""
    done: dict[UOp, UOp] = {}
    waits: dict[UOp, tuple[UOp, ...]] = {}
    numbers: dict[tuple[UOp, ...], int] = {}
    for u in toposort(outputs):
        src = tuple([done[s] for s in u.src])
        if u.op is ops.AFTER:
            number = numbers.setdefault(src[1:], len(numbers))
            done[u] = UOp(ops.AFTER, u.dtype, src[:1], number)
            waits[done[u]] = src[1:]
        else:
            done[u] = rebuild(u, src)
        carry(u, done[u])
    return [done[u] for u in outputs], waits


def unmoved(u: UOp) -> UOp:
    """What `u` is a movement, or a conversion, of."""
    while u.op in ops.MOVEMENT or u.op is ops.CAST:
        u = u.src[0]
    return u


def stored_nodes(outputs: Sequence[UOp], max_inputs: int, shared: int) -> dict[UOp, str]:
    """The nodes that need a buffer and why, sources first; inputs of the graph are not among
    them. `shared`: results that share an operand of a product that is computed for them."""
    order = toposort(outputs)
    stored = {u: "a result" for u in outputs if u.op is not ops.PARAM}
    stored.update((u, u.arg[0] if u.arg else "asked for")
                  for u in order if u.op is ops.CONTIGUOUS)  # fmt: skip
    times = _store_what_would_repeat(order, stored)
    _store_one_for_several(order, stored, times, shared)
    _store_what_is_long(order, stored)
    _store_what_nests(order, stored)
    _store_for_buffer_limit(order, stored, max_inputs)
    return {u: stored[u] for u in order if u in stored}


def every_operation(outputs: Sequence[UOp]) -> dict[UOp, str]:
    """The schedule without fusion: every operation but movement, and the products that a sum
    reads, in a buffer."""
    order = toposort(outputs)
    summed = {unmoved(u.src[0]) for u in order if u.op is ops.REDUCE}
    free = _LEAVES | ops.MOVEMENT | {ops.AFTER}
    return {u: "not fused" for u in order if u in outputs and u.op is not ops.PARAM or not (
        u.op in free or u in summed and u.op is ops.MUL)}  # fmt: skip


def _store_what_would_repeat(order: list[UOp], stored: dict[UOp, str]) -> dict[UOp, float]:
    """From the outputs down: visits, and the kernels that want a node, decide. Returns for what it
    stores how often each element would be computed otherwise.

    `reach` tells for each node which stored nodes want it, by which path of index changes, and how
    often. Users that want the same elements in one kernel are one visit.
    """
    reach: dict[UOp, dict[tuple[UOp, int], float]] = {}
    most: dict[UOp, int] = {}
    paths: dict[tuple[int, object], int] = {}
    work = _work(order)
    repeats: dict[UOp, float] = {}
    for u in reversed(order):
        if u.op in _LEAVES:
            continue
        size = max(points(u.shape), 1)
        mine = reach.pop(u, {})
        times = sum(mine.values()) / size
        homes = len({home for home, _ in mine})
        if u not in stored:
            if is_scatter(u):
                repeated = True
            elif _is_contraction(u):
                repeated = homes > 1 or times > _REDUCTION_VISITS
            else:
                again = work[u] * (times - 1)
                repeated = (u.op not in _RENAMING and work[u] > _CHEAP
                            and again > _ROUND_TRIP and again * size > _LAUNCH)  # fmt: skip
            if repeated:
                stored[u], repeats[u] = _why(u, homes, times), times
        if u in stored:
            mine = {(u, 0): float(size)}
        more = 1.0
        if u.op is ops.REDUCE:
            more = points(u.src[0].shape) / size
        elif is_scatter(u):
            more = points(u.src[1].shape) / size
        elif u.op is ops.SCATTER:
            more = float(u.src[1].shape[u.arg[1]])
        for s in dict.fromkeys(u.src):
            theirs = reach.setdefault(s, {})
            step = _step(u, s)
            for (home, path), n in mine.items():
                if step is not None:
                    path = paths.setdefault((path, step), len(paths) + 1)
                theirs[home, path] = max(theirs.get((home, path), 0.0), n * more)
            if len(theirs) > most.get(s, _MOST_PATHS):
                reach[s] = _fewer_paths(theirs)
                most[s] = max(_MOST_PATHS, 2 * len(reach[s]))
    return repeats


def _store_one_for_several(
    order: list[UOp], stored: dict[UOp, str], times: dict[UOp, float], shared: int
) -> None:
    """Several stored functions of one reduction, an activation and the parts of its derivative say,
    are computed from that where they are used, if it takes few operations: one buffer in place of
    several."""
    readers: dict[UOp, list[UOp]] = {}
    fixed = {u for u in stored if u not in times or u.op not in ops.ELEMENTWISE}
    heavy: set[UOp] = set()  # what takes a reduction
    functions: dict[UOp, list[UOp]] = {}
    for u in order:
        for s in dict.fromkeys(u.src):
            readers.setdefault(s, []).append(u)
        if _is_contraction(u) or u not in fixed and any(s in heavy for s in u.src):
            heavy.add(u)
        if u in stored and u not in fixed:
            found = _from_one(u, heavy)
            if found is not None:
                functions.setdefault(found[0], []).append(u)
    for source, nodes in functions.items():
        while source not in stored and len(readers[source]) == 1 and (
            readers[source][0].op in ops.ELEMENTWISE and readers[source][0].shape == source.shape
        ):  # fmt: skip
            (source,) = readers[source]
        again = [u for u in nodes if _is_worth_computing(u, source, heavy, times[u], shared)]
        if len(again) < 2 and source not in stored:
            continue
        for u in again:
            del stored[u]
        stored.setdefault(source, f"{len(again)} values are computed from it where they are used")


def _is_worth_computing(u: UOp, source: UOp, heavy: set[UOp], times: float, shared: int) -> bool:
    """Whether `u` is computed from `source` where it is read, each element so many times, at less
    cost than a buffer."""
    found = _from_one(u, heavy, source)
    return found is not None and found[0] is source and (
        found[1] * times <= _AGAIN or found[1] * _OPERANDS <= shared)  # fmt: skip


def _from_one(u: UOp, heavy: set[UOp], source: UOp | None = None) -> tuple[UOp, int] | None:
    """The one costly thing of its size that `u` is elementwise computed from (no deeper than
    `source`), and the operations; None if there are several, or too many operations."""
    given, source = source, None
    work = 0
    todo, seen = [u], {u}
    while todo:
        n = todo.pop()
        work += _cost(n)
        if work > _AGAIN:
            return None
        for s in n.src:
            if s in seen or s not in heavy:
                continue
            seen.add(s)
            if s is not given and s.shape == u.shape and (
                s.op in ops.ELEMENTWISE or s.op in ops.IDENTITY
            ):  # fmt: skip
                todo.append(s)
            elif source is None and points(s.shape) == points(u.shape):
                source = s
            else:
                return None
    return None if source is None else (source, work)


def _cost(u: UOp) -> int:
    """An element of `u` from those of its sources, in additions; `x <= y` is one comparison."""
    if u.op is ops.OR and {s.op for s in u.src} == {ops.LT, ops.EQ}:
        return -1  # beside those two
    return _COSTS.get(u.op, 1) if u.op in ops.ELEMENTWISE else 0


def _step(u: UOp, s: UOp) -> object:
    """What changes the index on the way from `u` to its source `s`, equal if the change is; None if
    nothing does."""
    if u.op in ops.MOVEMENT:
        return u.op, u.arg, u.src[1:], s.shape
    if u.op in ops.ELEMENTWISE or u.op in ops.IDENTITY:
        return None if s.shape == u.shape else ()
    return u, s


def _fewer_paths(reach: dict[tuple[UOp, int], float]) -> dict[tuple[UOp, int], float]:
    """The same visits, those of each kernel as if by one path."""
    found: dict[tuple[UOp, int], float] = {}
    for (home, _), n in reach.items():
        found[home, -1] = found.get((home, -1), 0.0) + n
    return found


def _why(u: UOp, readers: int, times: float) -> str:
    if is_scatter(u):
        return "a scatter writes its elements in turn"
    if readers > 1:
        return f"{readers} kernels or outputs would each compute it"
    return f"each element would be computed {times:.0f} times"


def _is_contraction(u: UOp) -> bool:
    """Whether an element of `u` takes a loop: a scatter of one index is a comparison."""
    return u.op is ops.REDUCE or (u.op is ops.SCATTER and u.src[1].shape[u.arg[1]] != 1)


def _work(order: list[UOp]) -> dict[UOp, int]:
    """The cost of computing one element of each node from the graph's inputs, in additions. A
    reduction counts enough that what is computed from one is stored rather than its sum."""
    work: dict[UOp, int] = {}
    for u in order:
        if u.op in _LEAVES:
            work[u] = 0
        elif _is_contraction(u):
            work[u] = _REDUCTION
        elif u.op is ops.EXPAND:
            work[u] = 0  # what is repeated is computed once, outside the loop that repeats it
        else:
            own = 0 if u.op in _RENAMING else _COSTS.get(u.op, 1)
            work[u] = min(own + sum(work[s] for s in u.src), 1 << 16)
    return work


def _store_what_is_long(order: list[UOp], stored: dict[UOp, str]) -> None:
    """Cuts expressions where a kernel would grow out of proportion."""
    below: dict[UOp, frozenset[UOp]] = {}
    none = frozenset[UOp]()
    for u in order:
        if u.op in _LEAVES:
            below[u] = none
            continue
        found = none.union(*(below[s] for s in u.src), (u,))
        if len(found) > _LONGEST and u.op not in ops.MOVEMENT:
            stored.setdefault(u, f"an expression of {len(found)} operations ends here")
        below[u] = none if u in stored else found


def _store_what_nests(order: list[UOp], stored: dict[UOp, str]) -> None:
    """Stores what a reduction reads if that is reductions, and one invocation would loop too often:
    visits times length. `loops`: iterations for one element of a contraction; `inner`: the
    contractions that a node computes in place, but for those inside of them."""
    place = {u: i for i, u in enumerate(order)}
    loops: dict[UOp, int] = {}
    inner: dict[UOp, frozenset[UOp]] = {}
    none = frozenset[UOp]()
    for u in order:
        if u.op in _LEAVES:
            inner[u] = none
            continue
        found = none.union(*(inner[s] for s in u.src))
        if _is_contraction(u):
            length, own = _lengths(u)
            most = _FEW_ITERATIONS if points(u.shape) < _FEW else MOST_ITERATIONS
            loops[u] = own + length * sum(loops[n] for n in found)
            if found and loops[u] > min(most, MOST_ITERATIONS):
                why = f"a reduction of it would loop {loops[u]} times"
                for s in u.src:
                    if inner[s]:
                        stored[_unrenamed(s)] = why
                        inner[s] = inner[_unrenamed(s)] = none
                loops[u] = own
            found = frozenset((u,))
        elif len(found) > 1:
            total = sum(loops[n] for n in found)
            for n in sorted(found, key=lambda n: (-loops[n], place[n])):
                if total > MOST_ITERATIONS:
                    stored[n] = f"beside others it would loop {total} times"
                    total -= loops[n]
                    found -= {n}
                    inner[n] = none
        inner[u] = none if u in stored else found


def _lengths(u: UOp) -> tuple[int, int]:
    """How often the contraction `u` computes what it reads, and the iterations of its loops."""
    if u.op is ops.REDUCE:
        sizes = [points((d,)) for a, d in enumerate(u.src[0].shape) if a in u.arg[1] and d != 1]
        return math.prod(sizes), trips(sizes)
    axis = u.arg[1]
    count = points(u.src[1].shape[axis : axis + 1])
    zeros = is_scatter(u) and len(u.src) == 2
    return count, count + (points(u.shape[axis : axis + 1]) if zeros else 0)


def _unrenamed(u: UOp) -> UOp:
    """What `u` shows the elements of, if that is not more."""
    while u.op in _RENAMING and points(u.src[0].shape) <= points(u.shape):
        u = u.src[0]
    return u


def _store_for_buffer_limit(order: list[UOp], stored: dict[UOp, str], max_inputs: int) -> None:
    """Stores operands until no kernel reads more buffers than the device binds: what is stored for
    one reader is one more buffer for those seen before it, so until nothing more is stored."""
    known = -1
    while known != len(stored):
        known = len(stored)
        reads: dict[UOp, frozenset[UOp]] = {}
        for u in order:
            if u.op in (ops.PARAM, ops.BUFFER):
                reads[u] = frozenset((u,))
                continue
            while True:
                inputs = frozenset[UOp]().union(*(reads[s] for s in u.src))
                widest = max(u.src, key=lambda s: len(reads[s]), default=u)
                if len(inputs) <= max_inputs or len(reads[widest]) < 2:
                    break
                inner = _unrenamed(widest)
                stored[inner] = f"a kernel would read {len(inputs)} buffers"
                reads[widest] = reads[inner] = frozenset((inner,))
            reads[u] = frozenset((u,)) if u in stored else inputs
