"""New arrays: constants are expanded scalars and take no memory until they must."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from anneal import errors
from anneal.array import Array, as_dtype, asarray, make
from anneal.numpy.axes import dims, integer
from anneal.realization import keep_derivative
from anneal.uop import dtypes, ops
from anneal.uop import uop as graph
from anneal.uop.uop import const, show_shape


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    lengths = dims("shape", "dims", shape)
    if any(isinstance(d, int) and d < 0 for d in lengths):
        raise ValueError(f"shape: dims must not be negative, got {lengths}")
    return lengths


def full(shape: int | Sequence[int], fill_value: Any, dtype: Any = None) -> Array:
    """`shape` elements of one value."""
    value = asarray(fill_value, dtype)
    return make(value.uop.broadcast_to(_shape(shape)))


def zeros(shape: int | Sequence[int], dtype: Any = None) -> Array:
    """Zeros; float32 unless said otherwise."""
    kind = dtypes.float32 if dtype is None else as_dtype(dtype)
    return make(const(0, kind).broadcast_to(_shape(shape)))


def ones(shape: int | Sequence[int], dtype: Any = None) -> Array:
    """Ones; float32 unless said otherwise."""
    kind = dtypes.float32 if dtype is None else as_dtype(dtype)
    return make(const(1, kind).broadcast_to(_shape(shape)))


def zeros_like(x: Any, dtype: Any = None) -> Array:
    """Zeros of x's shape and dtype."""
    a = asarray(x)
    return zeros(a.shape, a.dtype if dtype is None else dtype)


def ones_like(x: Any, dtype: Any = None) -> Array:
    """Ones of x's shape and dtype."""
    a = asarray(x)
    return ones(a.shape, a.dtype if dtype is None else dtype)


def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Array:
    """One value in x's shape and dtype."""
    a = asarray(x)
    kind = a.dtype if dtype is None else dtype
    return full(a.shape, fill_value, kind)


def array(x: Any, dtype: Any = None) -> Array:
    """`x` as an Array of its own; see `asarray`."""
    out = asarray(x, dtype)
    return out.copy() if out is x else out


def arange(start: Any, stop: Any = None, step: Any = 1, dtype: Any = None) -> Array:
    """start, start + step, ... before stop; int32, or float32 if an argument is a float.

    >>> arange(1, 8, 3).tolist()
    [1, 4, 7]
    """
    if stop is None:
        start, stop = 0, start
    start, stop, step = (_number("arange", v) for v in (start, stop, step))
    if step == 0:
        raise ValueError("arange: step must not be 0")
    floats = any(isinstance(v, float) for v in (start, stop, step))
    kind = as_dtype(dtype) if dtype is not None else dtypes.float32 if floats else dtypes.int32
    n = max(0, math.ceil((stop - start) / step) if floats else -((start - stop) // step))
    if kind.kind == "b":
        raise TypeError("arange: dtype must be a number type, got bool")
    if kind.is_int and kind.bits == 32 and n:
        ends = start, start + (n - 1) * step
        if min(ends) < kind.min or max(ends) > kind.max:
            raise OverflowError(f"arange: numbers from {ends[0]} to {ends[1]} do not fit {kind}")
    u = graph.arange(n, dtypes.int32).cast(kind)
    if step != 1:
        u = u * step
    return make(u if start == 0 else u + start)


def _number(name: str, value: Any) -> int | float:
    """A Python number from one, or from a NumPy scalar or Array that holds one."""
    if isinstance(value, Array):
        keep_derivative(value.uop, errors.ConcretizationTypeError, f"given to {name}")
    if hasattr(value, "item"):
        value = value.item()
    if not isinstance(value, int | float):
        raise TypeError(f"{name}: expected numbers, got {value!r}")
    return value


def linspace(start: Any, stop: Any, num: int = 50, endpoint: bool = True,
             dtype: Any = None) -> Array:  # fmt: skip
    """`num` evenly spaced numbers from start to stop, which is included unless `endpoint` is False.

    >>> linspace(0.0, 1.0, 5).tolist()
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    num = integer("linspace", "num", num)
    if num < 0:
        raise ValueError(f"linspace: num must not be negative, got {num}")
    kind = dtypes.float32 if dtype is None else as_dtype(dtype)
    first, last = _end("linspace", start), _end("linspace", stop)
    steps = max(num - 1 if endpoint else num, 1)
    i = graph.arange(num, dtypes.int32)
    t = i.cast(dtypes.float32) / float(steps)
    u = t * (last - first) + first
    if endpoint and num > 1:
        u = i.eq(num - 1).where(last, u)
    return make((u.alu(ops.FLOOR) if kind.is_int else u).cast(kind))


def _end(name: str, value: Any) -> Any:
    """A number as a float; of an Array its node in float32, through which derivatives flow."""
    if not isinstance(value, Array):
        return float(_number(name, value))
    if value.shape != ():
        raise TypeError(f"{name}: expected numbers, got an array of shape "
                        f"{show_shape(value.shape)}")  # fmt: skip
    return value.uop.cast(dtypes.float32)


def empty(shape: int | Sequence[int], dtype: Any = None) -> Array:
    """Zeros: memory is never without a value here."""
    return zeros(shape, dtype)


empty_like = zeros_like
