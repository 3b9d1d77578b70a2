"""Elementwise functions: NumPy's names and results, JAX's dtypes. Operands broadcast."""

from __future__ import annotations

import math
from typing import Any

from anneal.array import Array, asarray, broadcast, make, promote
from anneal.uop import dtypes, ops
from anneal.uop.ops import Op
from anneal.uop.uop import UOp


def _pair(name: str, x: Any, y: Any) -> tuple[UOp, UOp, bool]:
    try:
        (a, b), _, weak = promote(x, y)
        a, b = broadcast(a, b)
    except (TypeError, ValueError) as e:
        raise type(e)(f"{name}: {e}") from None
    return a.uop, b.uop, weak


def _binary(name: str, op: Op, x: Any, y: Any) -> Array:
    a, b, weak = _pair(name, x, y)
    return make(a.alu(op, b), weak and op not in ops.COMPARISONS)


def _floats(name: str, *xs: Any) -> list[Array]:
    """Arguments as floats: integers become float32, as in JAX."""
    arrays = [asarray(x) for x in xs]
    if any(a.dtype.is_float for a in arrays):
        return promote(*arrays)[0]
    return [Array(a.uop.cast(dtypes.float32), a.weak_type) for a in arrays]


def _unary(name: str, op: Op, x: Any) -> Array:
    (a,) = _floats(name, x)
    return make(a.uop.alu(op), a.weak_type)


def add(x: Any, y: Any) -> Array:
    """x + y."""
    return _binary("add", ops.ADD, x, y)


def subtract(x: Any, y: Any) -> Array:
    """x - y."""
    return _binary("subtract", ops.SUB, x, y)


def multiply(x: Any, y: Any) -> Array:
    """x * y."""
    return _binary("multiply", ops.MUL, x, y)


def true_divide(x: Any, y: Any) -> Array:
    """x / y; integers become float32."""
    a, b = _floats("divide", x, y)
    return _binary("divide", ops.DIV, a, b)


divide = true_divide


def floor_divide(x: Any, y: Any) -> Array:
    """floor(x / y)."""
    a, b, weak = _pair("floor_divide", x, y)
    if a.dtype.is_float:
        return make(a.alu(ops.DIV, b).alu(ops.FLOOR), weak)
    return make(a.alu(ops.FLOORDIV, b), weak)


def remainder(x: Any, y: Any) -> Array:
    """x - floor(x / y) * y: the sign of y."""
    a, b, weak = _pair("remainder", x, y)
    if a.dtype.is_float:
        return make(a - a.alu(ops.DIV, b).alu(ops.FLOOR) * b, weak)
    return make(a.alu(ops.MOD, b), weak)


mod = remainder


def power(x: Any, y: Any) -> Array:
    """x ** y; small integer exponents are products."""
    if isinstance(y, int) and not isinstance(y, bool) and 1 <= y <= 16:
        return _power_by_squaring(asarray(x), y)
    a, b = _floats("power", x, y)
    return _binary("power", ops.POW, a, b)


def _power_by_squaring(x: Array, n: int) -> Array:
    out: UOp | None = None
    square_ = x.uop
    while n:
        if n & 1:
            out = square_ if out is None else out * square_
        n >>= 1
        if n:
            square_ = square_ * square_
    assert out is not None
    return make(out, x.weak_type)


def negative(x: Any) -> Array:
    """-x."""
    a = asarray(x)
    return make(-a.uop, a.weak_type)


def abs(x: Any) -> Array:
    """|x|."""
    a = asarray(x)
    return make(a.uop.alu(ops.ABS), a.weak_type) if a.dtype.kind in "if" else a


absolute = abs


def sign(x: Any) -> Array:
    """-1, 0 or 1; NaN for NaN."""
    a = asarray(x)
    u = a.uop
    one, zero = u.const_like(1), u.const_like(0)
    up = (zero.alu(ops.LT, u)).where(one, zero)
    if a.dtype.kind == "u":
        return make(up, a.weak_type)
    out = (u < 0).where(u.const_like(-1), up)
    return make(u.ne(u).where(u, out) if a.dtype.is_float else out, a.weak_type)


def exp(x: Any) -> Array:
    """e ** x."""
    return _unary("exp", ops.EXP, x)


def log(x: Any) -> Array:
    """The natural logarithm."""
    return _unary("log", ops.LOG, x)


def log1p(x: Any) -> Array:
    """log(1 + x), accurate near 0 (W. Kahan's correction)."""
    (a,) = _floats("log1p", x)
    u = a.uop
    w = u + 1
    exact = w.eq(1) | w.eq(math.inf)
    safe = exact.where(2.0, w)
    return make(exact.where(u, safe.alu(ops.LOG) * u / (safe - 1)), a.weak_type)


def expm1(x: Any) -> Array:
    """exp(x) - 1, accurate near 0: tanh(x/2) * (exp(x) + 1)."""
    (a,) = _floats("expm1", x)
    e = a.uop.alu(ops.EXP)
    near = a.uop.alu(ops.ABS) < 0.5
    return make(near.where((a.uop * 0.5).alu(ops.TANH) * (e + 1), e - 1), a.weak_type)


