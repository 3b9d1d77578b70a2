"""The error function and its inverse, from the operations there are; in float32 inside."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from anneal.array import Array, asarray, make
from anneal.uop import dtypes, ops
from anneal.uop.uop import UOp


def _polynomial(x: UOp, coefficients: Sequence[float]) -> UOp:
    """Horner's scheme, the highest power first."""
    out = x * coefficients[0] + coefficients[1]
    for c in coefficients[2:]:
        out = out * x + c
    return out


def _single(x: Any) -> tuple[UOp, Array]:
    a = asarray(x)
    if not a.dtype.is_float:
        a = Array(a.uop.cast(dtypes.float32), a.weak_type)
    return a.uop.cast(dtypes.float32), a


# Rational minimax approximation of erf on [-3.83, 3.83], beyond which it is 1 in float32: XLA's.
_ERF_ABOVE = (0.00022905065861350646, 0.0034082910107109506, 0.050955695062380861,
              0.18520832239976145, 1.128379143519084)  # fmt: skip
_ERF_BELOW = (-1.1791602954361697e-7, 0.000023547966471313185, 0.0010179625278914885,
              0.014070470171167667, 0.11098505178285362, 0.49746925110067538, 1.0)  # fmt: skip
_ERF_END = 3.832506856900711


def erf(x: Any) -> Array:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t*t) from 0 to x.

    >>> erf(0.0).item()
    0.0
    """
    u, a = _single(x)
    beyond = u.const_like(_ERF_END) < u.alu(ops.ABS)
    inside = beyond.where(0, u)
    square = inside * inside
    out = inside * _polynomial(square, _ERF_ABOVE) / _polynomial(square, _ERF_BELOW)
    # Rounding may lead past 1, where functions that end at 1 have no value.
    out = out.maximum(-1).minimum(1)
    out = beyond.where((u < 0).where(u.const_like(-1), 1), out)
    return make(out.cast(a.dtype), a.weak_type)


# M. Giles, Approximating the erfinv function, 2011: single precision.
_CENTRAL = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
            -0.00125372503, -0.00417768164, 0.246640727, 1.50140941)  # fmt: skip
_TAIL = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
         -0.0076224613, 0.00943887047, 1.00167406, 2.83297682)  # fmt: skip


def erf_inv(x: Any) -> Array:
    """The inverse of erf on [-1, 1]: infinite at the ends, NaN beyond.

    >>> erf_inv(1.0).item()
    inf
    """
    from anneal.numpy.elementwise import log1p

    u, a = _single(x)
    w = -log1p(make(-(u * u))).uop
    central = w < 5.0
    # The square root of what is small has no use, and would have an infinite derivative at 0.
    far = central.where(5.0, w).alu(ops.SQRT) - 3.0
    w = central.where(w - 2.5, far)
    p = central.where(w.const_like(_CENTRAL[0]), w.const_like(_TAIL[0]))
    for c, t in zip(_CENTRAL[1:], _TAIL[1:], strict=True):
        p = central.where(w.const_like(c), w.const_like(t)) + p * w
    end = u.alu(ops.ABS).eq(1.0)
    infinite = (u < 0).where(u.const_like(-math.inf), u.const_like(math.inf))
    out = end.where(infinite, p * u)
    return make(out.cast(a.dtype), a.weak_type)
