"""One stored tensor node becomes one kernel: scalar expressions over ranges.

In: a tensor node, and which nodes are read from buffers. Out: a STORE of its value at every index.
Movement ops dissolve into index arithmetic here, and nothing is copied. Values that a kernel does
not read from a buffer are computed in place, each at the indices where it is wanted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.symbolic import simplify
from anneal.uop.uop import Dim, Shape, UOp, const, dim_uop, rebuild, toposort

Index = tuple[UOp, ...]
Want = tuple[UOp, Index]
_TRUE = const(True, dtypes.bool_)
_ZERO = const(0, dtypes.index)


def kernel_range(number: int, size: Dim, kind: str) -> UOp:
    return UOp(ops.RANGE, dtypes.index, (dim_uop(size),), (number, kind))


def kernel_body(root: UOp, out: UOp, args: Mapping[UOp, UOp]) -> UOp:
    """The STORE of every element of `root` into the ARG `out`; `args` are the nodes read from
    buffers, with the ARG of each."""
    grid = tuple(_ZERO if d == 1 else kernel_range(i, d, "grid") for i, d in enumerate(root.shape))
    maker = _Maker(args, len(root.shape))
    value = maker.at(root, grid)
    store = UOp(ops.STORE, value.dtype, (out, _flat(grid, root.shape), value))
    return simplify([store])[0]


class _Maker:
    """Expressions of tensor nodes at indices, each pair of them made once."""

    def __init__(self, args: Mapping[UOp, UOp], ranges: int) -> None:
        self.args = args
        self.ranges = ranges
        self.made: dict[Want, UOp] = {}
        self.planned: dict[Want, tuple[tuple[Want, ...], Callable[..., UOp]]] = {}

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
            built = build(*(self.made[w] for w in wanted))
            if built.origin is None:
                built.origin = want[0].origin
            self.made[want] = built
            todo.pop()
        return self.made[top]

    def _range(self, size: Dim) -> UOp:
        self.ranges += 1
        return kernel_range(self.ranges - 1, size, "reduce")

    def _plan(self, u: UOp, index: Index) -> tuple[tuple[Want, ...], Callable[..., UOp]]:
        """What `u` at `index` needs, and how it is made of that."""
        arg = self.args.get(u)
        if arg is not None:
            where = simplify([_flat(index, u.shape)])[0]
            return (), lambda: UOp(ops.LOAD, u.dtype, (arg, where))
        if u.op is ops.CONST:
            return (), lambda: u
        if u.op is ops.ARANGE:
            return (), lambda: index[0].cast(u.dtype)
        if u.op in ops.ELEMENTWISE or u.op in ops.IDENTITY:
            wants = tuple((s, _broadcast(index, s)) for s in u.src)
            if u.op in ops.IDENTITY:
                return wants, lambda x: x
            return wants, lambda *src: rebuild(u, src) if u.shape == () else UOp(
                u.op, u.dtype, src, u.arg)  # fmt: skip
        if u.op in ops.MOVEMENT:
            inner, valid = moved(u, index)
            if valid is _TRUE:
                return ((u.src[0], inner),), lambda x: x
            return ((u.src[0], inner),), lambda x: valid.where(x, const(0, u.dtype))
        if u.op is ops.REDUCE:
            return self._reduce(u, index)
        if u.op is ops.GATHER:
            return self._gather(u, index)
        if u.op is ops.SCATTER_ADD:
            return self._scatter_add(u, index)
        raise NotImplementedError(f"{u.op} cannot be lowered to a kernel")

    def _reduce(self, u: UOp, index: Index) -> tuple[tuple[Want, ...], Callable[..., UOp]]:
        (x,), (how, axes) = u.src, u.arg
        if any(x.shape[i] == 0 for i in axes):
            return (), lambda: const(identity(how, u.dtype), u.dtype)
        outer = iter(index)
        inner = tuple((_ZERO if d == 1 else self._range(d)) if i in axes else next(outer)
                      for i, d in enumerate(x.shape))  # fmt: skip
        ranges = tuple(inner[i] for i in axes if inner[i] is not _ZERO)
        if not ranges:
            return ((x, inner),), lambda body: body
        return ((x, inner),), lambda body: UOp(ops.REDUCE, u.dtype, (body, *ranges), (how, ()))

    def _gather(self, u: UOp, index: Index) -> tuple[tuple[Want, ...], Callable[..., UOp]]:
        x, idx = u.src
        where = _clamped(self.at(idx, index), x.shape[u.arg])
        return ((x, (*index[: u.arg], where, *index[u.arg + 1 :])),), lambda value: value

    def _scatter_add(self, u: UOp, index: Index) -> tuple[tuple[Want, ...], Callable[..., UOp]]:
        idx, g = u.src
        axis, length = u.arg
        r = self._range(g.shape[axis])
        inner = (*index[:axis], r, *index[axis + 1 :])
        zero = const(0, g.dtype)

        def build(where: UOp, value: UOp) -> UOp:
            hit = _clamped(where, length).eq(index[axis])
            return UOp(ops.REDUCE, u.dtype, (hit.where(value, zero), r), ("add", ()))

        return ((idx, inner), (g, inner)), build


def identity(how: str, dtype: DType) -> bool | int | float:
    """What a reduction of nothing gives: 0, 1, the least or the greatest value."""
    if how in ("add", "mul"):
        return int(how == "mul")
    return dtype.min if how == "max" else dtype.max


def _clamped(where: UOp, length: Dim) -> UOp:
    return where.cast(dtypes.index).maximum(0).minimum(dim_uop(length) - 1)


def _broadcast(index: Index, source: UOp) -> Index:
    """The index of an elementwise source: a scalar has none."""
    return index if source.shape else ()


def moved(u: UOp, index: Index) -> tuple[Index, UOp]:
    """Where the movement op `u` reads its source for `index`, and whether it does (else 0)."""
    old = u.src[0].shape
    if u.op is ops.RESHAPE:
        return _unflatten(simplify([_flat(index, u.shape)])[0], old), _TRUE
    if u.op is ops.PERMUTE:
        back = {a: i for i, a in enumerate(u.arg)}
        return tuple(index[back[i]] for i in range(len(old))), _TRUE
    if u.op is ops.EXPAND:
        return tuple(_ZERO if d == 1 else i for i, d in zip(index, old, strict=False)), _TRUE
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


def _flat(index: Index, shape: Shape) -> UOp:
    """The row-major position of an index."""
    out: UOp = _ZERO
    for x, d in zip(index, shape, strict=True):
        out = out * dim_uop(d) + x
    return out


def _unflatten(flat: UOp, shape: Shape) -> Index:
    out: list[UOp] = []
    for n, d in enumerate(reversed(shape)):
        size = dim_uop(d)
        out.append(flat if n == len(shape) - 1 else _ZERO if d == 1 else flat % size)
        if d != 1:
            flat = flat // size
    return tuple(simplify(out[::-1]))




def free_ranges(root: UOp) -> dict[UOp, frozenset[UOp]]:
    """For each node under `root`, the reduce ranges that its value depends on."""
    deps: dict[UOp, frozenset[UOp]] = {}
    none: frozenset[UOp] = frozenset()
    for u in toposort([root]):
        if u.op is ops.RANGE:
            deps[u] = frozenset((u,)) if u.arg[1] == "reduce" else none
            continue
        found: Any = none
        for s in u.src:
            if deps[s] and deps[s] is not found:
                found = found | deps[s] if found else deps[s]
        if u.op is ops.REDUCE:
            found = found - frozenset(u.src[1:])
        deps[u] = found
    return deps
