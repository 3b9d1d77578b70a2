"""Transcendental functions by arithmetic that every device agrees on, for kernel.upat.

In: an operand of dtype float32, or narrower, which is widened. Out: a graph of exact or correctly
rounded operations. OPAQUE stands where a later operation relies on the rounding of an earlier one,
since WGSL lets drivers rearrange floats. No branches: both sides of every choice are computed.

exp, log: W. J. Cody and W. Waite, Software Manual for the Elementary Functions, 1980. sin, cos:
M. Payne and R. Hanek, Radian Reduction for Trigonometric Functions, SIGNUM Newsletter 18, 1983.
pow: pairs of floats, T. J. Dekker, A Floating-Point Technique for Extending the Available
Precision, Numerische Mathematik 18, 1971.
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


def _power_of_two(n: UOp) -> UOp:
    """2**n of an int32 n in [-126, 127]."""
    return ((n + 127) << 23).bitcast(_F32)


def _scaled(y: UOp, n: UOp) -> UOp:
    """y * 2**n, n whole: in two steps, as 2**n alone may overflow or vanish."""
    whole = n.cast(_I32)
    half = whole >> 1
    return y * _power_of_two(half) * _power_of_two(whole - half)


def _narrowed(function: Callable[..., UOp]) -> Callable[..., UOp | None]:
    """`function` of float32, for halves too; None of wider floats."""

    def of_any(*operands: UOp) -> UOp | None:
        dtype = operands[0].dtype
        if dtype.bits > 32:
            return None
        return function(*[x.cast(_F32) for x in operands]).cast(dtype)

    return of_any


_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1,
        5.0000001201e-1)  # fmt: skip
_LN2, _LN2_REST = 0.693359375, -2.12194440e-4


def _exp(x: UOp) -> UOp:
    x = x.maximum(-105.0).minimum(90.0)  # beyond, 0 and inf already
    n = (x * (1 / math.log(2)) + 0.5).alu(ops.FLOOR)
    r = _opaque(x - n * _LN2) - n * _LN2_REST
    p = _polynomial(r, _EXP)
    return _scaled(_opaque(p * r * r + r) + 1.0, n)


_LOG = (7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1,
        -1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1)  # fmt: skip


def _log_of(m: UOp, e: UOp) -> UOp:
    """log((1 + m) * 2**e), sqrt(1/2) <= 1 + m < sqrt(2)."""
    z = m * m
    y = m * z * _polynomial(m, _LOG)
    y = y + e * _LN2_REST
    y = y - z * 0.5
    return _opaque(m + y) + e * _LN2


def _log(v: UOp) -> UOp:
    tiny = v < _SMALLEST
    x = tiny.where(v * 2.0**23, v)
    bits = _bits(x)
    e = (bits >> 23).cast(_I32) - 126 + tiny.where(const(-23, _I32), const(0, _I32))
    m = _float((bits & 0x007FFFFF) | 0x3F000000)
    low = m < math.sqrt(0.5)
    m = low.where(_opaque(m + m) - 1.0, m - 1.0)
    out = _log_of(m, (e - low.cast(_I32)).cast(_F32))
    out = (v < math.inf).where(out, v)
    out = v.eq(0.0).where(_f(-math.inf), out)
    return (v < 0.0).where(_f(math.nan), out)


def _log1p(x: UOp) -> UOp:
    whole = _bits(_opaque(x + 1.0))
    # 1 + x = (1 + m) * 2**e; m from x itself, as 1 + x has lost digits of it.
    e = ((whole + 0x004AFB0D) >> 23).cast(_I32) - 127
    some = e.minimum(126)
    scale, rest = _power_of_two(0 - some), _power_of_two(some - e)
    m = _opaque(scale * rest - 1.0) + x * scale * rest
    out = _log_of(m, e.cast(_F32))
    out = (x.alu(ops.ABS) < 1e-7).where(x, out)
    out = (x < math.inf).where(out, x)
    out = x.eq(-1.0).where(_f(-math.inf), out)
    return (x < -1.0).where(_f(math.nan), out)


_TANH = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1,
         -3.33332819422e-1)  # fmt: skip


def _tanh(x: UOp) -> UOp:
    a = x.alu(ops.ABS)
    z = x * x
    near = _polynomial(z, _TANH) * z * x + x
    far = _f(1.0) - _f(2.0) / (_opaque(_exp(a.minimum(20.0) * 2.0)) + 1.0)
    far = (x < 0.0).where(-far, far)
    out = (a < 0.625).where(near, far)
    return (a < 2.44140625e-4).where(x, out)


# The bits of 2 / pi, 32 a word, after 32 zeros; they reach beyond the largest exponent.
_TWO_OVER_PI = (0, 0xA2F9836E, 0x4E441529, 0xFC2757D1, 0xF534DDC0, 0xDB629599, 0x3C439041,
                0xFE5163AB)  # fmt: skip
_HALF_PI, _HALF_PI_REST = 1.57079637, -4.37113883e-8


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


def _word(i: UOp) -> UOp:
    out = const(_TWO_OVER_PI[0], _U32)
    for n, word in enumerate(_TWO_OVER_PI[1:], 1):
        out = i.eq(n).where(const(word, _U32), out)
    return out


def _turn(x: UOp) -> _Turn:
    bits = _bits(x) & 0x7FFFFFFF
    place = (bits >> 23).maximum(120) - 120
    i, by = place >> 5, place & 31
    words = [_word(i + n) for n in range(4)]
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
    first = (f0 >> 8).cast(_F32)
    last = (f0 & 0xFF).cast(_F32) * 2.0**-8 + f1.cast(_F32) * 2.0**-40
    r = (first * _HALF_PI + (last * _HALF_PI + first * _HALF_PI_REST)) * 2.0**-24
    negative = (_bits(x) >> 31).eq(1)
    quarter = ((top >> 30) + above) & 3
    quarter = negative.where((quarter * -1) & 3, quarter)
    r = (negative ^ above.eq(1)).where(-r, r)
    small = bits < 0x3F490FDB  # pi / 4
    rest = small.where(x, r)
    rest = (bits < 0x7F800000).where(rest, _f(math.nan))
    return _Turn(small.where(const(0, _U32), quarter), rest)


def _sine(r: UOp) -> UOp:
    z = r * r
    y = _polynomial(z, (-1.9515295891e-4, 8.3321608736e-3, -1.6666654611e-1)) * z * r + r
    return (r.alu(ops.ABS) < 2.0**-13).where(r, y)  # -0.0 among them


def _cosine(r: UOp) -> UOp:
    z = r * r
    p = _polynomial(z, (2.443315711809948e-5, -1.388731625493765e-3, 4.166664568298827e-2))
    return _opaque(p * z * z - z * 0.5) + 1.0


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
    n = (whole * (1 / math.log(2)) + 0.5).alu(ops.FLOOR)
    r = _pair(z.high - n * _LN2_HIGH, z.low - n * _LN2_LOW)
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
sine, cosine = _narrowed(_sin), _narrowed(_cos)
hyperbolic_tangent, power = _narrowed(_tanh), _narrowed(_pow)
