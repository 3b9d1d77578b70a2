"""Movement of rows, and of reductions' results, goes to what they are computed from.

In: the outputs of a simplified graph. Out: the same values, where a FLIP, a SHRINK, or a RESHAPE
that only splits axes moves operands instead: of what is normalised by its own reductions, as
`ln(x)[::-1]` is `ln(x[::-1])`, so that the kernel that makes a row's statistics makes the row; and
of a reduction whose results are all that is wanted of it, as the parts of one product: each is then
a product of its own. Only where nothing is computed twice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from anneal.uop import ops
from anneal.uop.uop import Carry, Shape, UOp, rebuild, toposort

# Of each axis that moves how: reversed; a part, from where and how long; or split into lengths.
_Move = tuple[str, tuple[int, ...]]
_Moves = Mapping[int, _Move]
_FLIP: _Move = ("flip", ())


def sunk(outputs: Sequence[UOp], carry: Carry) -> list[UOp]:
    """`outputs` with such movement at the operands."""
    made = list(outputs)
    while True:
        before, made = made, _sunk(made, carry)
        if made == before:
            return made


def _sunk(outputs: Sequence[UOp], carry: Carry) -> list[UOp]:
    """`outputs` with each such movement one step lower."""
    order = toposort(outputs)
    users: dict[UOp, set[UOp | None]] = {u: set() for u in order}
    for u in outputs:
        users[u].add(None)
    for u in order:
        for s in u.src:
            users[s].add(u)
    divided = _divided(order, users)
    done: dict[UOp, UOp] = {}
    for u in order:
        moves = _moves(u)
        cone = _cone(u, users, divided) if moves else set()
        if _normalises(cone) or u.src and u.src[0] in cone & divided:
            new = _moved(u.src[0], moves, cone, done, carry)
        else:
            new = rebuild(u, tuple([done[s] for s in u.src]))
        done[u] = new
        carry(u, new)
    return [done[u] for u in outputs]


def _divided(order: Sequence[UOp], users: Mapping[UOp, set[UOp | None]]) -> set[UOp]:
    """The reductions of which nothing is wanted but results that movement alone makes, no more
    elements than they have."""
    wanted: dict[UOp, float] = {}
    for u in reversed(order):
        size = math.prod(_ints(u.shape)) if _is_fixed(u) else math.inf
        wanted[u] = sum(size if v is None else wanted[v] if v.op in _MOVES else math.inf
                        for v in users[u])  # fmt: skip
    return {u for u in order if u.op is ops.REDUCE and _is_fixed(u)
            and wanted[u] <= math.prod(_ints(u.shape)) and None not in users[u]}  # fmt: skip


_MOVES = ops.MOVEMENT - {ops.EXPAND, ops.PAD, ops.SHEAR}


def _moves(u: UOp) -> _Moves:
    """How the axes of the source move; none where that is not axis by axis."""
    if u.op is ops.FLIP:
        return dict.fromkeys(u.arg, _FLIP)
    if u.op not in (ops.SHRINK, ops.RESHAPE) or not _is_fixed(u):
        return {}
    if u.op is ops.SHRINK:
        if 0 in u.shape:
            return {}
        parts = zip(u.arg[::2], u.arg[1::2], u.src[0].shape, strict=True)
        return {i: ("part", (lo, n)) for i, (lo, n, d) in enumerate(parts) if n != d}
    return _splits(u.src[0].shape, u.shape)


def _splits(before: Shape, after: Shape) -> _Moves:
    """The axes that a RESHAPE splits, if it does no more."""
    rest = list(after)
    moves: dict[int, _Move] = {}
    for axis, d in enumerate(before):
        lengths = [rest.pop(0)] if rest else []
        while rest and math.prod(_ints(lengths)) < _int(d):
            lengths.append(rest.pop(0))
        if math.prod(_ints(lengths)) != d:
            return {}
        if len(lengths) != 1:
            moves[axis] = "split", tuple(_ints(lengths))
    return moves if not rest else {}


def _is_fixed(u: UOp) -> bool:
    return all(isinstance(d, int) for s in (u, *u.src[:1]) for d in s.shape)


def _int(d: object) -> int:
    assert isinstance(d, int)
    return d


def _ints(dims: Sequence[object]) -> list[int]:
    return [_int(d) for d in dims]


def _cone(top: UOp, users: Mapping[UOp, set[UOp | None]], divided: set[UOp]) -> set[UOp]:
    """What only `top` wants, and other parts of its source, and through which its movement goes."""
    cone = {top}
    todo = [top.src[0]]
    while todo:
        u = todo.pop()
        mine = users[u] <= cone or u in divided and u is top.src[0]
        if u not in cone and mine and _is_passed(u):
            cone.add(u)
            todo += u.src if u.op in ops.ELEMENTWISE else u.src[:1]
    return cone - {top}


def _is_passed(u: UOp) -> bool:
    if not _is_fixed(u):
        return False
    if u.op is ops.RESHAPE:  # with axes of length 1, or without
        return [d for d in u.shape if d != 1] == [d for d in u.src[0].shape if d != 1]
    return u.op in ops.ELEMENTWISE or u.op in (ops.EXPAND, ops.REDUCE)


def _normalises(cone: set[UOp]) -> bool:
    """Whether a reduction is read again and again by what has its own elements."""
    repeated = [u for u in cone if u.op is ops.EXPAND]
    below = toposort(repeated, stop=lambda u: u not in cone)
    return any(u.op is ops.REDUCE and u in cone for u in below)


def _moved(top: UOp, moves: _Moves, cone: set[UOp], done: Mapping[UOp, UOp],
           carry: Carry) -> UOp:  # fmt: skip
    """`top` as its operands, moved, give it."""
    made: dict[tuple[UOp, tuple[tuple[int, _Move], ...]], UOp] = {}
    key = top, tuple(sorted(moves.items()))
    todo = [key]
    while todo:
        u, these = at = todo[-1]
        if at in made:
            todo.pop()
            continue
        if u not in cone:
            made[at] = _applied(done[u], dict(these))
            continue
        wanted = [(s, tuple(sorted(_of_source(u, s, dict(these)).items())))
                  for s in (u.src if u.op in ops.ELEMENTWISE else u.src[:1])]  # fmt: skip
        pending = [w for w in wanted if w not in made]
        if pending:
            todo += reversed(pending)
            continue
        made[at] = _made(u, [made[w] for w in wanted], dict(these))
        carry(u, made[at])
        todo.pop()
    return made[key]


def _of_source(u: UOp, s: UOp, moves: dict[int, _Move]) -> dict[int, _Move]:
    """How the axes of a source move for `u` to."""
    if not s.shape:  # a scalar, of an operation or an EXPAND
        return {}
    if u.op in ops.ELEMENTWISE:
        return moves
    if u.op is ops.EXPAND:
        return {a: m for a, m in moves.items() if s.shape[a] == u.shape[a]}
    if u.op is ops.REDUCE:
        kept = [a for a in range(s.ndim) if a not in u.arg[1]]
        return {kept[a]: m for a, m in moves.items()}
    theirs = [a for a, d in enumerate(s.shape) if d != 1]
    mine = [a for a, d in enumerate(u.shape) if d != 1]
    return {theirs[mine.index(a)]: m for a, m in moves.items() if a in mine}


def _made(u: UOp, src: Sequence[UOp], moves: dict[int, _Move]) -> UOp:
    if u.op in ops.ELEMENTWISE:
        return UOp(u.op, u.dtype, tuple(src), u.arg)
    if u.op is ops.REDUCE:
        (s,) = src
        of_source = _of_source(u, u.src[0], moves)
        axes, place = [], 0
        for a in range(u.src[0].ndim):
            if a in u.arg[1]:
                axes.append(place)
            place += len(_lengths(u.src[0].shape[a], of_source.get(a)))
        return s.reduce(u.arg[0], axes)
    shape = [n for a, d in enumerate(u.shape) for n in _lengths(d, moves.get(a))]
    if u.op is ops.RESHAPE:
        return src[0].reshape(shape)
    if not u.src[0].shape:
        return src[0].expand(shape)
    (s,) = src  # of an EXPAND, whose axes of length 1 do not move, but become as many
    one = [n for a, d in enumerate(u.src[0].shape)
           for n in (_lengths(d, moves.get(a)) if d == u.shape[a] else
                     [1] * len(_lengths(u.shape[a], moves.get(a))))]  # fmt: skip
    return s.reshape(one).expand(shape)


def _lengths(d: object, move: _Move | None) -> list[int]:
    """What an axis of length `d` becomes."""
    if move is None or move == _FLIP:
        return [_int(d)]
    how, numbers = move
    return [numbers[1]] if how == "part" else list(numbers)


def _applied(u: UOp, moves: dict[int, _Move]) -> UOp:
    """`u` with its axes moved."""
    parts = {a: m[1] for a, m in moves.items() if m[0] == "part"}
    if parts:
        u = u.shrink([(parts[a][0], sum(parts[a])) if a in parts else (0, d)
                      for a, d in enumerate(u.shape)])  # fmt: skip
    flipped = u.flip([a for a, m in moves.items() if m == _FLIP])
    return flipped.reshape([n for a, d in enumerate(u.shape) for n in
                            (_lengths(d, moves[a]) if moves.get(a, _FLIP)[0] == "split" else [d])])
