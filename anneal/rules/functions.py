"""Transcendental functions by arithmetic that every device agrees on, for kernel.upat.

In: an operand of dtype float32, or narrower, which is widened. Out: a graph of exact or correctly
rounded operations. OPAQUE stands where a later operation relies on the rounding of an earlier one,
since WGSL lets drivers rearrange floats. No branches: both sides of every choice are computed.
Coefficients, the highest power first, are those of tests/minimax.py.

Ranges are reduced as in W. J. Cody and W. Waite, Software Manual for the Elementary Functions,
1980; exp, expm1, sinh, cosh, tanh and erf share a reduction and a polynomial. sin, cos: M. Payne
and R. Hanek, Radian Reduction for Trigonometric Functions, SIGNUM Newsletter 18, 1983. pow: pairs
of floats, T. J. Dekker, A Floating-Point Technique for Extending the Available Precision,
Numerische Mathematik 18, 1971.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from anneal.uop import dtypes, ops
from anneal.uop.uop import UOp, const

_F32, _U32, _I32 = dtypes.float32, dtypes.uint32, dtypes.int32
_SMALLEST = 2.0**-126  # normal number


def _f(value: float) -> UOp:
    return const(value, _F32)


def _opaque(x: UOp) -> UOp:
    return UOp(ops.OPAQUE, x.dtype, (x,))


def _bits(x: UOp) -> UOp:
    return x.bitcast(_U32)


def _float(bits: UOp) -> UOp:
    return bits.bitcast(_F32)


def _not(p: UOp) -> UOp:
    return p.logical_not()


def _polynomial(x: UOp, coefficients: Sequence[float]) -> UOp:
    """By Horner's rule, the highest power first."""
    out = _f(coefficients[0])
    for c in coefficients[1:]:
        out = out * x + c
    return out


def _power_of_two(n: UOp, more: int = 0) -> UOp:
    """2**(n + more) of whole numbers, that sum in [-126, 127]; of n its last 9 bits count."""
    return ((n << 23) + ((127 + more) << 23)).bitcast(_F32)


# A float of this size has no fraction, and its last bits count by ones.
_WHOLE = 1.5 * 2.0**23


def _whole(x: UOp) -> tuple[UOp, UOp]:
    """The whole number nearest to x, |x| < 2**22: as a float, and as bits that end in it."""
    moved = _opaque(x + _WHOLE)
    # Or drivers would subtract it from x + _WHOLE, computed at once where they know x.
    return _opaque(moved - _WHOLE), _bits(moved)


def _scaled(y: UOp, n: UOp) -> UOp:
    """y * 2**n, by bits that end in n: in two steps, as 2**n alone may overflow or vanish."""
    half = n >> 1
    return y * _power_of_two(half) * _power_of_two(n - half)


def _with_sign(y: UOp, x: UOp) -> UOp:
    """|y| with the sign of x."""
    return _float((_bits(y) & 0x7FFFFFFF) | (_bits(x) & 0x80000000))


def _narrowed(function: Callable[..., UOp]) -> Callable[..., UOp | None]:
    """`function` of float32, for halves too; None of wider floats."""

    def of_any(*operands: UOp) -> UOp | None:
        dtype = operands[0].dtype
        if dtype.bits > 32:
            return None
        return function(*[x.cast(_F32) for x in operands]).cast(dtype)

    return of_any


_LN2, _LN2_REST = 0.693359375, -2.12194440e-4
# (exp(r) - 1 - r) / r**2
_EXP = (0.0013882509665563703, 0.008366580121219158, 0.04166720062494278, 0.1666654348373413,
        0.4999999701976776)  # fmt: skip


class _Exponent(NamedTuple):
    """e**x is 2**n * (1 + rest), n near enough that |rest| < 0.42; of n there are bits."""

    n: UOp
    rest: UOp


def _exponent(x: UOp) -> _Exponent:
    """Of -2**21 < x < 2**21."""
    whole, n = _whole(x * (1 / math.log(2)))
    return _Exponent(n, _small_less_one(_opaque(x - whole * _LN2) - whole * _LN2_REST))


def _small_less_one(r: UOp) -> UOp:
    """e**r - 1 of |r| <= log(2) / 2."""
    return _opaque(_polynomial(r, _EXP) * (r * r) + r)


def _exp(x: UOp) -> UOp:
    n, rest = _exponent(x.maximum(-105.0).minimum(90.0))  # beyond, 0 and inf already
    return _scaled(rest + 1.0, n)


