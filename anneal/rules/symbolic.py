"""Functions that rules/symbolic.upat names: folding of constants, and sums of index terms.

An index expression's normal form is a sum of terms `x`, `x*c` in a fixed order, the constant last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cmp_to_key

from anneal.uop import dtypes, ops
from anneal.uop.ops import Op
from anneal.uop.symbolic import bounds, hi, lo
from anneal.uop.uop import Scalar, UOp, cast_scalar, const

__all__ = ["bounds", "fold", "hi", "in_order", "isint", "lo", "sum_form"]


def isint(x: UOp) -> bool:
    return x.dtype.kind in "iu"


# -- folding ---------------------------------------------------------------------------------------


def _div(a: float, b: float) -> float:
    if b != 0:
        return a / b
    if a == 0 or a != a:
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def _maximum(a: Scalar, b: Scalar) -> Scalar:
    return a if a != a else b if b != b else max(a, b)


def _minimum(a: Scalar, b: Scalar) -> Scalar:
    return a if a != a else b if b != b else min(a, b)


# Exactly rounded or exact, whatever the device: exp, log and their like are left to the device.
_FLOAT: dict[Op, Callable[..., Scalar]] = {
    ops.NEG: lambda a: -a, ops.ABS: abs, ops.ADD: lambda a, b: a + b, ops.SUB: lambda a, b: a - b,
    ops.MUL: lambda a, b: a * b, ops.DIV: _div, ops.MAX: _maximum, ops.MIN: _minimum,
    ops.SQRT: lambda a: a if a == 0 or a == math.inf else math.sqrt(a) if a > 0 else math.nan,
    ops.FLOOR: lambda a: a if not math.isfinite(a) or a == 0 else float(math.floor(a)),
    ops.ROUND: lambda a: a if not math.isfinite(a) else math.copysign(float(round(a)), a),
    ops.LT: lambda a, b: a < b, ops.EQ: lambda a, b: a == b, ops.NE: lambda a, b: a != b,
}  # fmt: skip
_INT: dict[Op, Callable[..., Scalar]] = {
    ops.NEG: lambda a: -a, ops.ABS: abs, ops.ADD: lambda a, b: a + b, ops.SUB: lambda a, b: a - b,
    ops.MUL: lambda a, b: a * b, ops.MAX: max, ops.MIN: min, ops.NOT: lambda a: ~a,
    ops.AND: lambda a, b: a & b, ops.OR: lambda a, b: a | b, ops.XOR: lambda a, b: a ^ b,
    ops.LT: lambda a, b: a < b, ops.EQ: lambda a, b: a == b, ops.NE: lambda a, b: a != b,
    ops.MOD: lambda a, b: a % b if b else a,
}  # fmt: skip
_BOOL: dict[Op, Callable[..., Scalar]] = {
    ops.NOT: lambda a: not a, ops.AND: lambda a, b: a and b, ops.OR: lambda a, b: a or b,
    ops.ADD: lambda a, b: a or b, ops.MUL: lambda a, b: a and b, ops.XOR: lambda a, b: a != b,
    ops.MAX: lambda a, b: a or b, ops.MIN: lambda a, b: a and b,
    ops.LT: lambda a, b: a < b, ops.EQ: lambda a, b: a == b, ops.NE: lambda a, b: a != b,
}  # fmt: skip


def fold(out: UOp) -> UOp | None:
    """The constant that `out`, whose sources are constants, always is; None where only the device
    knows. float16 to float32 are computed in double and rounded once more, which is exact for
    + - * / sqrt (Figueroa 1995: 53 >= 2*24 + 2)."""
    dtype = out.src[0].dtype
    args = [s.arg for s in out.src]
    if out.op is ops.CAST:
        return const(cast_scalar(args[0], dtype, out.dtype), out.dtype)
    if out.op in (ops.FLOORDIV, ops.SHL, ops.SHR):
        return const(_integer(out.op, args[0], args[1], out), out.dtype)
    table = _FLOAT if dtype.kind == "f" else _BOOL if dtype.kind == "b" else _INT
    function = table.get(out.op)
    if function is None:
        return None
    return const(function(*args), out.dtype)


def _integer(op: Op, a: int, b: int, out: UOp) -> int:
    if op is ops.FLOORDIV:
        return a // b if b else int(out.dtype.max) if out.dtype.kind == "u" else -1
    past = b >= out.dtype.bits or b < 0
    if op is ops.SHL:
        return 0 if past else a << b
    return (-1 if a < 0 else 0) if past else a >> b


# -- order -----------------------------------------------------------------------------------------


def _rank(u: UOp) -> tuple[str, str]:
    return u.op.name, repr(u.arg)


def compare(a: UOp, b: UOp) -> int:
    """Negative where `a` comes before `b`: by what they are, so the same in every process."""
    todo = [(a, b)]
    while todo:
        x, y = todo.pop()
        if x is y:
            continue
        if x.op is not y.op:
            return -1 if x.op.name < y.op.name else 1
        if x.arg != y.arg:
            p, q = x.arg, y.arg
            if x.op is ops.CONST:
                return -1 if p < q else 1
            if isinstance(p, tuple) and isinstance(q, tuple) and p[0] != q[0] \
                    and type(p[0]) is type(q[0]) and isinstance(p[0], int | str):
                return -1 if p[0] < q[0] else 1
            return -1 if _rank(x) < _rank(y) else 1
        if len(x.src) != len(y.src):
            return len(x.src) - len(y.src)
        if x.dtype is not y.dtype:
            return -1 if x.dtype.name < y.dtype.name else 1
        todo += zip(reversed(x.src), reversed(y.src), strict=True)
    return 0


_KEY = cmp_to_key(compare)


def in_order(product: UOp) -> bool:
    """Whether the factors of a product come in order, a constant last."""
    a, b = product.src
    return a.op is not ops.CONST and (b.op is ops.CONST or compare(a, b) <= 0)


# -- sums ------------------------------------------------------------------------------------------


def _term(u: UOp) -> tuple[UOp, int]:
    """A term as (what, how often)."""
    if u.op is ops.MUL and u.src[1].op is ops.CONST:
        return u.src[0], u.src[1].arg
    return u, 1


def terms(u: UOp) -> tuple[list[tuple[UOp, int]], int]:
    """The terms of a sum, and its constant."""
    found: list[tuple[UOp, int]] = []
    constant = 0
    todo = [u]
    while todo:
        x = todo.pop()
        if x.op is ops.ADD:
            todo += (x.src[1], x.src[0])
        elif x.op is ops.CONST:
            constant += x.arg
        else:
            found.append(_term(x))
    return found, constant


def sum_of(parts: list[tuple[UOp, int]], constant: int) -> UOp:
    """The normal form of a sum, given its terms in order."""
    total: UOp | None = None
    for x, c in parts:
        term = x if c == 1 else x * c
        total = term if total is None else total + term
    if total is None:
        return const(constant, dtypes.index)
    return total + constant if constant else total


def sum_form(out: UOp) -> UOp | None:
    """A sum with its terms in order, equal ones gathered, the constant last; None if it is."""
    left, right = out.src
    if right.op is not ops.ADD:
        if right.op is ops.CONST:
            if left.op is not ops.CONST and not (
                left.op is ops.ADD and left.src[1].op is ops.CONST
            ):
                return None
        else:
            last = left.src[1] if left.op is ops.ADD else left
            if last.op is not ops.CONST and compare(_term(last)[0], _term(right)[0]) < 0:
                return None
    parts, constant = terms(out)
    gathered: dict[UOp, int] = {}
    for x, c in parts:
        gathered[x] = gathered.get(x, 0) + c
    return sum_of([(x, gathered[x]) for x in sorted(gathered, key=_KEY) if gathered[x]], constant)
