"""A stored tensor node becomes scalar expressions over ranges.

In: a tensor node, the index at which it is wanted, and which nodes are read from buffers. Out: its
value there, and what it loads. Movement ops dissolve into index arithmetic here, and nothing is
copied. What is not read from a buffer is computed in place, wherever it is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from anneal.memo import Memo
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.symbolic import simplify
from anneal.uop.uop import Dim, Shape, UOp, const, dim_uop, rebuild, same_dim, toposort

Index = tuple[UOp, ...]
Want = tuple[UOp, Index]
Plan = tuple[tuple[Want, ...], Callable[..., UOp]]
_TRUE = const(True, dtypes.bool_)
ZERO = const(0, dtypes.index)


def kernel_range(number: int, size: Dim, kind: str) -> UOp:
    return UOp(ops.RANGE, dtypes.index, (dim_uop(size),), (number, kind))


class Guarded(NamedTuple):
    """Statements (STORE or FOR) that run where `condition` holds; None: always."""

    condition: UOp | None
    statements: tuple[UOp, ...]


@dataclass(frozen=True, slots=True)
class Element:
    """A tensor node at an index: its value, and the elements of buffers that it reads: for each
    LOAD the tensor node that the buffer holds, and the index in it. A scatter's value is what
    is added, for every count of `over`, to the element at `target`; with it added to what there
    was before, if that is given."""

    node: UOp
    index: Index
    value: UOp
    loads: dict[UOp, Want]
    target: Index | None = None
    over: UOp | None = None


def element(node: UOp, index: Index, args: Mapping[UOp, UOp]) -> Element:
    """`node` at `index`; `args` are the nodes read from buffers, with the ARG of each."""
    maker = _Maker(node, args)
    target = over = None
    if is_scatter(node):
        idx, g, *before = node.src
        how, axis, length = node.arg
        over = kernel_range(_next_number(index), g.shape[axis], "loop")
        inner = (*index[:axis], over, *index[axis + 1 :])
        where = _clamped(maker.at(idx, inner), length)
        value, *target = simplify([maker.at(g, inner), *index[:axis], where, *index[axis + 1 :]])
        if before:
            value = combined(how, maker.anew(before[0], tuple(target), over), value)
    else:
        value = simplify([maker.at(node, index)])[0]
    kept = {u for u in toposort([value, *(target or ())]) if u.op is ops.LOAD}
    loads = {u: w for u, w in maker.loads.items() if u in kept}
    return Element(node, index, value, loads, tuple(target) if target else None, over)


# Below this many comparisons, asking of every index whether it is meant costs less than a scatter.
_FEW_COMPARISONS = 4096


def is_scatter(u: UOp) -> bool:
    """Whether `u` is computed by going through its indices in turn, each adding to its element:
    work in proportion to them, in an order that never changes."""
    if u.op is not ops.SCATTER or len(u.src) == 3:
        return u.op is ops.SCATTER
    _, axis, length = u.arg
    count = u.src[1].shape[axis]
    return (isinstance(count, int) and isinstance(length, int) and count > 1 and length > 1
            and count * length > _FEW_COMPARISONS)  # fmt: skip


class _Maker:
    """Expressions of tensor nodes at indices, each pair of them made once."""

    def __init__(self, top: UOp, args: Mapping[UOp, UOp]) -> None:
        self.top, self.args = top, args
        self.loads: dict[UOp, Want] = {}
        self.made: dict[Want, UOp] = {}
        self.planned: dict[Want, Plan] = {}

    def at(self, node: UOp, index: Index) -> UOp:
        """`node` at `index`: an explicit stack, since chains are as long as users make them."""
        top = (node, index)
        todo = [top]
        while todo:
            want = todo[-1]
            if want in self.made:
                todo.pop()
                continue
            plan = self.planned.get(want)
            if plan is None:
                plan = self.planned[want] = self._plan(*want)
            wanted, build = plan
            pending = [w for w in wanted if w not in self.made]
            if pending:
                todo += reversed(pending)
                continue
            self.made[want] = build(*(self.made[w] for w in wanted))
            todo.pop()
        return self.made[top]

    def _load(self, u: UOp, index: Index) -> UOp:
        # An axis of length 1 has one element, whatever the index that a padding's condition guards.
        one = [ZERO if d == 1 else x for x, d in zip(index, u.shape, strict=True)]
        index = tuple(simplify(one))
        address = flat(index, u.shape)
        load = UOp(ops.LOAD, u.dtype, (self.args[u], address))
        self.loads[load] = (u, index)
        return load

    def anew(self, u: UOp, index: Index, r: UOp) -> UOp:
        """An element that is read for every value of `r`: a store in that loop may change it."""
        load = self._load(u, index)
        anew = UOp(ops.LOAD, u.dtype, (*load.src, r))
        self.loads[anew] = self.loads[load]
        return anew

    def _plan(self, u: UOp, index: Index) -> Plan:
        """What `u` at `index` needs, and how it is made of that."""
        if u in self.args and u is not self.top:
            return (), lambda: self._load(u, index)
        if u.op is ops.CONST:
            return (), lambda: u
        if u.op is ops.ARANGE:
            return (), lambda: index[0].cast(u.dtype)
        if u.op in ops.IDENTITY:
            return ((u.src[0], index),), lambda x: x
        if u.op in ops.ELEMENTWISE:
            return tuple((s, index if s.shape else ()) for s in u.src), lambda *src: (
                rebuild(u, src) if u.shape == () else UOp(u.op, u.dtype, src, u.arg))
        if u.op in ops.MOVEMENT:
            inner, valid = moved(u, index)
            if valid is _TRUE:
                return ((u.src[0], inner),), lambda x: x
            return ((u.src[0], inner),), lambda x: valid.where(x, const(0, u.dtype))
        if u.op is ops.REDUCE:
            return self._reduce(u, index)
        if u.op is ops.GATHER:
            return self._gather(u, index)
        if u.op is ops.SCATTER:
            return self._scatter(u, index)
        raise NotImplementedError(f"{u.op} cannot be lowered to a kernel")

    def _reduce(self, u: UOp, index: Index) -> Plan:
        (x,), (how, axes) = u.src, u.arg
        if any(x.shape[i] == 0 for i in axes):
            return (), lambda: const(identity(how, u.dtype), u.dtype)
        # Numbered after what the index depends on, so reductions of the same length at the same
        # place have the same RANGE, and can share a loop.
        number = _next_number(index)
        outer = iter(index)
        inner: list[UOp] = []
        ranges: list[UOp] = []
        for i, d in enumerate(x.shape):
            if i not in axes:
                inner.append(next(outer))
            elif d == 1:
                inner.append(ZERO)
            else:
                ranges.append(kernel_range(number + len(ranges), d, "loop"))
                inner.append(ranges[-1])
        if not ranges:
            return ((x, tuple(inner)),), lambda body: body
        return ((x, tuple(inner)),), lambda body: UOp(
            ops.REDUCE, u.dtype, (body, *ranges), (how, ()))

    def _gather(self, u: UOp, index: Index) -> Plan:
        x, idx = u.src
        where = _clamped(self.at(idx, index), x.shape[u.arg])
        return ((x, (*index[: u.arg], where, *index[u.arg + 1 :])),), lambda value: value

    def _scatter(self, u: UOp, index: Index) -> Plan:
        idx, g = u.src[:2]
        how, axis, length = u.arg
        r = kernel_range(_next_number(index), g.shape[axis], "loop")
        if g.shape[axis] == 1:
            r = ZERO
        inner = (*index[:axis], r, *index[axis + 1 :])
        none = const(identity(how, g.dtype), g.dtype)

        def build(where: UOp, value: UOp) -> UOp:
            hit = _clamped(where, length).eq(index[axis]).where(value, none)
            return hit if r is ZERO else UOp(ops.REDUCE, u.dtype, (hit, r), (how, ()))

        return ((idx, inner), (g, inner)), build


def _next_number(index: Index) -> int:
    return 1 + max((int(u.arg[0]) for u in toposort(index) if u.op is ops.RANGE), default=-1)


def combined(how: str, x: UOp, y: UOp) -> UOp:
    """What a reduction of both gives."""
    return x.alu({"add": ops.ADD, "mul": ops.MUL, "max": ops.MAX, "min": ops.MIN}[how], y)


def identity(how: str, dtype: DType) -> bool | int | float:
    """What a reduction of nothing gives: 0, 1, the least or the greatest value."""
    if how in ("add", "mul"):
        return int(how == "mul")
    return dtype.min if how == "max" else dtype.max


def _clamped(where: UOp, length: Dim) -> UOp:
    if where.dtype.kind == "u" and isinstance(length, int):  # the greatest are no kernel's index
        where = where.minimum(max(0, min(length - 1, int(where.dtype.max))))
    return where.cast(dtypes.index).maximum(0).minimum(dim_uop(length) - 1)


def moved(u: UOp, index: Index) -> tuple[Index, UOp]:
    """Where the movement op `u` reads its source for `index`, and whether it does (else 0)."""
    old = u.src[0].shape
    if u.op is ops.RESHAPE:
        key = index, u.shape, old
        return _reshapes.get(key, lambda: _reshaped(*key)), _TRUE
    if u.op is ops.PERMUTE:
        back = {a: i for i, a in enumerate(u.arg)}
        return tuple(index[back[i]] for i in range(len(old))), _TRUE
    if u.op is ops.EXPAND:
        return tuple(ZERO if d == 1 else i for i, d in zip(index, old, strict=False)), _TRUE
    if u.op is ops.FLIP:
        return tuple(dim_uop(d) - 1 - x if i in u.arg else x
                     for i, (x, d) in enumerate(zip(index, old, strict=True))), _TRUE  # fmt: skip
    if u.op is ops.SHRINK:
        return tuple(x + dim_uop(lo) for x, lo in zip(index, u.dims[::2], strict=True)), _TRUE
    if u.op is ops.PAD:
        inner = tuple(x if lo == 0 and hi == 0 else x - dim_uop(lo)
                      for x, lo, hi in zip(index, u.dims[::2], u.dims[1::2], strict=True))
        checked = [i for i in range(len(old)) if inner[i] is not index[i] or u.dims[2 * i + 1] != 0]
        return inner, _inside(inner, old, checked)
    axis, by, step, offset, _ = u.arg
    shifted = index[axis] + index[by] * step + offset
    inner = (*index[:axis], shifted, *index[axis + 1 :])
    return inner, _inside(inner, old, [axis])


def _inside(index: Index, shape: Shape, axes: list[int]) -> UOp:
    valid = _TRUE
    for i in axes:
        valid = valid & (index[i] < 0).logical_not() & (index[i] < dim_uop(shape[i]))
    return simplify([valid])[0]


# Arithmetic of the indices last asked for: layers of one model ask for the same.
_positions: Memo[tuple[Index, Shape], UOp] = Memo(4096)
_reshapes: Memo[tuple[Index, Shape, Shape], Index] = Memo(4096)


def flat(index: Index, shape: Shape) -> UOp:
    """The row-major position of an index."""
    return _positions.get((index, shape), lambda: _flat(index, shape))


def _flat(index: Index, shape: Shape) -> UOp:
    out: UOp = ZERO
    for x, d in zip(index, shape, strict=True):
        out = out * dim_uop(d) + x
    return simplify([out])[0]


def _reshaped(index: Index, new: Shape, old: Shape) -> Index:
    """The index in `old` of the element at `index` in `new`: axes in groups of equal length, so an
    axis that a reshape leaves alone keeps its index as it is, in range or not."""
    out: list[UOp] = [ZERO] * len(old)
    theirs = [i for i, d in enumerate(new) if d != 1]
    ours = [i for i, d in enumerate(old) if d != 1]
    while theirs or ours:
        group, into = _equal_lengths(new, old, theirs, ours)
        part = tuple(index[i] for i in group)
        if len(group) != 1 or len(into) != 1:
            shape = tuple(old[i] for i in into)
            part = _unflatten(flat(part, tuple(new[i] for i in group)), shape)
        for i, x in zip(into, part, strict=True):
            out[i] = x
        theirs, ours = theirs[len(group) :], ours[len(into) :]
    return tuple(out)


def _equal_lengths(new: Shape, old: Shape, theirs: list[int],
                   ours: list[int]) -> tuple[list[int], list[int]]:  # fmt: skip
    """The fewest leading axes of both whose lengths multiply to the same."""
    if theirs and ours and same_dim(new[theirs[0]], old[ours[0]]):
        return theirs[:1], ours[:1]
    n = m = 1
    a = b = 0
    while not (a and b and n == m):
        if a < len(theirs) and (n <= m or b == len(ours)):
            d = new[theirs[a]]
            a += 1
        elif b < len(ours):
            d = old[ours[b]]
            b += 1
            if isinstance(d, int):
                m *= d
                continue
        else:
            break
        if not isinstance(d, int):
            return theirs, ours  # symbolic lengths: all at once
        n *= d
    return theirs[:a], ours[:b]


def _unflatten(flat: UOp, shape: Shape) -> Index:
    out: list[UOp] = []
    for n, d in enumerate(reversed(shape)):
        size = dim_uop(d)
        out.append(flat if n == len(shape) - 1 else ZERO if d == 1 else flat % size)
        if d != 1:
            flat = flat // size
    return tuple(simplify(out[::-1]))