def _exp2(x: UOp) -> UOp:
    x = x.maximum(-151.0).minimum(129.0)  # beyond, 0 and inf already
    whole, n = _whole(x)
    return _scaled(_small_less_one((x - whole) * math.log(2)) + 1.0, n)


def _less_one(x: UOp, part: int) -> UOp:
    """(e**x - 1) / 2**part, 2**-part times e**x in the range of floats. Of x = -0.0 it is 0."""
    n, rest = _exponent(x)
    scale = _power_of_two(n, -part)
    return _opaque(scale * rest) + (scale - 2.0**-part)


def _expm1(x: UOp) -> UOp:
    half = _less_one(x.maximum(-40.0).minimum(89.0), 1)  # e**x itself may overflow
    return (x.alu(ops.ABS) < 2.0**-25).where(x, half + half)


def _sinh(x: UOp) -> UOp:
    """(t + t / (t + 1)) / 2 of t = e**|x| - 1."""
    a = x.alu(ops.ABS)
    quarter = _less_one(a.minimum(89.6), 2)
    half = quarter + quarter / (quarter * 4.0 + 1.0)
    return (a < 2.0**-12).where(x, _with_sign(half + half, x))


def _cosh(x: UOp) -> UOp:
    n, rest = _exponent(x.alu(ops.ABS).minimum(89.6))
    quarter = (rest + 1.0) * _power_of_two(n, -2)
    half = quarter + _f(0.0625) / quarter
    return half + half


def _tanh(x: UOp) -> UOp:
    """t / (t + 2) of t = e**(2|x|) - 1."""
    a = x.alu(ops.ABS).minimum(10.0)  # beyond, 1 already
    t = _less_one(a + a, 0)
    return _with_sign(t / (t + 2.0), x)


# log(1 - erf(a)) / a
_ERF = (-4.064956374350004e-05, 0.0003805609594564885, -0.0012504649348556995,
        -0.000207552220672369, 0.019323071464896202, -0.10281490534543991, -0.6366164088249207,
        -1.128379225730896)  # fmt: skip


def _erf(x: UOp) -> UOp:
    """1 - e**-h of h = -log(1 - erf(|x|)), which is |x| times a polynomial."""
    a = x.alu(ops.ABS).minimum(4.0)  # beyond, 1 already
    return _with_sign(_less_one(_polynomial(a, _ERF) * a, 0), x)


# (log(1 + m) - m + m**2 / 2) / m**3
_LOG = (-0.07635081559419632, 0.12765775620937347, -0.13161920011043549, 0.14201317727565765,
        -0.16623146831989288, 0.20001238584518433, -0.2500082552433014,
        0.3333333134651184)  # fmt: skip
# The bits of sqrt(1/2), where the fraction of a logarithm's operand begins.
_HALF_ROOT = 0x3F3504F3


def _log_of(m: UOp, e: UOp) -> UOp:
    """log((1 + m) * 2**e), sqrt(1/2) <= 1 + m < sqrt(2)."""
    z = m * m
    y = m * z * _polynomial(m, _LOG)
    y = y + e * _LN2_REST
    y = y - z * 0.5
    return _opaque(m + y) + e * _LN2


def _log(v: UOp) -> UOp:
    tiny = v < _SMALLEST
    bits = _bits(tiny.where(v * 2.0**23, v))
    above = (bits - _HALF_ROOT) & 0xFF800000
    e = (above.bitcast(_I32) >> 23) - tiny.where(const(23, _I32), const(0, _I32))
    out = _log_of(_float(bits - above) - 1.0, e.cast(_F32))
    out = (v < math.inf).where(out, v)
    return (_f(0.0) < v).where(out, v.eq(0.0).where(_f(-math.inf), _f(math.nan)))


def _log1p(x: UOp) -> UOp:
    whole = _bits(_opaque(x + 1.0))
    # 1 + x = (1 + m) * 2**e; m from x itself, as 1 + x has lost digits of it.
    e = (whole - _HALF_ROOT).bitcast(_I32) >> 23
    some = e.minimum(126)
    scale, rest = _power_of_two(0 - some), _power_of_two(some - e)
    m = _opaque(scale * rest - 1.0) + x * scale * rest
    out = _log_of(m, e.cast(_F32))
    out = (x.alu(ops.ABS) < 1e-7).where(x, out)
    out = (x < math.inf).where(out, x)
    return (_f(-1.0) < x).where(out, x.eq(-1.0).where(_f(-math.inf), _f(math.nan)))


