"""Reductions: an axis, several, or all; sums of 16-bit floats accumulate in float32."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any

from anneal.array import Array, as_dtype, asarray, make
from anneal.numpy import elementwise
from anneal.uop import dtypes, ops
from anneal.uop import uop as graph
from anneal.uop.uop import UOp, show_shape
from anneal.uop.uop import prod as product

Axis = int | Sequence[int] | None


def _axes(name: str, x: Array, axis: Axis) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(x.ndim))
    asked = (axis,) if isinstance(axis, int) else tuple(axis)
    for a in asked:
        if not -x.ndim <= a < x.ndim:
            raise ValueError(f"{name}: axis {a} is out of range for an array of shape "
                             f"{show_shape(x.shape)}")  # fmt: skip
    out = tuple(sorted({a % x.ndim for a in asked}))
    if len(out) != len(asked):
        raise ValueError(f"{name}: duplicate axis in {asked}")
    return out


def _kept(u: UOp, shape: Any, axes: tuple[int, ...], keepdims: bool) -> UOp:
    return u.reshape(tuple(1 if i in axes else d for i, d in enumerate(shape))) if keepdims else u


def _accumulate(name: str, how: str, x: Any, axis: Axis, dtype: Any, keepdims: bool) -> Array:
    a = asarray(x)
    axes = _axes(name, a, axis)
    out = a.dtype if dtype is None else as_dtype(dtype)
    if dtype is None and (out.kind == "b" or (out.is_int and out.bits < 32)):
        out = dtypes.uint32 if out.kind == "u" else dtypes.int32
    wide = dtypes.float32 if out.is_float and out.bits == 16 else out
    u = a.uop.cast(wide).reduce(how, axes).cast(out)
    return make(_kept(u, a.shape, axes, keepdims))


def sum(x: Any, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """The sum over axes."""
    return _accumulate("sum", "add", x, axis, dtype, keepdims)


def prod(x: Any, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """The product over axes."""
    return _accumulate("prod", "mul", x, axis, dtype, keepdims)


def mean(x: Any, axis: Axis = None, dtype: Any = None, keepdims: bool = False) -> Array:
    """The average over axes; integers give float32."""
    a = asarray(x)
    if not a.dtype.is_float:
        a = a.astype(dtypes.float32)
    n = product(a.shape[i] for i in _axes("mean", a, axis))
    if not isinstance(n, int):
        raise TypeError("mean: the averaged axis is symbolic; divide a sum instead")
    total = sum(a.astype(dtypes.float32) if a.dtype.bits == 16 else a, axis, keepdims=keepdims)
    scaled = total * (1.0 / n) if n else total / 0.0
    return scaled.astype(a.dtype if dtype is None else dtype)


def var(x: Any, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Array:
    """The mean of squared distances from the mean."""
    a = asarray(x)
    n = math.prod(int(a.shape[i]) for i in _axes("var", a, axis))
    d = a - mean(a, axis, keepdims=True)
    return sum(d * d, axis, keepdims=keepdims) * (1.0 / (n - ddof))


def std(x: Any, axis: Axis = None, ddof: int = 0, keepdims: bool = False) -> Array:
    """The square root of the variance."""
    return elementwise.sqrt(var(x, axis, ddof, keepdims))


def _extreme(name: str, x: Any, axis: Axis, keepdims: bool) -> Array:
    a = asarray(x)
    axes = _axes(name, a, axis)
    if builtins.any(a.shape[i] == 0 for i in axes):
        raise ValueError(f"{name}: an axis of length 0 in {show_shape(a.shape)} has no {name}")
    return make(_kept(a.uop.reduce(name, axes), a.shape, axes, keepdims))


def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """The greatest over axes; NaN if any is."""
    return _extreme("max", x, axis, keepdims)


def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """The smallest over axes; NaN if any is."""
    return _extreme("min", x, axis, keepdims)


def any(x: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """Whether any is true."""
    return _extreme("max", asarray(x).astype(dtypes.bool_), axis, keepdims)


def all(x: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """Whether all are true."""
    return _extreme("min", asarray(x).astype(dtypes.bool_), axis, keepdims)


def _arg(name: str, x: Any, axis: int | None, keepdims: bool) -> Array:
    a = asarray(x)
    shape = a.shape
    if axis is None:
        a, axis = a.reshape(-1), 0
    (axis,) = _axes(f"arg{name}", a, axis)
    n = a.shape[axis]
    best = _extreme(name, a, axis, True).uop.expand(a.shape)
    here = a.uop.eq(best)
    if a.dtype.is_float:
        here = here | a.uop.ne(a.uop)
    shown = [1] * a.ndim
    shown[axis] = n
    places = graph.arange(n, dtypes.int32).reshape(shown).expand(a.shape)
    first = UOp(ops.WHERE, dtypes.int32, (here, places, places.const_like(2**31 - 1)))
    u = first.reduce("min", (axis,))
    return make(_kept(u, shape, tuple(range(len(shape))) if a.shape != shape else (axis,),
                      keepdims))  # fmt: skip


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Array:
    """The first index of the greatest; of the first NaN if there is one."""
    return _arg("max", x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Array:
    """The first index of the smallest; of the first NaN if there is one."""
    return _arg("min", x, axis, keepdims)
