"""Reductions: an axis, several, or all; sums of 16-bit floats accumulate in float32."""

from __future__ import annotations

import builtins
import math
from typing import Any

from anneal.array import Array, as_dtype, asarray, make
from anneal.numpy import elementwise
from anneal.numpy.axes import Axis, canonical_axes
from anneal.numpy.manipulation import broadcast_to
from anneal.uop import dtypes, ops
from anneal.uop import uop as graph
from anneal.uop.dtypes import DType
from anneal.uop.uop import UOp, show_shape
from anneal.uop.uop import prod as product


def _kept(u: UOp, shape: Any, axes: tuple[int, ...], keepdims: bool) -> UOp:
    return u.reshape(tuple(1 if i in axes else d for i, d in enumerate(shape))) if keepdims else u


def _masked(name: str, a: Array, where: Any, neutral: Any) -> Array:
    """a, with what does not change the result where `where` is false."""
    if where is None:
        return a
    try:
        p = asarray(where).astype(dtypes.bool_).uop.broadcast_to(a.shape)
    except ValueError as e:
        raise ValueError(f"{name}: where does not fit the array: {e}") from None
    return make(p.where(a.uop, a.uop.const_like(neutral)), a.weak_type)


def _accumulate(name: str, how: str, a: Array, axis: Axis, dtype: Any, keepdims: bool) -> Array:
    axes = canonical_axes(name, a, axis)
    out = a.dtype if dtype is None else as_dtype(dtype)
    if dtype is None and (out.kind == "b" or (out.is_int and out.bits < 32)):
        out = dtypes.uint32 if out.kind == "u" else dtypes.int32
    wide = dtypes.float32 if out.is_float and out.bits == 16 else out
    u = a.uop.cast(wide).reduce(how, axes).cast(out)
    return make(_kept(u, a.shape, axes, keepdims))


def sum(a: Any, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False,
        where: Any = None) -> Array:  # fmt: skip
    """The sum over axes (of the elements where `where`); bool and small ints give 32-bit ints.

    >>> sum([[1, 2], [3, 4]], axis=0).tolist()
    [4, 6]
    """
    x = _masked("sum", asarray(a), where, 0)
    return _accumulate("sum", "add", x, axis, dtype, keepdims)


def prod(a: Any, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False,
         where: Any = None) -> Array:  # fmt: skip
    """The product over axes (of the elements where `where`)."""
    x = _masked("prod", asarray(a), where, 1)
    return _accumulate("prod", "mul", x, axis, dtype, keepdims)


def _widened(x: Any) -> tuple[Array, DType]:
    """x in the floats that means are computed in, and the dtype of the result."""
    a = asarray(x)
    out = a.dtype if a.dtype.is_float else dtypes.float32
    wide = dtypes.float32 if out.bits == 16 else out
    return Array(a.uop.cast(wide), a.weak_type), out


def _count(x: Array, axes: tuple[int, ...]) -> Any:
    """How many elements are combined: an int, or of symbolic axes a float32 scalar."""
    n = product(x.shape[i] for i in axes)
    return n if isinstance(n, int) else make(n.cast(dtypes.float32))


def mean(a: Any, axis: Axis = None, dtype: Any = None, *, keepdims: bool = False,
         where: Any = None) -> Array:  # fmt: skip
    """The average over axes (of the elements where `where`); integers give float32.

    >>> mean([1, 2, 6]).item()
    3.0
    """
    x, out = _widened(a)
    axes = canonical_axes("mean", x, axis)
    total = sum(x, axis, keepdims=keepdims, where=where)
    if where is None:
        n: Any = _count(x, axes)
    else:
        n = sum(broadcast_to(asarray(where).astype(dtypes.bool_), x.shape), axis, keepdims=keepdims)
    return make((total / n).uop.cast(out if dtype is None else as_dtype(dtype)))


def var(a: Any, axis: Axis = None, dtype: Any = None, *, ddof: float = 0,
        keepdims: bool = False) -> Array:  # fmt: skip
    """The mean of squared distances from the mean, with n - ddof for n.

    The distances are from a rounded mean, so what is left of their own mean is taken off again: an
    error of the mean would enter squared.
    """
    x, out = _widened(a)
    n = _count(x, canonical_axes("var", x, axis))
    # The variance is the same about every centre: no derivative flows through this one.
    centre = mean(x, axis, keepdims=True).uop.alu(ops.STOP_GRADIENT)
    d = x - make(centre)
    left = sum(d, axis, keepdims=keepdims)
    count = n if not isinstance(n, int) or n else math.nan
    total = sum(d * d, axis, keepdims=keepdims) - left * left / count
    total = elementwise.where(total < 0, 0, total)
    scaled = total / (n - ddof if not isinstance(n, int) or n > ddof else math.nan)
    return make(scaled.uop.cast(out if dtype is None else as_dtype(dtype)))


