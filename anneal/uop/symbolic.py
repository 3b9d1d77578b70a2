"""What is known of integer nodes without running them: interval bounds, and simplified dims.

`bounds(u)` are Python ints (least, greatest) for nodes of integer or bool dtype, computed once per
node without recursion. `simplify(roots)` applies the symbolic ruleset.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.ops import Op
from anneal.uop.rewrite import Fired, rewrite
from anneal.uop.uop import Carry, Dim, UOp

Bounds = tuple[int, int]


def bounds(u: UOp) -> Bounds:
    """The least and greatest value any element of `u` (an integer or bool node) can have.

    >>> from anneal.uop.uop import var
    >>> bounds(var("n", 1, 8) * 4 + 3)
    (7, 35)
    """
    if u._bounds is not None:
        return u._bounds
    todo = [u]
    while todo:
        node = todo[-1]
        if node._bounds is None:
            pending = [s for s in _read(node) if s._bounds is None]
            if pending:
                todo += pending
                continue
            node._bounds = _bounds(node)
        todo.pop()
    result: Bounds | None = u._bounds
    assert result is not None
    return result


def lo(u: UOp) -> int:
    """The least value `u` can have."""
    return bounds(u)[0]


def hi(u: UOp) -> int:
    """The greatest value `u` can have."""
    return bounds(u)[1]


def simplify(
    roots: Sequence[UOp], *, record: Callable[[Fired], None] | None = None,
    carry: Carry | None = None,
) -> list[UOp]:  # fmt: skip
    """`roots` rewritten by `rules/symbolic.upat` to a fixpoint: the same values, bit for bit."""
    from anneal.rules._symbolic import RULES

    return rewrite(roots, RULES, record=record, carry=carry)


def simplified_with(root: UOp, given: Mapping[UOp, UOp], reads: Callable[[UOp], bool]) -> UOp:
    """`root` with nodes in the place of others, in its simplest form, by one walk. `reads`: whether
    a node changes with what is `given`; what is below one that does not is not looked at."""
    from anneal.rules._symbolic import RULES

    (settled,) = simplify([root])  # so that the walk ends at whatever does not read them
    final = dict(zip(given, simplify(list(given.values())), strict=True))
    return rewrite([settled], RULES, given=final, reads_given=reads)[0]


def simplify_dim(d: Dim) -> Dim:
    """A dim in its simplest form; an int where it can only be one value.

    >>> from anneal.uop.uop import var
    >>> n = var("n", 1, 8)
    >>> simplify_dim((n * 4 + 4) // 4 - n)
    1
    """
    if isinstance(d, int) or d.op is ops.VAR:
        return d
    (new,) = simplify([d])
    return int(new.arg) if new.op is ops.CONST else new


# -- interval arithmetic ---------------------------------------------------------------------------


def _read(u: UOp) -> tuple[UOp, ...]:
    """The sources whose bounds decide those of `u`."""
    if u.dtype.kind == "f":
        return ()
    if u.op in ops.MOVEMENT or u.op in ops.IDENTITY or u.op is ops.GATHER:
        return u.src[:1]
    if u.op in _RULES:
        return tuple(s for s in u.src if s.dtype.kind != "f")
    return u.src[:1] if u.op in (ops.RANGE, ops.ARANGE, ops.REDUCE) else ()


def _whole(dtype: DType) -> Bounds:
    return (0, 1) if dtype.kind == "b" else (int(dtype.min), int(dtype.max))


def _bounds(u: UOp) -> Bounds:
    if u.dtype.kind == "f":
        raise TypeError(f"bounds are of integers, not of {u.op} of dtype {u.dtype}")
    known = [s._bounds for s in _read(u)]
    least, greatest = _whole(u.dtype)
    found = _interval(u, [k for k in known if k is not None])
    if found is None or found[0] > found[1]:
        return least, greatest
    if u.dtype is dtypes.index:
        return found
    # What leaves the range of a wrapping type may come out anywhere.
    return found if found[0] >= least and found[1] <= greatest else (least, greatest)


def _interval(u: UOp, src: list[Bounds]) -> Bounds | None:
    op = u.op
    if op is ops.CONST:
        return int(u.arg), int(u.arg)
    if op is ops.VAR:
        return u.arg[1], u.arg[2]
    if op is ops.RANGE:
        return 0, max(src[0][1] - 1, 0)
    if op is ops.ARANGE:
        return 0, max((src[0][1] if src else u.arg[0]) - 1, 0)
    if op is ops.PAD or op is ops.SHEAR:
        return min(src[0][0], 0), max(src[0][1], 0)
    if op in ops.MOVEMENT or op in ops.IDENTITY or op is ops.GATHER:
        return src[0]
    if op is ops.REDUCE and u.arg[0] in ("max", "min"):
        return src[0]
    rule = _RULES.get(op)
    if rule is None or any(s.dtype.kind == "f" for s in u.src):
        return None
    return rule(*src)


def _mul(a: Bounds, b: Bounds) -> Bounds:
    products = (a[0] * b[0], a[0] * b[1], a[1] * b[0], a[1] * b[1])
    return min(products), max(products)


def _floordiv(a: Bounds, b: Bounds) -> Bounds | None:
    if b[0] <= 0 <= b[1]:
        return None
    quotients = (a[0] // b[0], a[0] // b[1], a[1] // b[0], a[1] // b[1])
    return min(quotients), max(quotients)


def _mod(a: Bounds, b: Bounds) -> Bounds | None:
    if b[0] <= 0:
        return None
    if b[0] == b[1] and a[0] // b[0] == a[1] // b[0]:
        return a[0] % b[0], a[1] % b[0]
    if a[0] >= 0:
        return (a if a[1] < b[0] else (0, min(a[1], b[1] - 1)))
    return 0, b[1] - 1


def _lt(a: Bounds, b: Bounds) -> Bounds:
    return int(a[1] < b[0]), int(a[0] < b[1])


def _eq(a: Bounds, b: Bounds) -> Bounds:
    return int(a[0] == a[1] == b[0] == b[1]), int(a[0] <= b[1] and b[0] <= a[1])


def _ne(a: Bounds, b: Bounds) -> Bounds:
    equal = _eq(a, b)
    return 1 - equal[1], 1 - equal[0]


def _and(a: Bounds, b: Bounds) -> Bounds | None:
    """Anded with something that is not negative, nothing grows."""
    tops = [x[1] for x in (a, b) if x[0] >= 0]
    if not tops:
        return None
    return (1 if a == b == (1, 1) else 0), min(tops)


def _or(a: Bounds, b: Bounds) -> Bounds | None:
    if a[0] < 0 or b[0] < 0:
        return None
    return max(a[0], b[0]), (1 << max(a[1], b[1]).bit_length()) - 1


def _xor(a: Bounds, b: Bounds) -> Bounds | None:
    return None if (found := _or(a, b)) is None else (0, found[1])


def _shr(a: Bounds, b: Bounds) -> Bounds | None:
    if b[0] < 0 or b[1] > 64:
        return None
    shifted = [x >> s for x in a for s in b]
    return min(shifted), max(shifted)


def _abs(a: Bounds) -> Bounds:
    least = 0 if a[0] <= 0 <= a[1] else min(abs(a[0]), abs(a[1]))
    return least, max(abs(a[0]), abs(a[1]))


def _where(p: Bounds, a: Bounds, b: Bounds) -> Bounds:
    if p[0] == p[1]:
        return a if p[0] else b
    return min(a[0], b[0]), max(a[1], b[1])


def _cast(a: Bounds) -> Bounds:
    return a


_RULES: dict[Op, Callable[..., Bounds | None]] = {
    ops.ADD: lambda a, b: (a[0] + b[0], a[1] + b[1]),
    ops.SUB: lambda a, b: (a[0] - b[1], a[1] - b[0]),
    ops.NEG: lambda a: (-a[1], -a[0]),
    ops.MAX: lambda a, b: (max(a[0], b[0]), max(a[1], b[1])),
    ops.MIN: lambda a, b: (min(a[0], b[0]), min(a[1], b[1])),
    ops.MUL: _mul, ops.FLOORDIV: _floordiv, ops.MOD: _mod, ops.LT: _lt, ops.EQ: _eq, ops.NE: _ne,
    ops.AND: _and, ops.OR: _or, ops.XOR: _xor, ops.SHR: _shr, ops.ABS: _abs, ops.WHERE: _where,
    ops.CAST: _cast,
}  # fmt: skip
