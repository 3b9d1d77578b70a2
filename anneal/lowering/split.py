"""Reductions and scatters in the form for kernels: at once, or in parts.

In: the outputs of a simplified graph. Out: the same, where a reduction of a reduction that nothing
else reads is one, and a long reduction first reduces parts of itself, stored, and then the parts:
if it gives few elements, so that all of the device has work, and always if one invocation may not
loop that often.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from anneal.lowering.kernels import identity, is_scatter
from anneal.lowering.limits import MOST_ITERATIONS, trips
from anneal.lowering.rangeify import points, unmoved
from anneal.uop import dtypes, ops
from anneal.uop.uop import Carry, UOp, const, rebuild, scatter, toposort

# Results fewer than this leave most of the device idle, which matters for reductions longer than
# this; products may be computed in tiles, which leaves fewer invocations.
_FEW, _FEW_PRODUCTS, _LONG = 256, 1 << 14, 1 << 14
# Results of a product's parts that keep the device busy.
_ENOUGH = 1 << 17
# Elements that one invocation of a scatter sets to zero before it adds, and for each index.
_MOST_ZEROS, _MOST_ZEROS_EACH = 1024, 2
# What nodes that hold the parts of a reduction are marked with.
_PARTS, _PRODUCTS = ("parts of a long reduction", 0), ("parts of a long product", 0)
# Parts of a reduction: results of its first half.
_MOST_PARTS, _FEWEST_PARTS = 1024, 8


def at_once(outputs: Sequence[UOp], carry: Carry) -> list[UOp]:
    """`outputs` with reductions of reductions of the same kind as one. Float sums reassociate."""
    order = toposort(outputs)
    uses = _uses(outputs, order)
    done: dict[UOp, UOp] = {}
    for u in order:
        new = rebuild(u, tuple([done[s] for s in u.src]))
        if u.op is ops.REDUCE and u.src[0].op is ops.REDUCE and uses[u.src[0]] == 1:
            inner, (how, axes) = new.src[0], u.arg
            if inner.arg[0] == how:
                x = inner.src[0]
                kept = [i for i in range(x.ndim) if i not in inner.arg[1]]
                new = x.reduce(how, (*inner.arg[1], *(kept[a] for a in axes)))
                carry(u.src[0], new)
        done[u] = new
        carry(u, new)
    return [done[u] for u in outputs]


def _uses(outputs: Sequence[UOp], order: Sequence[UOp]) -> dict[UOp, int]:
    """How many nodes, and outputs, read each."""
    uses = dict.fromkeys(order, 0)
    for u in outputs:
        uses[u] += 1
    for u in order:
        for s in u.src:
            uses[s] += 1
    return uses


def split_long(outputs: Sequence[UOp], carry: Carry) -> list[UOp]:
    """`outputs` with every reduction and scatter that is too long in parts."""
    done: dict[UOp, UOp] = {}
    order = toposort(outputs)
    uses = _uses(outputs, order)
    for number, u in enumerate(order):
        new = rebuild(u, tuple([done[s] for s in u.src]))
        if all(isinstance(d, int) for s in (u, *u.src) for d in s.shape):
            if u.op is ops.REDUCE:
                new = _reduction(new)
            elif _is_long_scatter(u):
                nothing = const(identity(u.arg[0], u.dtype), u.dtype).expand(u.shape)
                new = _scatter(new, nothing, number)
            elif u.op is ops.ADD:
                new = _scatter_to_the_other(u, new, uses, done, number, carry)
        done[u] = new
        carry(u, new)
    return [done[u] for u in outputs]


def _reduction(u: UOp) -> UOp:
    x, (how, axes) = u.src[0], u.arg
    sizes = {a: _int(x.shape[a]) for a in axes}
    length, results = math.prod(sizes.values()), math.prod(_int(d) for d in u.shape)
    must = _trips(u) > MOST_ITERATIONS
    product = _is_product(x)
    if not must and not (length >= _LONG and 0 < results < (_FEW_PRODUCTS if product else _FEW)):
        return u
    fewest = -(-_trips(u) // MOST_ITERATIONS)
    most = max(fewest, min(_MOST_PARTS, length // 64) // max(results, 1))
    if product:
        most = max(most, min(_ENOUGH // max(results, 1), length // 512))
    wanted = fewest if must else _FEWEST_PARTS
    if most < wanted:
        return u
    axis, parts = max(((a, _divisor(n, most)) for a, n in sizes.items()), key=lambda c: c[1])
    if parts < wanted:
        axis = max(sizes, key=sizes.__getitem__)
        parts = min(most, sizes[axis])
        x = _padded(x, axis, parts, how)
    return _halves(u, x, axis, parts, _PRODUCTS if product else _PARTS)


def _is_product(x: UOp) -> bool:
    """Whether `x` multiplies operands that are smaller: their elements serve several results."""
    if x.op is not ops.MUL:
        return False
    size = points(x.shape)
    return all(points(unmoved(s).shape) < size for s in x.src)


def _divisor(n: int, most: int) -> int:
    """The greatest divisor of n that is at most `most`."""
    return next(p for p in range(min(most, n), 0, -1) if n % p == 0)


def _padded(x: UOp, axis: int, parts: int, how: str) -> UOp:
    """`x` with what changes no reduction after it, to a multiple of `parts`."""
    n = _int(x.shape[axis])
    extra = -n % parts
    wide = x.pad([(0, extra) if i == axis else (0, 0) for i in range(x.ndim)])
    if how == "add":
        return wide
    inside = const(True, dtypes.bool_).expand((n,)).pad([(0, extra)])
    inside = inside.reshape([n + extra if i == axis else 1 for i in range(x.ndim)])
    rest = const(identity(how, x.dtype), x.dtype)
    return inside.expand(wide.shape).where(wide, rest)


def is_for_many(u: UOp) -> bool:
    """Whether `u` holds the parts of a long product: work for many invocations."""
    return u.op is ops.CONTIGUOUS and u.arg == _PRODUCTS


def _halves(u: UOp, x: UOp, axis: int, parts: int, mark: tuple[str, int]) -> UOp:
    how, axes = u.arg
    rest = _int(x.shape[axis]) // parts
    whole = x.reshape((*x.shape[:axis], parts, rest, *x.shape[axis + 1 :]))
    inner = [a + (a > axis) for a in axes if a != axis]
    halves = _short(whole.reduce(how, (*inner, axis + 1)))
    stored = UOp(ops.CONTIGUOUS, halves.dtype, (halves,), mark)
    return _short(stored.reduce(how, (sum(a not in axes for a in range(axis)),)))


def _short(half: UOp) -> UOp:
    """A half of a reduction, in parts if it is still too long."""
    return _reduction(half) if _trips(half) > MOST_ITERATIONS else half


def _trips(u: UOp) -> int:
    """Iterations of the loops of the reduction `u` itself."""
    return trips(_int(d) for a, d in enumerate(u.src[0].shape) if a in u.arg[1] and d != 1)


def _is_long_scatter(u: UOp) -> bool:
    """Whether zeros are written by a kernel of their own, in parallel, or the indices are more than
    one invocation may go through."""
    if len(u.src) != 2 or not is_scatter(u):
        return False
    _, axis, length = u.arg
    rows, count = _int(length), _int(u.src[1].shape[axis])
    return rows > max(_MOST_ZEROS, _MOST_ZEROS_EACH * count) or rows + count > MOST_ITERATIONS


def _scatter(u: UOp, before: UOp, number: int) -> UOp:
    """The scatter `u` into what there was before. `number` tells that memory apart."""
    idx, g = u.src
    how, axis, length = u.arg
    count = _int(g.shape[axis])
    out = UOp(ops.CONTIGUOUS, u.dtype, (before,), ("a scatter writes into it", number))
    for start in range(0, count, MOST_ITERATIONS):
        bounds = [(start, min(start + MOST_ITERATIONS, count)) if i == axis else (0, d)
                  for i, d in enumerate(g.shape)]  # fmt: skip
        out = scatter(how, idx.shrink(bounds), g.shrink(bounds), axis, length, out)
    return out


def _scatter_to_the_other(
    u: UOp, new: UOp, uses: Mapping[UOp, int], done: Mapping[UOp, UOp], number: int, carry: Carry
) -> UOp:
    """A sum with a long scatter that nothing else wants: it begins with the other summand."""
    for s, other in (u.src, u.src[::-1]):
        if s.op is ops.SCATTER and s.arg[0] == "add" and _is_long_scatter(s) and uses[s] == 1:
            before = done[other].expand(s.shape)
            out = _scatter(rebuild(s, tuple([done[x] for x in s.src])), before, number)
            carry(s, out)
            return out
    return new


def _int(d: object) -> int:
    assert isinstance(d, int)
    return d
