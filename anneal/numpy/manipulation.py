"""Shapes: every function here only moves indices; nothing is copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anneal.array import Array, asarray, make, promote
from anneal.uop.uop import Dim, UOp, prod, show_shape


def _axis(name: str, x: Array, axis: int, extra: int = 0) -> int:
    n = x.ndim + extra
    if not -n <= axis < n:
        raise ValueError(f"{name}: axis {axis} is out of range for an array of shape "
                         f"{show_shape(x.shape)}")  # fmt: skip
    return axis % n


def reshape(x: Any, shape: Any, order: str = "C") -> Array:
    """The same elements in another shape; one dim may be -1."""
    if order != "C":
        raise NotImplementedError(f"reshape: order {order!r} is not supported, only 'C'")
    a = asarray(x)
    dims = [shape] if isinstance(shape, int | UOp) else list(shape)
    if dims.count(-1) == 1:
        known = prod(d for d in dims if d != -1)
        if not isinstance(known, int) or not isinstance(a.size, int) or known == 0 or \
                a.size % known:  # fmt: skip
            raise ValueError(f"reshape: cannot reshape {show_shape(a.shape)} to {tuple(dims)}")
        dims[dims.index(-1)] = a.size // known
    try:
        return make(a.uop.reshape(dims), a.weak_type)
    except ValueError as e:
        raise ValueError(f"reshape: {e}") from None


def ravel(x: Any) -> Array:
    """All elements in one axis."""
    return reshape(x, -1)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Array:
    """Axes in another order; reversed if none is given."""
    a = asarray(x)
    order = tuple(range(a.ndim))[::-1] if axes is None else tuple(
        _axis("transpose", a, i) for i in axes)  # fmt: skip
    return make(a.uop.permute(order), a.weak_type)


permute_dims = transpose


def swapaxes(x: Any, axis1: int, axis2: int) -> Array:
    """Two axes exchanged."""
    a = asarray(x)
    order = list(range(a.ndim))
    i, j = _axis("swapaxes", a, axis1), _axis("swapaxes", a, axis2)
    order[i], order[j] = order[j], order[i]
    return transpose(a, order)


def moveaxis(x: Any, source: int, destination: int) -> Array:
    """One axis moved to another place."""
    a = asarray(x)
    i, j = _axis("moveaxis", a, source), _axis("moveaxis", a, destination)
    order = [k for k in range(a.ndim) if k != i]
    order.insert(j, i)
    return transpose(a, order)


def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Array:
    """Axes of length 1 dropped."""
    a = asarray(x)
    if axis is None:
        drop = {i for i, d in enumerate(a.shape) if d == 1}
    else:
        drop = {_axis("squeeze", a, i) for i in ((axis,) if isinstance(axis, int) else axis)}
        if any(a.shape[i] != 1 for i in drop):
            raise ValueError(f"squeeze: axis {axis} of {show_shape(a.shape)} is not of length 1")
    return make(a.uop.reshape([d for i, d in enumerate(a.shape) if i not in drop]), a.weak_type)


def expand_dims(x: Any, axis: int) -> Array:
    """A new axis of length 1."""
    a = asarray(x)
    i = _axis("expand_dims", a, axis, 1)
    return make(a.uop.reshape((*a.shape[:i], 1, *a.shape[i:])), a.weak_type)


def broadcast_to(x: Any, shape: Sequence[Dim]) -> Array:
    """x repeated along new axes and axes of length 1."""
    a = asarray(x)
    try:
        return make(a.uop.broadcast_to(tuple(shape)), a.weak_type)
    except ValueError as e:
        raise ValueError(f"broadcast_to: {e}") from None


def flip(x: Any, axis: int | Sequence[int] | None = None) -> Array:
    """The order along axes reversed."""
    a = asarray(x)
    axes = range(a.ndim) if axis is None else (axis,) if isinstance(axis, int) else axis
    return make(a.uop.flip(_axis("flip", a, i) for i in axes), a.weak_type)


def pad(x: Any, pad_width: Any) -> Array:
    """Zeros around: one amount, (before, after), or a pair for each axis."""
    a = asarray(x)
    if isinstance(pad_width, int):
        pad_width = [(pad_width, pad_width)] * a.ndim
    elif len(pad_width) == 2 and isinstance(pad_width[0], int):
        pad_width = [tuple(pad_width)] * a.ndim
    try:
        return make(a.uop.pad([tuple(p) for p in pad_width]), a.weak_type)
    except ValueError as e:
        raise ValueError(f"pad: {e}") from None


def concatenate(arrays: Sequence[Any], axis: int = 0) -> Array:
    """Arrays one after another along an axis: a sum of padded ones, disjoint."""
    if not arrays:
        raise ValueError("concatenate: expected at least one array, got none")
    xs, dtype, _ = promote(*arrays)
    axis = _axis("concatenate", xs[0], axis)
    first = xs[0].shape
    for x in xs:
        if x.ndim != len(first) or any(a != b for i, (a, b) in enumerate(
                zip(x.shape, first, strict=True)) if i != axis):  # fmt: skip
            raise ValueError(f"concatenate: shapes {show_shape(first)} and {show_shape(x.shape)} "
                             f"differ beyond axis {axis}")  # fmt: skip
    from anneal.numpy.creation import arange
    from anneal.numpy.elementwise import where

    total = sum(int(x.shape[axis]) for x in xs)
    at, out = 0, None
    for x in xs:
        n = int(x.shape[axis])
        widths = [(at, total - at - n) if i == axis else (0, 0) for i in range(x.ndim)]
        part = make(x.uop.pad(widths))
        if out is None:
            out = part
        else:
            shown = [total if i == axis else 1 for i in range(x.ndim)]
            out = where(reshape(arange(total), shown) < at, out, part)
        at += n
    assert out is not None
    return out


def stack(arrays: Sequence[Any], axis: int = 0) -> Array:
    """Arrays of one shape along a new axis."""
    return concatenate([expand_dims(x, axis) for x in arrays], axis)


def split(x: Any, parts: int, axis: int = 0) -> list[Array]:
    """Equal parts along an axis."""
    a = asarray(x)
    axis = _axis("split", a, axis)
    n = int(a.shape[axis])
    if n % parts:
        raise ValueError(f"split: {n} elements do not split in {parts} equal parts")
    step = n // parts
    bounds = [[(i * step, i * step + step) if k == axis else (0, d) for k, d in enumerate(a.shape)]
              for i in range(parts)]  # fmt: skip
    return [make(a.uop.shrink(b), a.weak_type) for b in bounds]
