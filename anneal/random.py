"""Random numbers from explicit keys: threefry2x32, bit for bit JAX's default generator.

Source: J. K. Salmon et al., Parallel Random Numbers: As Easy as 1, 2, 3, 2011; JAX's layout of
counters (`jax_threefry_partitionable`): element i is the exclusive or of both words at counter i.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import anneal.numpy as anp
from anneal.array import Array, asarray, make
from anneal.uop import dtypes
from anneal.uop import uop as graph
from anneal.uop.uop import UOp

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))


def key(seed: int) -> Array:
    """A key (2 uint32) from a seed."""
    return asarray([(seed >> 32) & 0xFFFFFFFF, seed & 0xFFFFFFFF], dtypes.uint32)


PRNGKey = key


def _threefry(k: Array, high: UOp, low: UOp) -> tuple[UOp, UOp]:
    """Twenty rounds over two words of counter."""
    k0, k1 = k[0].uop, k[1].uop
    keys = (k0, k1, k0 ^ k1 ^ 0x1BD11BDA)
    x, y = high + k0, low + k1
    for i in range(5):
        for r in _ROTATIONS[i % 2]:
            x = x + y
            y = ((y << r) | (y >> (32 - r))) ^ x
        x = x + keys[(i + 1) % 3]
        y = y + keys[(i + 2) % 3] + (i + 1)
    return x, y


def _words(k: Any, n: int) -> tuple[UOp, UOp]:
    counter = graph.arange(n, dtypes.uint32)
    return _threefry(asarray(k), counter.const_like(0), counter)


def split(k: Any, num: int = 2) -> Array:
    """`num` new keys, shape (num, 2)."""
    x, y = _words(k, num)
    return anp.stack([make(x), make(y)], axis=1)


def fold_in(k: Any, data: int) -> Array:
    """A new key from a key and a number."""
    zero = graph.const(0, dtypes.uint32)
    x, y = _threefry(asarray(k), zero, graph.const(data, dtypes.uint32))
    return anp.stack([make(x), make(y)])


def bits(k: Any, shape: Sequence[int] = ()) -> Array:
    """Uniform uint32 numbers."""
    x, y = _words(k, math.prod(shape))
    return make((x ^ y).reshape(tuple(shape)))


def uniform(k: Any, shape: Sequence[int] = (), minval: float = 0.0, maxval: float = 1.0) -> Array:
    """float32 numbers from minval to below maxval."""
    mantissa = (bits(k, shape).uop >> 9) | 0x3F800000
    unit = mantissa.bitcast(dtypes.float32) - 1.0
    lo, hi = (float(graph.const(v, dtypes.float32).arg) for v in (minval, maxval))
    span = float(graph.const(hi - lo, dtypes.float32).arg)
    return make((unit * span + lo).maximum(lo))


def normal(k: Any, shape: Sequence[int] = ()) -> Array:
    """float32 numbers of mean 0 and variance 1."""
    below_minus_one = -0.99999994
    return math.sqrt(2) * erf_inv(uniform(k, shape, below_minus_one, 1.0))


# M. Giles, Approximating the erfinv function, 2011: single precision.
_CENTRAL = (2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087,
            -0.00125372503, -0.00417768164, 0.246640727, 1.50140941)  # fmt: skip
_TAIL = (-0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773,
         -0.0076224613, 0.00943887047, 1.00167406, 2.83297682)  # fmt: skip


def erf_inv(x: Any) -> Array:
    """The inverse of the error function."""
    a = asarray(x)
    w = -anp.log1p(-a * a)
    central = w < 5.0
    w = anp.where(central, w - 2.5, anp.sqrt(w) - 3.0)
    p = anp.where(central, _CENTRAL[0], _TAIL[0])
    for c, t in zip(_CENTRAL[1:], _TAIL[1:], strict=True):
        p = anp.where(central, c, t) + p * w
    return p * a
