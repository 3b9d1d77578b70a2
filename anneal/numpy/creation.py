"""New arrays: constants are expanded scalars and take no memory until they must."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anneal.array import Array, as_dtype, asarray, make
from anneal.uop import dtypes
from anneal.uop import uop as graph
from anneal.uop.uop import const


def _shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    return (shape,) if isinstance(shape, int) else tuple(shape)


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
    """`x` as an Array; see `asarray`."""
    return asarray(x, dtype)


def arange(start: int | float, stop: int | float | None = None, step: int | float = 1,
           dtype: Any = None) -> Array:  # fmt: skip
    """start, start + step, ... before stop; int32, or float32 if an argument is a float."""
    if stop is None:
        start, stop = 0, start
    floats = any(isinstance(v, float) for v in (start, stop, step))
    kind = as_dtype(dtype) if dtype is not None else dtypes.float32 if floats else dtypes.int32
    n = max(0, -int(-(stop - start) // step))
    u = graph.arange(n, dtypes.int32).cast(kind)
    if step != 1:
        u = u * step
    return make(u if start == 0 else u + start)


def linspace(start: float, stop: float, num: int = 50) -> Array:
    """`num` evenly spaced float32 numbers from start to stop, both included."""
    step = (stop - start) / max(num - 1, 1)
    return make(graph.arange(num, dtypes.int32).cast(dtypes.float32) * step + start)


def eye(n: int, m: int | None = None, dtype: Any = None) -> Array:
    """Ones on the diagonal."""
    m = n if m is None else m
    kind = dtypes.float32 if dtype is None else as_dtype(dtype)
    rows = graph.arange(n, dtypes.int32).reshape((n, 1)).expand((n, m))
    columns = graph.arange(m, dtypes.int32).reshape((1, m)).expand((n, m))
    return make(rows.eq(columns).cast(kind))