def sqrt(x: Any) -> Array:
    """The square root; NaN below 0."""
    return _unary("sqrt", ops.SQRT, x)


def square(x: Any) -> Array:
    """x * x."""
    return multiply(x, x)


def sin(x: Any) -> Array:
    """The sine of radians."""
    return _unary("sin", ops.SIN, x)


def cos(x: Any) -> Array:
    """The cosine of radians."""
    return _unary("cos", ops.COS, x)


def tanh(x: Any) -> Array:
    """The hyperbolic tangent."""
    return _unary("tanh", ops.TANH, x)


def floor(x: Any) -> Array:
    """The greatest integer not above x."""
    return _unary("floor", ops.FLOOR, x)


def ceil(x: Any) -> Array:
    """The least integer not below x."""
    return negative(floor(negative(x)))


def round(x: Any, decimals: int = 0) -> Array:
    """The nearest multiple of 10**-decimals, ties to even."""
    a = asarray(x)
    if not a.dtype.is_float:
        return a
    scale = 10.0**decimals
    return _unary("round", ops.ROUND, a) if decimals == 0 else round(a * scale) / scale


def maximum(x: Any, y: Any) -> Array:
    """The greater; NaN if either is."""
    return _binary("maximum", ops.MAX, x, y)


def minimum(x: Any, y: Any) -> Array:
    """The smaller; NaN if either is."""
    return _binary("minimum", ops.MIN, x, y)


def clip(x: Any, min: Any = None, max: Any = None) -> Array:
    """x, not below `min` nor above `max`."""
    out = asarray(x)
    if min is not None:
        out = maximum(out, min)
    return out if max is None else minimum(out, max)


def equal(x: Any, y: Any) -> Array:
    """x == y."""
    return _binary("equal", ops.EQ, x, y)


def not_equal(x: Any, y: Any) -> Array:
    """x != y; true for NaN."""
    return _binary("not_equal", ops.NE, x, y)


def less(x: Any, y: Any) -> Array:
    """x < y."""
    return _binary("less", ops.LT, x, y)


def greater(x: Any, y: Any) -> Array:
    """x > y."""
    return _binary("greater", ops.LT, y, x)


def less_equal(x: Any, y: Any) -> Array:
    """x <= y."""
    a, b, _ = _pair("less_equal", x, y)
    if a.dtype.is_float:
        return make(a.alu(ops.LT, b) | a.eq(b))
    return make(b.alu(ops.LT, a).logical_not())


def greater_equal(x: Any, y: Any) -> Array:
    """x >= y."""
    return less_equal(y, x)


def bitwise_and(x: Any, y: Any) -> Array:
    """x & y of ints or bools."""
    return _binary("bitwise_and", ops.AND, x, y)


def bitwise_or(x: Any, y: Any) -> Array:
    """x | y of ints or bools."""
    return _binary("bitwise_or", ops.OR, x, y)


def bitwise_xor(x: Any, y: Any) -> Array:
    """x ^ y of ints or bools."""
    return _binary("bitwise_xor", ops.XOR, x, y)


def left_shift(x: Any, y: Any) -> Array:
    """x << y."""
    return _binary("left_shift", ops.SHL, x, y)


def right_shift(x: Any, y: Any) -> Array:
    """x >> y, keeping the sign."""
    return _binary("right_shift", ops.SHR, x, y)


def invert(x: Any) -> Array:
    """~x of ints or bools."""
    a = asarray(x)
    if a.dtype.is_float:
        raise TypeError(f"invert: expected integers or bools, got {a.dtype}")
    return make(a.uop.logical_not(), a.weak_type)


bitwise_not = invert


def _truth(x: Any) -> Array:
    a = asarray(x)
    return Array(a.uop.cast(dtypes.bool_))


def logical_and(x: Any, y: Any) -> Array:
    """Both are true."""
    return bitwise_and(_truth(x), _truth(y))


def logical_or(x: Any, y: Any) -> Array:
    """Either is true."""
    return bitwise_or(_truth(x), _truth(y))


def logical_not(x: Any) -> Array:
    """x is false."""
    return invert(_truth(x))


def isnan(x: Any) -> Array:
    """x is NaN."""
    return not_equal(x, x)


def isfinite(x: Any) -> Array:
    """x is neither NaN nor infinite."""
    return less(abs(x), math.inf)


def isinf(x: Any) -> Array:
    """x is infinite."""
    return equal(abs(x), math.inf)


def where(condition: Any, x: Any, y: Any) -> Array:
    """x where the condition is true, else y."""
    try:
        (a, b), _, weak = promote(x, y)
        p, a, b = broadcast(_truth(condition), a, b)
    except (TypeError, ValueError) as e:
        raise type(e)(f"where: {e}") from None
    return make(p.uop.where(a.uop, b.uop), weak)
