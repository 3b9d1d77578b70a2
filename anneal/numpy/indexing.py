"""Indexing: slices move indices; integer arrays gather."""

from __future__ import annotations

import math
from typing import Any

from anneal import errors
from anneal.array import Array, asarray, broadcast_shapes, make
from anneal.numpy import elementwise
from anneal.numpy.axes import canonical_axis
from anneal.numpy.manipulation import broadcast_to, reshape
from anneal.uop import dtypes
from anneal.uop.uop import UOp, show_shape


def getitem(x: Any, key: Any) -> Array:
    """x[key] for ints, slices, None, ... and integer arrays in neighbouring places."""
    a = asarray(x)
    keys = _expanded(a, key if isinstance(key, tuple) else (key,))
    u, axis, arrays = a.uop, 0, []
    for k in keys:
        if k is None:
            u = u.reshape((*u.shape[:axis], 1, *u.shape[axis:]))
            axis += 1
        elif isinstance(k, slice):
            u = _sliced(u, axis, k)
            axis += 1
        elif isinstance(k, int):
            u = _picked(u, axis, k, a)
        else:
            arrays.append((axis, k))
            axis += 1
    if not arrays:
        return make(u, a.weak_type)
    places = [p for p, _ in arrays]
    if places != list(range(places[0], places[0] + len(places))):
        raise NotImplementedError("index arrays must be in neighbouring places")
    return _gathered(u, places[0], [k for _, k in arrays], a.weak_type)


def _expanded(a: Array, key: tuple[Any, ...]) -> list[Any]:
    keys: list[Any] = []
    for k in key:
        if k is None or k is Ellipsis or isinstance(k, slice):
            keys.append(k)
        elif isinstance(k, bool):
            raise errors.NonConcreteBooleanIndexError("x[True] is not supported")
        elif isinstance(k, int):
            keys.append(k)
        else:
            i = asarray(k)
            if i.dtype.kind == "b":
                raise errors.NonConcreteBooleanIndexError(
                    "a boolean index makes a shape that depends on data; use "
                    "anneal.numpy.where(mask, x, other) instead"
                )
            if not i.dtype.is_int:
                raise TypeError(f"index arrays must be integers, got {i.dtype}")
            keys.append(i)
    used = sum(k is not None and k is not Ellipsis for k in keys)
    if used > a.ndim:
        raise IndexError(f"{used} indices for an array of shape {show_shape(a.shape)}")
    missing = [slice(None)] * (a.ndim - used)
    places = [i for i, k in enumerate(keys) if k is Ellipsis]
    if len(places) > 1:
        raise IndexError("an index can hold only one ellipsis")
    at = places[0] if places else len(keys)
    return [*keys[:at], *missing, *keys[at + 1 :]]


def _picked(u: UOp, axis: int, k: int, a: Array) -> UOp:
    n = u.shape[axis]
    if isinstance(n, int) and not -n <= k < n:
        raise IndexError(f"index {k} is out of range for axis of length {n} of an array of shape "
                         f"{show_shape(a.shape)}")  # fmt: skip
    at = k if k >= 0 else n + k
    bounds = [(at, at + 1) if i == axis else (0, d) for i, d in enumerate(u.shape)]
    u = u.shrink(bounds)
    return u.reshape([d for i, d in enumerate(u.shape) if i != axis])


