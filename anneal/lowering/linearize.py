"""A kernel's statements as an ordered list of instructions, loops opened and closed.

In: STOREs and FORs, some under a condition. Out: instructions. A value is computed at the outermost
level whose counters determine it, and there not before the loop, or value, that first needs it.
Loops over the same RANGE that do not wait for each other are one: a row's mean and mean square in
one pass, what needs them in the next. Float sums of many elements are sums of sums: an error that
grows with the length of a sum stays small.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

from anneal.uop import ops
from anneal.uop.uop import UOp, toposort

Ranges = frozenset[UOp]


class Instruction(NamedTuple):
    """`let`: compute the node; `init`, `fold`: an accumulator's start and step; `loop`: of a RANGE,
    `if`: of a condition, until `end`; `store`. `block`: a loop over parts of a RANGE, each of
    `length`, which a `loop` in it then counts; `part`: a partial sum begins, into which the node is
    folded until `join`."""

    kind: Literal["let", "init", "loop", "fold", "if", "end", "store", "block", "part", "join"]
    node: UOp
    length: int = 0


class Guarded(NamedTuple):
    """Statements (STORE or FOR) that run where `condition` holds; None: always."""

    condition: UOp | None
    statements: tuple[UOp, ...]


_GIVEN = ops.MEMORY | {ops.CONST, ops.RANGE, ops.VAR}
_LOOPS = frozenset({ops.REDUCE, ops.FOR})
# Where all lanes meet, in the order in which they were written; and stores.
_FIXED = frozenset({ops.GROUP, ops.BARRIER, ops.STORE})
# Elements of a partial sum; a sum of up to twice as many is one.
_PART = 256
# Iterations in which the lanes of a workgroup combine a value.
_GROUP_STEPS = 6


def linearize(parts: Sequence[Guarded]) -> list[Instruction]:
    """Instructions in order of execution."""
    deps = _dependencies([s for p in parts for s in p.statements])
    out: list[Instruction] = []
    available: set[UOp] = set()
    for condition, statements in parts:
        if condition is None:
            _block(statements, frozenset(), available, deps, out)
            continue
        out.append(Instruction("if", condition))
        _block(statements, frozenset(), set(available), deps, out)
        out.append(Instruction("end", condition))
    return out


def _dependencies(roots: Sequence[UOp]) -> dict[UOp, Ranges]:
    """The loop counters that each node's value depends on."""
    deps: dict[UOp, Ranges] = {}
    none: Ranges = frozenset()
    for u in toposort(roots):
        if u.op is ops.RANGE:
            deps[u] = frozenset((u,)) if u.arg[1] == "loop" else none
            continue
        found = none
        for s in u.src[:1] if u.op in _LOOPS else u.src:
            more = deps[s]
            if more and more is not found:
                found = found | more if found else more
        deps[u] = found - frozenset(u.src[1:]) if u.op in _LOOPS else found
    return deps


def _block(targets: Sequence[UOp], counters: Ranges, available: set[UOp],
           deps: dict[UOp, Ranges], out: list[Instruction]) -> None:  # fmt: skip
    """Computes all that `targets` need and `counters` determine; adds it to `available`."""
    order = [u for u in toposort(targets, stop=available.__contains__) if u not in available]
    # The level of a node: how many loops of this block must have ended before it.
    level: dict[UOp, int] = {}
    loops: list[dict[tuple[UOp, ...], list[UOp]]] = [{}]
    for u in order:
        n = max((level.get(s, 0) for s in u.src), default=0)
        if u.op in _LOOPS and deps[u] <= counters:
            loops[n].setdefault(u.src[1:], []).append(u)
            n += 1
            if n == len(loops):
                loops.append({})
        level[u] = n
    wanted = _wanted(order, level, counters, deps)
    values: list[list[UOp]] = [[] for _ in loops]
    for u in order:
        if u.op not in _GIVEN and u.op not in _LOOPS and deps[u] <= counters:
            values[wanted[u]].append(u)
    for n, at_level in enumerate(loops):
        # Stores come last: one may overwrite, in place, what another value is computed from.
        for u in sorted(values[n], key=lambda u: u.op is ops.STORE):
            out.append(Instruction("store" if u.op is ops.STORE else "let", u))
            available.add(u)
        for ranges, members in at_level.items():
            _loop(ranges, members, counters, available, deps, out)
            available.update(members)


