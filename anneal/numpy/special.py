"""The error function and its inverse."""

from __future__ import annotations

import math
from typing import Any

from anneal.array import Array, asarray, make
from anneal.uop import dtypes, ops


def _floats(x: Any) -> Array:
    a = asarray(x)
    return a if a.dtype.is_float else Array(a.uop.cast(dtypes.float32), a.weak_type)


def erf(x: Any) -> Array:
    """The error function, 2 / sqrt(pi) times the integral of exp(-t*t) from 0 to x.

    >>> erf(0.0).item()
    0.0
    """
    a = _floats(x)
    return make(a.uop.alu(ops.ERF), a.weak_type)


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
    a = _floats(x)
    u = a.uop.cast(dtypes.float32)
    w = -((1 - u) * (u + 1)).alu(ops.LOG)
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