def _sliced(u: UOp, axis: int, k: slice) -> UOp:
    n = u.shape[axis]
    if k == slice(None):
        return u
    if not isinstance(n, int):
        raise TypeError("slicing a symbolic axis is not supported yet")
    start, stop, step = k.indices(n)
    if step < 0:
        count = max(0, -((stop - start) // -step)) if start > stop else 0
        start, step, u = n - 1 - start, -step, u.flip((axis,))
    else:
        count = max(0, -((start - stop) // step))
    end = min(n, start + count * step)

    def along(pair: tuple[Any, Any]) -> list[tuple[Any, Any]]:
        return [pair if i == axis else (0, d) for i, d in enumerate(u.shape)]

    u = u.shrink(along((start, end) if count else (0, 0)))
    if step == 1 or not count:
        return u
    missing = count * step - (end - start)
    u = u.pad([(0, missing) if i == axis else (0, 0) for i in range(u.ndim)])
    shape = u.shape
    u = u.reshape((*shape[:axis], count, step, *shape[axis + 1 :]))
    u = u.shrink([(0, 1) if i == axis + 1 else (0, d) for i, d in enumerate(u.shape)])
    return u.reshape((*shape[:axis], count, *shape[axis + 1 :]))


def _gathered(u: UOp, axis: int, indices: list[Any], weak: bool) -> Array:
    dims = u.shape[axis : axis + len(indices)]
    wrapped = [_wrapped(i, d) for i, d in zip(indices, dims, strict=True)]
    flat = wrapped[0]
    for i, d in zip(wrapped[1:], dims[1:], strict=True):
        flat = flat * d + i
    places = flat.shape
    before, after = u.shape[:axis], u.shape[axis + len(indices) :]
    rows: Any = 1
    for d in dims:
        rows = rows * d
    x = u.reshape((*before, rows, *after))
    count = flat.size
    index = flat.uop.reshape((*[1] * len(before), count, *[1] * len(after)))
    out = x.gather(index.broadcast_to((*before, count, *after)), axis)
    return make(out.reshape((*before, *places, *after)), weak)


def _wrapped(index: Array, n: Any) -> Array:
    """Negative indices count from the end; others are clamped, as JAX does."""
    if index.dtype.kind == "u":
        index = index.astype(dtypes.int32)
    return elementwise.clip(elementwise.where(index < 0, index + n, index), 0, n - 1)


def _mode(name: str, mode: str | None) -> str:
    if mode not in (None, "fill", "clip", "wrap"):
        raise ValueError(f"{name}: mode must be 'fill', 'clip' or 'wrap', got {mode!r}")
    return mode or "fill"


def _filled(out: Array, index: Array, n: Any) -> Array:
    """`out` where the index was inside, else NaN, or the integer farthest from 0."""
    kind = out.dtype
    fill = math.nan if kind.is_float else kind.min if kind.kind == "i" else kind.max
    inside = elementwise.logical_and(index >= -n, index < n)
    return make(inside.uop.where(out.uop, out.uop.const_like(fill)), out.weak_type)


def take_along_axis(x: Any, indices: Any, axis: int | None = -1, mode: str | None = None) -> Array:
    """out[.. i ..] = x[.. indices[.. i ..] ..]: the other axes agree or are of length 1.

    Negative indices count from the end. An index outside gives NaN ("fill", as in JAX: for
    integers, the least or, unsigned, the greatest), the nearest element ("clip") or starts over
    ("wrap").

    >>> take_along_axis([[1, 2], [3, 4]], [[0], [1]], axis=1).tolist()
    [[1], [4]]
    """
    a, i = asarray(x), asarray(indices)
    mode = _mode("take_along_axis", mode)
    if not i.dtype.is_int:
        raise TypeError(f"take_along_axis: indices must be integers, got {i.dtype}")
    if axis is None:
        a, axis = reshape(a, -1), 0
    axis = canonical_axis("take_along_axis", a, axis)
    if a.ndim != i.ndim:
        raise ValueError(f"take_along_axis: x {show_shape(a.shape)} and indices "
                         f"{show_shape(i.shape)} need equally many axes")  # fmt: skip
    n = a.shape[axis]
    try:
        full = broadcast_shapes(*[(*s[:axis], *s[axis + 1 :]) for s in (a.shape, i.shape)])
    except ValueError as e:
        raise ValueError(f"take_along_axis: beyond axis {axis}, {e}") from None
    a = broadcast_to(a, (*full[:axis], n, *full[axis:]))
    i = broadcast_to(i, (*full[:axis], i.shape[axis], *full[axis:]))
    index = elementwise.remainder(i, n) if mode == "wrap" else _wrapped(i, n)
    out = make(a.uop.gather(index.uop, axis), a.weak_type)
    return _filled(out, i, n) if mode == "fill" else out


def take(x: Any, indices: Any, axis: int | None = None, mode: str | None = None) -> Array:
    """Slices of x along an axis (flattened, for None), in the order of `indices`.

    `mode` says what an index outside gives, as in `take_along_axis`.

    >>> take([10, 20, 30], [2, 0]).tolist()
    [30, 10]
    """
    a, i = asarray(x), asarray(indices)
    mode = _mode("take", mode)
    if not i.dtype.is_int:
        raise TypeError(f"take: indices must be integers, got {i.dtype}")
    if axis is None:
        a, axis = reshape(a, -1), 0
    axis = canonical_axis("take", a, axis)
    n = a.shape[axis]
    index = elementwise.remainder(i, n) if mode == "wrap" else i
    out = getitem(a, (*[slice(None)] * axis, index))
    if mode != "fill":
        return out
    return _filled(out, reshape(i, (*i.shape, *[1] * (a.ndim - axis - 1))), n)
