"""Elementwise functions: NumPy's names and results, JAX's dtypes. Operands broadcast."""

from __future__ import annotations

import builtins
import math
from typing import Any

from anneal.array import Array, asarray, broadcast, make, promote
from anneal.numpy.axes import integer
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


def _numbers(name: str, x: Any, y: Any) -> tuple[UOp, UOp, bool]:
    """A pair in which two bools count as int32."""
    a, b, weak = _pair(name, x, y)
    if a.dtype.kind == "b":
        a, b = a.cast(dtypes.int32), b.cast(dtypes.int32)
    return a, b, weak


def _no_bools(name: str, *arrays: Array) -> None:
    if builtins.all(a.dtype.kind == "b" for a in arrays):
        raise TypeError(f"{name}: bools are no numbers; use logical_not or logical_xor, or cast "
                        f"with .astype('int32')")  # fmt: skip


def _bitwise(name: str, op: Op, x: Any, y: Any) -> Array:
    a, b = asarray(x), asarray(y)
    for v in (a, b):
        if v.dtype.is_float:
            raise TypeError(f"{name}: expected integers or bools, got {v.dtype}")
    left, right, weak = _pair(name, a, b) if op in _LOGICAL else _numbers(name, a, b)
    return make(left.alu(op, right), weak)


_LOGICAL = frozenset({ops.AND, ops.OR, ops.XOR})


def _floats(name: str, *xs: Any) -> list[Array]:
    """Arguments as floats: integers become float32, as in JAX."""
    try:
        arrays = [asarray(x) for x in xs]
        if builtins.any(a.dtype.is_float for a in arrays):
            return promote(*arrays)[0]
    except TypeError as e:
        raise TypeError(f"{name}: {e}") from None
    return [Array(a.uop.cast(dtypes.float32), a.weak_type) for a in arrays]


def _unary(name: str, op: Op, x: Any) -> Array:
    (a,) = _floats(name, x)
    return make(a.uop.alu(op), a.weak_type)


def add(x: Any, y: Any) -> Array:
    """x + y."""
    return _binary("add", ops.ADD, x, y)


def subtract(x: Any, y: Any) -> Array:
    """x - y."""
    a, b = asarray(x), asarray(y)
    _no_bools("subtract", a, b)
    return _binary("subtract", ops.SUB, a, b)


def multiply(x: Any, y: Any) -> Array:
    """x * y."""
    return _binary("multiply", ops.MUL, x, y)


def true_divide(x: Any, y: Any) -> Array:
    """x / y; integers become float32."""
    a, b, weak = _pair("divide", x, y)
    if not a.dtype.is_float:
        a, b = a.cast(dtypes.float32), b.cast(dtypes.float32)
    return make(a.alu(ops.DIV, b), weak)


divide = true_divide


def floor_divide(x: Any, y: Any) -> Array:
    """floor(x / y), of the exact quotient; integers by 0 give 0, as in NumPy."""
    a, b, weak = _numbers("floor_divide", x, y)
    if not a.dtype.is_float:
        return make(a.alu(ops.FLOORDIV, b), weak)
    r = a.alu(ops.MOD, b)
    turned = r.ne(0) & (r < 0).ne(a < 0)  # the truncated quotient is one more
    q = ((a - turned.where(r - b, r)) / b).alu(ops.ROUND)
    q = turned.where(q - 1, q)
    infinite = b.alu(ops.ABS).eq(math.inf) & (a.alu(ops.ABS) < math.inf)
    q = infinite.where(turned.where(q.const_like(-1), 0), q)
    q = q.eq(0).where(q.const_like(0), q)
    q = (b.eq(0) | a.eq(0)).where(a / b, q)
    return make(q.alu(ops.STOP_GRADIENT), weak)


def remainder(x: Any, y: Any) -> Array:
    """x - floor(x / y) * y, exact, the sign of y; integers by 0 give 0, as in NumPy."""
    a, b, weak = _numbers("remainder", x, y)
    return make(a.alu(ops.MOD, b), weak)


mod = remainder


def power(x: Any, y: Any) -> Array:
    """x ** y; integers to an integer power wrap, small constant powers are products."""
    if isinstance(y, int) and not isinstance(y, bool):
        if 1 <= y <= 16:
            return _power_by_squaring(_number(x), y)
        if y < 0 and asarray(x).dtype.is_int:
            raise ValueError(f"power: integers to the negative power {y} are no integers; "
                             f"make x a float")  # fmt: skip
    a, b, weak = _numbers("power", x, y)
    weak = weak and (asarray(y).weak_type or not asarray(y).dtype.is_int)
    if a.dtype.is_float:
        return make(a.alu(ops.POW, b), weak)
    return make(_integer_power(a, b), weak)