# The bits of 2 / pi, 32 a word, after 32 zeros; they reach beyond the largest exponent.
_TWO_OVER_PI = (0, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041,
                0xFE5163AB)  # fmt: skip
_HALF_PI, _HALF_PI_HIGH, _HALF_PI_LOW = 1.57079637, 1.57080078125, -4.45445494e-6


class _Turn(NamedTuple):
    """An angle as a multiple of pi/2 and the rest, in radians between -pi/4 and pi/4."""

    quarter: UOp
    rest: UOp


def _high(a: UOp, b: UOp) -> UOp:
    """The upper 32 bits of a product of uint32."""
    low = (a & 0xFFFF) * (b & 0xFFFF)
    one = (a >> 16) * (b & 0xFFFF) + (low >> 16)
    two = (a & 0xFFFF) * (b >> 16) + (one & 0xFFFF)
    return (a >> 16) * (b >> 16) + (one >> 16) + (two >> 16)


def _words(i: UOp) -> list[UOp]:
    """Four of the words from the i-th on, i <= 4: all moved by 1, by 2, by 4."""
    words = [const(w, _U32) for w in _TWO_OVER_PI]
    moved = words
    for by in (1, 2):
        on = (i & by).ne(0)
        moved = [on.where(b, a) for a, b in zip(moved, moved[by:], strict=False)]
    on = (i & 4).ne(0)
    return [on.where(b, a) for a, b in zip(moved[:4], words[4:], strict=True)]


def _turn(x: UOp) -> _Turn:
    bits = _bits(x) & 0x7FFFFFFF
    place = (bits >> 23).maximum(120) - 120
    i, by = place >> 5, place & 31
    words = _words(i)
    a, b, c = (
        (w << by) | ((v >> 1) >> (by * -1 + 31)) for w, v in zip(words, words[1:], strict=False)
    )
    m = (bits & 0x007FFFFF) | 0x00800000
    middle = m * b
    low = middle + _high(m, c)
    top = m * a + _high(m, b) + (low < middle).cast(_U32)
    # The fraction of a quarter turn, 64 bits, from -1/2 to 1/2: the sign in `above`.
    fraction = (top << 2) | (low >> 30)
    above = fraction >> 31
    flip = above * -1
    f0, f1 = fraction ^ flip, (low << 2) ^ flip
    first = (f0 >> 20).cast(_F32)  # 12 bits, so that its product with HIGH is exact
    last = (f0 & 0xFFFFF).cast(_F32) * 2.0**-20 + f1.cast(_F32) * 2.0**-52
    r = (first * _HALF_PI_HIGH + _opaque(last * _HALF_PI + first * _HALF_PI_LOW)) * 2.0**-12
    negative = (_bits(x) >> 31).eq(1)
    quarter = ((top >> 30) + above) & 3
    quarter = negative.where((quarter * -1) & 3, quarter)
    r = (negative ^ above.eq(1)).where(-r, r)
    small = bits < 0x3F490FDB  # pi / 4
    rest = small.where(x, r)
    rest = (bits < 0x7F800000).where(rest, _f(math.nan))
    return _Turn(small.where(const(0, _U32), quarter), rest)


# (sin(r) - r) / r**3 and (cos(r) - 1 + r**2 / 2) / r**4, of r**2
_SIN = (-0.00019515282474458218, 0.00833216030150652, -0.16666655242443085)
_COS = (2.44331567955669e-05, -0.0013887316454201937, 0.04166664555668831)


def _sine(r: UOp) -> UOp:
    z = r * r
    y = _polynomial(z, _SIN) * z * r + r
    return (r.alu(ops.ABS) < 2.0**-13).where(r, y)  # -0.0 among them


def _cosine(r: UOp) -> UOp:
    z = r * r
    return _opaque(_polynomial(z, _COS) * z * z - z * 0.5) + 1.0


def _sin(x: UOp) -> UOp:
    t = _turn(x)
    y = (t.quarter & 1).eq(1).where(_cosine(t.rest), _sine(t.rest))
    return (t.quarter & 2).eq(2).where(-y, y)


def _cos(x: UOp) -> UOp:
    t = _turn(x)
    y = (t.quarter & 1).eq(1).where(_sine(t.rest), _cosine(t.rest))
    return ((t.quarter + 1) & 2).eq(2).where(-y, y)


class _Pair(NamedTuple):
    """A number as the sum of two floats; the first has 12 bits, so products of firsts are exact."""

    high: UOp
    low: UOp