def std(a: Any, axis: Axis = None, dtype: Any = None, *, ddof: float = 0,
        keepdims: bool = False) -> Array:  # fmt: skip
    """The square root of the variance."""
    return elementwise.sqrt(var(a, axis, dtype, ddof=ddof, keepdims=keepdims))


def _extreme(name: str, a: Array, axis: Axis, keepdims: bool, initial: Any, where: Any) -> Array:
    axes = canonical_axes(name, a, axis)
    if initial is None and where is not None:
        raise ValueError(f"{name}: where needs initial, what to give where nothing is chosen")
    if initial is None and builtins.any(a.shape[i] == 0 for i in axes):
        raise ValueError(f"{name}: an axis of length 0 in {show_shape(a.shape)} has no {name}; "
                         f"give one with initial")  # fmt: skip
    x = _masked(name, a, where, a.dtype.min if name == "max" else a.dtype.max)
    out = make(_kept(x.uop.reduce(name, axes), a.shape, axes, keepdims))
    if initial is None:
        return out
    return (elementwise.maximum if name == "max" else elementwise.minimum)(
        out, asarray(initial).astype(a.dtype))  # fmt: skip


def max(a: Any, axis: Axis = None, *, keepdims: bool = False, initial: Any = None,
        where: Any = None) -> Array:  # fmt: skip
    """The greatest over axes, not less than `initial`; NaN if any is.

    >>> max([[1, 5], [3, 2]], axis=1).tolist()
    [5, 3]
    """
    return _extreme("max", asarray(a), axis, keepdims, initial, where)


def min(a: Any, axis: Axis = None, *, keepdims: bool = False, initial: Any = None,
        where: Any = None) -> Array:  # fmt: skip
    """The smallest over axes, not more than `initial`; NaN if any is."""
    return _extreme("min", asarray(a), axis, keepdims, initial, where)


amax, amin = max, min


def ptp(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """The greatest minus the smallest."""
    return max(a, axis, keepdims=keepdims) - min(a, axis, keepdims=keepdims)


def _truth(name: str, how: str, a: Any, axis: Axis, keepdims: bool, where: Any) -> Array:
    x = _masked(name, asarray(a).astype(dtypes.bool_), where, how == "min")
    axes = canonical_axes(name, x, axis)
    return make(_kept(x.uop.reduce(how, axes), x.shape, axes, keepdims))


def any(a: Any, axis: Axis = None, *, keepdims: bool = False, where: Any = None) -> Array:
    """Whether any is true; False of nothing."""
    return _truth("any", "max", a, axis, keepdims, where)


def all(a: Any, axis: Axis = None, *, keepdims: bool = False, where: Any = None) -> Array:
    """Whether all are true; True of nothing."""
    return _truth("all", "min", a, axis, keepdims, where)


def count_nonzero(a: Any, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """How many are not 0, as int32."""
    return sum(asarray(a).astype(dtypes.bool_), axis, keepdims=keepdims)


def array_equal(a1: Any, a2: Any, equal_nan: bool = False) -> Array:
    """Whether shapes and all elements are equal."""
    a, b = asarray(a1), asarray(a2)
    if a.shape != b.shape:
        return asarray(False)
    same = a == b
    if equal_nan:
        same = same | (elementwise.isnan(a) & elementwise.isnan(b))
    return all(same)


def allclose(a: Any, b: Any, rtol: float = 1e-5, atol: float = 1e-8,
             equal_nan: bool = False) -> Array:  # fmt: skip
    """Whether all elements differ by at most atol + rtol * |b|."""
    return all(elementwise.isclose(a, b, rtol, atol, equal_nan))


def _arg(name: str, x: Any, axis: int | None, keepdims: bool) -> Array:
    a = asarray(x)
    shape = a.shape
    if axis is None:
        a, axis = a.reshape(-1), 0
    (axis,) = canonical_axes(f"arg{name}", a, axis)
    n = a.shape[axis]
    best = _extreme(name, a, axis, True, None, None).uop.expand(a.shape)
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