def _integer_power(a: UOp, b: UOp) -> UOp:
    """Squares of a for the bits of b; all of them, as a product that wraps needs."""
    out: UOp = a.const_like(1)
    square_ = a
    for bit in range(a.dtype.bits):
        out = (b & b.const_like(1 << bit)).ne(0).where(out * square_, out)
        square_ = square_ * square_
    return out


def _number(x: Any) -> Array:
    a = asarray(x)
    return a.astype(dtypes.int32) if a.dtype.kind == "b" else a


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
    _no_bools("negative", a)
    return make(-a.uop, a.weak_type)


def abs(x: Any) -> Array:
    """|x|."""
    a = asarray(x)
    return make(a.uop.alu(ops.ABS), a.weak_type) if a.dtype.kind in "if" else a


absolute = abs


def sign(x: Any) -> Array:
    """-1, 0 or 1; NaN for NaN."""
    a = asarray(x)
    _no_bools("sign", a)
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
    """log(1 + x), accurate near 0."""
    return _unary("log1p", ops.LOG1P, x)


def expm1(x: Any) -> Array:
    """exp(x) - 1, accurate near 0."""
    return _unary("expm1", ops.EXPM1, x)


def sqrt(x: Any) -> Array:
    """The square root; NaN below 0."""
    return _unary("sqrt", ops.SQRT, x)


def square(x: Any) -> Array:
    """x * x."""
    a = _number(x)
    return multiply(a, a)


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
    """The greatest integer not above x, of x's dtype."""
    a = asarray(x)
    return make(a.uop.alu(ops.FLOOR), a.weak_type) if a.dtype.is_float else a


def ceil(x: Any) -> Array:
    """The least integer not below x, of x's dtype."""
    a = asarray(x)
    return negative(floor(negative(a))) if a.dtype.is_float else a.copy()


def round(x: Any, decimals: int = 0) -> Array:
    """The nearest multiple of 10**-decimals, ties to even; of x's dtype.

    >>> round([1.25, 1350.0], 1).tolist(), round([1250, 1350], -2).tolist()
    ([1.2000000476837158, 1350.0], [1200, 1400])
    """
    a, decimals = asarray(x), integer("round", "decimals", decimals)
    _no_bools("round", a)
    if not a.dtype.is_float:
        return a.copy() if decimals >= 0 else make(_to_multiple(a.uop, 10**-decimals), a.weak_type)
    if decimals == 0:
        return _unary("round", ops.ROUND, a)
    u = a.uop.cast(dtypes.float32) if a.dtype.bits == 16 else a.uop
    scale = 10.0 ** builtins.min(builtins.abs(decimals), 300)
    unit = u.const_like(scale)
    if decimals > 0:
        scaled = u * unit
        # What leaves the range is a multiple already.
        same = u.alu(ops.STOP_GRADIENT)  # constant between its steps, as ROUND is
        out = (scaled.alu(ops.ABS) < math.inf).where(scaled.alu(ops.ROUND) / unit, same)
    elif unit.arg == math.inf:
        out = (u.alu(ops.ABS) < math.inf).where(u * 0, u)
    else:
        out = (u / unit).alu(ops.ROUND) * unit
    return make(out.cast(a.dtype), a.weak_type)


def _to_multiple(u: UOp, unit: int) -> UOp:
    """The multiple of `unit` nearest to integers, ties to even multiples."""
    if unit > u.dtype.max:
        # At most one multiple other than 0 is near, and the dtype does not hold it.
        return u.const_like(0).broadcast_to(u.shape)
    below = u.alu(ops.FLOORDIV, u.const_like(unit))
    above = u.alu(ops.MOD, u.const_like(unit))
    left = u.const_like(unit) - above
    up = (left < above) | (left.eq(above) & (below & 1).ne(0))
    return (below + up.cast(u.dtype)) * unit


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
    return _bitwise("bitwise_and", ops.AND, x, y)


def bitwise_or(x: Any, y: Any) -> Array:
    """x | y of ints or bools."""
    return _bitwise("bitwise_or", ops.OR, x, y)


def bitwise_xor(x: Any, y: Any) -> Array:
    """x ^ y of ints or bools."""
    return _bitwise("bitwise_xor", ops.XOR, x, y)


def left_shift(x: Any, y: Any) -> Array:
    """x << y."""
    return _bitwise("left_shift", ops.SHL, x, y)


def right_shift(x: Any, y: Any) -> Array:
    """x >> y, keeping the sign."""
    return _bitwise("right_shift", ops.SHR, x, y)


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


def isclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8,
            equal_nan: bool = False) -> Array:  # fmt: skip
    """Whether elements differ by at most atol + rtol * |b|; equal infinities do not differ."""
    x, y = _floats("isclose", a, b)
    near = less_equal(abs(subtract(x, y)), add(atol, multiply(rtol, abs(y))))
    close = logical_or(equal(x, y), logical_and(near, isfinite(y)))
    return logical_or(close, logical_and(isnan(x), isnan(y))) if equal_nan else close


def nan_to_num(x: Any, nan: float = 0.0, posinf: Any = None, neginf: Any = None) -> Array:
    """NaN becomes `nan`, infinities the greatest and the least finite numbers."""
    a = asarray(x)
    if not a.dtype.is_float:
        return a.copy()
    greatest = _LARGEST[a.dtype]
    out = where(isnan(a), nan, a)
    out = where(equal(a, math.inf), greatest if posinf is None else posinf, out)
    return where(equal(a, -math.inf), -greatest if neginf is None else neginf, out)


_LARGEST = {dtypes.float32: 3.4028234663852886e38, dtypes.float16: 65504.0,
            dtypes.bfloat16: 3.3895313892515355e38}  # fmt: skip


def positive(x: Any) -> Array:
    """x."""
    return asarray(x).copy()


def reciprocal(x: Any) -> Array:
    """1 / x."""
    (a,) = _floats("reciprocal", x)
    return true_divide(1, a)


def exp2(x: Any) -> Array:
    """2 ** x."""
    (a,) = _floats("exp2", x)
    return make(a.uop.const_like(2).alu(ops.POW, a.uop), a.weak_type)


def log2(x: Any) -> Array:
    """The logarithm to base 2."""
    return log(x) * (1 / math.log(2))


def log10(x: Any) -> Array:
    """The logarithm to base 10."""
    return log(x) * (1 / math.log(10))


def logaddexp(x: Any, y: Any) -> Array:
    """log(exp(x) + exp(y)) without overflow."""
    first, second = _floats("logaddexp", x, y)
    a, b = (v.uop for v in broadcast(first, second))
    greater = a.maximum(b)
    finite = greater.alu(ops.ABS).ne(math.inf)  # or NaN, which goes on to the derivatives
    # The shift is no function of x and y to derivatives, or the second ones would vanish at x = y.
    top = finite.where(greater, 0).alu(ops.STOP_GRADIENT)
    ea, eb = ((finite.where(v, 0) - top).alu(ops.EXP) for v in (a, b))
    # The smaller term, and the derivative of the greater one, which is 1.
    chosen = b < a
    small, one = chosen.where(eb, ea), chosen.where(ea, eb)
    out = top + (small + (one - one.alu(ops.STOP_GRADIENT))).alu(ops.LOG1P)
    return make(finite.where(out, greater), first.weak_type and second.weak_type)


def tan(x: Any) -> Array:
    """The tangent of radians."""
    return true_divide(sin(x), cos(x))


def sinh(x: Any) -> Array:
    """The hyperbolic sine."""
    return _unary("sinh", ops.SINH, x)


def cosh(x: Any) -> Array:
    """The hyperbolic cosine."""
    return _unary("cosh", ops.COSH, x)


def trunc(x: Any) -> Array:
    """The integer part."""
    a = asarray(x)
    return where(less(a, 0), ceil(a), floor(a)) if a.dtype.is_float else a


def hypot(x: Any, y: Any) -> Array:
    """sqrt(x*x + y*y) without overflow in between."""
    a, b = (abs(v) for v in _floats("hypot", x, y))
    top = maximum(a, b)
    safe = where(logical_or(equal(top, 0), isinf(top)), 1, top)
    out = safe * sqrt(square(a / safe) + square(b / safe))
    return where(logical_or(isinf(a), isinf(b)), math.inf, where(equal(top, 0), 0, out))


def signbit(x: Any) -> Array:
    """Whether the sign is minus; of -0.0 too."""
    a = asarray(x)
    if not a.dtype.is_float:
        return less(a, 0)
    bits = a.uop.cast(dtypes.float32).bitcast(dtypes.uint32)
    return make((bits >> 31).ne(0))


def copysign(x: Any, y: Any) -> Array:
    """|x| with the sign of y."""
    a, b = _floats("copysign", x, y)
    size = abs(a)
    return where(signbit(b), negative(size), size)


def divmod(x: Any, y: Any) -> tuple[Array, Array]:
    """floor_divide and remainder."""
    return floor_divide(x, y), remainder(x, y)


def logical_xor(x: Any, y: Any) -> Array:
    """One is true and the other is not."""
    return bitwise_xor(_truth(x), _truth(y))


def astype(x: Any, dtype: Any, /, *, copy: bool = True) -> Array:
    """x as another dtype; see `Array.astype`."""
    return asarray(x).astype(dtype)