def _wanted(order: Sequence[UOp], level: dict[UOp, int], counters: Ranges,
            deps: dict[UOp, Ranges]) -> dict[UOp, int]:  # fmt: skip
    """The level at which each node is first needed, which may be later than it could be computed;
    but an element is read before the level at which its memory is written."""
    own = {u: level[u] - (u.op in _LOOPS) for u in order if deps[u] <= counters}
    written: dict[UOp, int] = {}
    for u, n in own.items():
        if u.op is ops.STORE or u.op is ops.FOR:
            memory = u.src[0] if u.op is ops.STORE else u.src[0].src[0]
            written[memory] = min(n, written.get(memory, n))
    wanted: dict[UOp, int] = {}
    for u in reversed(order):
        n = own.get(u, 0)
        if u not in own or (u.op not in _LOOPS and u.op not in _FIXED):
            n = max(n, wanted.get(u, n))
        if u.op is ops.LOAD and u in own:
            n = max(own[u], min(n, written.get(u.src[0], n)))
        wanted[u] = n
        for s in u.src:
            wanted[s] = min(n, wanted.get(s, n))
    return wanted


def _loop(ranges: tuple[UOp, ...], members: Sequence[UOp], counters: Ranges, available: set[UOp],
          deps: dict[UOp, Ranges], out: list[Instruction]) -> None:  # fmt: skip
    reduces = [u for u in members if u.op is ops.REDUCE]
    out += [Instruction("init", u) for u in reduces]
    sums = [u for u in reduces if u.arg[0] == "add" and u.dtype.is_float]
    cut, length = _cut(ranges) if sums else (-1, 0)
    inside = set(available)
    bodies = [u.src[0] for u in members]
    for i, r in enumerate(ranges):
        blocks = i == cut and length > 1
        if blocks:
            out.append(Instruction("block", r, length))
            out += [Instruction("part", u) for u in sums]
        out.append(Instruction("loop", r, length if blocks else 0))
        if i == cut and not blocks:
            out += [Instruction("part", u) for u in sums]
        counters = counters | {r}
        _block(bodies, counters, inside, deps, out)
    out += [Instruction("fold", u) for u in reduces]
    for i, r in reversed(list(enumerate(ranges))):
        if i == cut and length == 1:
            out += [Instruction("join", u) for u in sums]
        out.append(Instruction("end", r))
        if i == cut and length > 1:
            out += [*(Instruction("join", u) for u in sums), Instruction("end", r)]


def _cut(ranges: tuple[UOp, ...]) -> tuple[int, int]:
    """The loop whose blocks of the given length end a partial sum; (-1, 0) if none does. Loops of
    one invocation are short enough that sums of sums suffice."""
    if math.prod(map(_size, ranges)) > 2 * _PART:
        count = 1
        for i in reversed(range(len(ranges))):
            if count * _size(ranges[i]) > _PART:
                return i, _PART // count
            count *= _size(ranges[i])
    return -1, 0


def iterations(instructions: Sequence[Instruction]) -> int:
    """Of all loops of one invocation, at most."""
    total, times = 0, [1]
    for kind, u, length in instructions:
        if kind == "end":
            times.pop()
        elif kind == "if":
            times.append(times[-1])
        elif kind == "block":
            times.append(times[-1] * -(-_size(u) // length))
            total += times[-1]
        elif kind == "loop":  # in blocks, it counts to its length once
            times.append(times[-2 if length else -1] * _size(u))
            total += times[-1]
        elif u.op is ops.GROUP:
            total += times[-1] * _GROUP_STEPS
    return total


def _size(r: UOp) -> int:
    return int(r.src[0].arg)