def _pair(a: UOp, b: UOp) -> _Pair:
    high = _float(_bits(a + b) & 0xFFFFF000)
    return _Pair(high, b - _opaque(high - a))


def _times(a: _Pair, b: _Pair) -> _Pair:
    low = _opaque(a.low * b.high) + a.low * b.low  # a factor of both, which drivers take out
    return _pair(a.high * b.high, a.high * b.low + low)


def _plus(a: _Pair, b: _Pair) -> _Pair:
    s = _pair(a.high, b.high)
    return _pair(s.high, s.low + (a.low + b.low))


_ATANH = (0.153846160, 0.181818187, 0.222222224, 0.285714298, 0.4)
_LN2_HIGH, _LN2_LOW = 0.693145752, 1.42860677e-6


def _log_pair(x: UOp) -> _Pair:
    """log(x) of a positive finite x, to some 40 bits."""
    tiny = x < _SMALLEST
    bits = _bits(tiny.where(x * 2.0**24, x))
    e = (bits >> 23).cast(_I32) - 127 - tiny.where(const(24, _I32), const(0, _I32))
    m = _float((bits & 0x007FFFFF) | 0x3F800000)
    large = _f(1.41421354) < m
    m = large.where(m * 0.5, m)
    f = (e + large.cast(_I32)).cast(_F32)
    one, below = m - 1.0, m + 1.0
    den = _pair(m.maximum(1.0), m.minimum(1.0))
    high = _float(_bits(one / below) & 0xFFFFF000)
    s = _Pair(high, (_opaque(one - high * den.high) - high * den.low) / below)
    q = _times(s, s)
    p = q.high * _polynomial(q.high, _ATANH) + q.low * 0.4
    cubic = _times(_times(s, q), _pair(_f(0.666666687), _opaque(p - 1.98682149e-8)))
    fraction = _plus(_Pair(s.high + s.high, s.low + s.low), cubic)
    return _plus(_pair(f * _LN2_HIGH, f * _LN2_LOW), fraction)


def _power(x: UOp, y: UOp) -> UOp:
    """x ** y of a positive finite x and a finite y."""
    ln = _log_pair(x)
    size = ln.high * y
    z = _times(ln, _pair(y, _f(0.0)))
    far = _f(200.0) < size.alu(ops.ABS)
    whole = far.where(size, z.high).maximum(-105.0).minimum(90.0)
    near, n = _whole(whole * (1 / math.log(2)))
    r = _pair(z.high - near * _LN2_HIGH, z.low - near * _LN2_LOW)
    t = r.high + r.low
    v = _opaque(r.high + (r.low + _polynomial(t, _EXP) * t * t)) + 1.0
    out = _scaled(v, n)
    out = (_f(89.0) < whole).where(_f(math.inf), out)
    return (whole < -104.5).where(_f(0.0), out)


def _pow(x: UOp, y: UOp) -> UOp:
    infinity, a, b = _f(math.inf), x.alu(ops.ABS), y.alu(ops.ABS)
    whole = y.alu(ops.FLOOR).eq(y)
    halved = _opaque(y * 0.5)
    odd = whole & (b < 2.0**24) & halved.alu(ops.FLOOR).ne(halved)
    edge = a.eq(0.0) | a.eq(infinity)
    at_edge = (a.eq(0.0) ^ (y < 0.0)).where(_f(0.0), infinity)
    growing = (_f(1.0) < a).eq(_f(0.0) < y)
    forever = a.eq(1.0).where(_f(1.0), growing.where(infinity, _f(0.0)))
    out = b.eq(infinity).where(forever, _power(a, y))
    out = edge.where(at_edge, out)
    negative = (_bits(x) >> 31).eq(1)
    out = (negative & odd).where(-out, out)
    none = negative & _not(edge) & _not(whole)
    out = none.where(_f(math.nan), out)
    out = x.eq(x).where(y.eq(y).where(out, y), x)
    return (y.eq(0.0) | x.eq(1.0)).where(_f(1.0), out)


exponential, logarithm, logarithm1p = _narrowed(_exp), _narrowed(_log), _narrowed(_log1p)
power_of_two = _narrowed(_exp2)
exponential_less_one, error_function = _narrowed(_expm1), _narrowed(_erf)
sine, cosine = _narrowed(_sin), _narrowed(_cos)
hyperbolic_sine, hyperbolic_cosine = _narrowed(_sinh), _narrowed(_cosh)
hyperbolic_tangent, power = _narrowed(_tanh), _narrowed(_pow)
