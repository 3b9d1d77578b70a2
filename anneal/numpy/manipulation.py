"""Shapes: every function here only moves indices; nothing is copied."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anneal.array import Array, asarray, broadcast_shapes, make, promote
from anneal.numpy.axes import (
    Axis,
    canonical_axes,
    canonical_axis,
    dims,
    integer,
    integers,
    is_integer,
)
from anneal.uop import dtypes, ops
from anneal.uop import uop as graph
from anneal.uop.uop import Dim, UOp, const, prod, same_dim, show_shape


def reshape(x: Any, shape: Any, order: str = "C") -> Array:
    """The same elements in another shape; one dim may be -1."""
    if order != "C":
        raise NotImplementedError(f"reshape: order {order!r} is not supported, only 'C'")
    a = asarray(x)
    new = list(dims("reshape", "dims", shape))
    if any(isinstance(d, int) and d < -1 for d in new) or new.count(-1) > 1:
        raise ValueError(f"reshape: dims must not be negative but for one -1, got {tuple(new)}")
    if new.count(-1) == 1:
        known = prod(d for d in new if d != -1)
        if not isinstance(known, int) or not isinstance(a.size, int) or known == 0 or \
                a.size % known:  # fmt: skip
            raise ValueError(f"reshape: cannot reshape {show_shape(a.shape)} to {tuple(new)}")
        new[new.index(-1)] = a.size // known
    try:
        return make(a.uop.reshape(new), a.weak_type)
    except ValueError as e:
        raise ValueError(f"reshape: {e}") from None


def ravel(x: Any) -> Array:
    """All elements in one axis."""
    return reshape(x, -1)


def transpose(x: Any, axes: Sequence[int] | None = None) -> Array:
    """Axes in another order; reversed if none is given."""
    a = asarray(x)
    order = tuple(range(a.ndim))[::-1] if axes is None else tuple(
        canonical_axis("transpose", a, i) for i in axes)  # fmt: skip
    return make(a.uop.permute(order), a.weak_type)


permute_dims = transpose


def swapaxes(x: Any, axis1: int, axis2: int) -> Array:
    """Two axes exchanged."""
    a = asarray(x)
    order = list(range(a.ndim))
    i, j = canonical_axis("swapaxes", a, axis1), canonical_axis("swapaxes", a, axis2)
    order[i], order[j] = order[j], order[i]
    return transpose(a, order)


def moveaxis(x: Any, source: int | Sequence[int], destination: int | Sequence[int]) -> Array:
    """Axes moved to other places; the rest keep their order.

    >>> moveaxis([[[1, 2, 3]]], 2, 0).shape
    (3, 1, 1)
    """
    a = asarray(x)
    old = [canonical_axis("moveaxis", a, i) for i in integers("moveaxis", "source", source)]
    new = [canonical_axis("moveaxis", a, i)
           for i in integers("moveaxis", "destination", destination)]  # fmt: skip
    if len(old) != len(new) or len(set(old)) != len(old) or len(set(new)) != len(new):
        raise ValueError(f"moveaxis: source {source} and destination {destination} must name "
                         f"equally many axes, each once")  # fmt: skip
    order = [k for k in range(a.ndim) if k not in old]
    for j, i in sorted(zip(new, old, strict=True)):
        order.insert(j, i)
    return transpose(a, order)


def squeeze(x: Any, axis: int | Sequence[int] | None = None) -> Array:
    """Axes of length 1 dropped."""
    a = asarray(x)
    if axis is None:
        drop = {i for i, d in enumerate(a.shape) if d == 1}
    else:
        drop = set(canonical_axes("squeeze", a, axis))
        if any(a.shape[i] != 1 for i in drop):
            raise ValueError(f"squeeze: axis {axis} of {show_shape(a.shape)} is not of length 1")
    return make(a.uop.reshape([d for i, d in enumerate(a.shape) if i not in drop]), a.weak_type)


def expand_dims(x: Any, axis: int | Sequence[int]) -> Array:
    """New axes of length 1, at `axis` of the result."""
    a = asarray(x)
    asked = integers("expand_dims", "axis", axis)
    new = [canonical_axis("expand_dims", a, i, len(asked)) for i in asked]
    if len(set(new)) != len(new):
        raise ValueError(f"expand_dims: duplicate axis in {asked}")
    own = iter(a.shape)
    shape = [1 if i in new else next(own) for i in range(a.ndim + len(new))]
    return make(a.uop.reshape(shape), a.weak_type)


def broadcast_to(x: Any, shape: Sequence[Dim]) -> Array:
    """x repeated along new axes and axes of length 1."""
    a = asarray(x)
    try:
        return make(a.uop.broadcast_to(dims("broadcast_to", "shape", shape)), a.weak_type)
    except ValueError as e:
        raise ValueError(f"broadcast_to: {e}") from None


def flip(x: Any, axis: int | Sequence[int] | None = None) -> Array:
    """The order along axes reversed."""
    a = asarray(x)
    return make(a.uop.flip(canonical_axes("flip", a, axis)), a.weak_type)


def pad(array: Any, pad_width: Any, mode: str = "constant", *,
        constant_values: Any = 0) -> Array:  # fmt: skip
    """More elements around: one amount, (before, after), or a pair for each axis.

    `mode`: "constant" (a scalar), "edge", "reflect", "symmetric" or "wrap", as in NumPy.

    >>> pad([1, 2], (1, 2), constant_values=9).tolist()
    [9, 1, 2, 9, 9]
    """
    a = asarray(array)
    widths = _pad_widths(pad_width, a)
    if mode != "constant":
        return _padded_from_inside(a, widths, mode)
    value = asarray(constant_values)
    if value.shape != ():
        raise ValueError(f"pad: constant_values must be one scalar, got {show_shape(value.shape)}")
    u = a.uop.pad(widths)
    if value.uop.op is not ops.CONST or value.uop.arg != 0:
        inside = const(True, dtypes.bool_).expand(a.shape).pad(widths)
        u = inside.where(u, value.uop.cast(a.dtype))
    return make(u, a.weak_type)


def _pad_widths(pad_width: Any, a: Array) -> list[tuple[int, int]]:
    if is_integer(pad_width):
        width = integer("pad", "pad_width", pad_width)
        widths = [(width, width)] * a.ndim
    elif len(pad_width) == 2 and all(is_integer(w) for w in pad_width):
        before, after = integers("pad", "pad_width", pad_width)
        widths = [(before, after)] * a.ndim
    else:
        pairs = [integers("pad", "pad_width", p) for p in pad_width]
        widths = [(p[0], p[-1]) for p in pairs]
        widths = widths * a.ndim if len(widths) == 1 else widths
    if len(widths) != a.ndim or any(lo < 0 or hi < 0 for lo, hi in widths):
        raise ValueError(f"pad: pad_width must be pairs of amounts, not negative, one for each "
                         f"axis of {show_shape(a.shape)}, got {pad_width!r}")  # fmt: skip
    return widths


def _padded_from_inside(a: Array, widths: list[tuple[int, int]], mode: str) -> Array:
    """Every place looks up the element that its index, folded back into the range, names."""
    u = a.uop
    for axis, (lo, hi) in enumerate(widths):
        if (lo, hi) == (0, 0):
            continue
        n = int(a.shape[axis])
        if not n:
            raise ValueError(f"pad: mode {mode!r} needs elements along axis {axis}, which is empty")
        i = graph.arange(n + lo + hi, dtypes.int32) - lo
        if mode == "edge":
            i = i.maximum(0).minimum(n - 1)
        elif mode == "wrap":
            i = i % n
        elif mode == "symmetric":
            i = i % (2 * n)
            i = i.minimum(i.const_like(2 * n - 1) - i)
        elif mode == "reflect":
            i = i % max(2 * n - 2, 1)
            i = i.minimum(i.const_like(2 * n - 2) - i)
        else:
            raise ValueError(f"pad: mode must be 'constant', 'edge', 'reflect', 'symmetric' or "
                             f"'wrap', got {mode!r}")  # fmt: skip
        shape = tuple(n + lo + hi if k == axis else d for k, d in enumerate(u.shape))
        own = [n + lo + hi if k == axis else 1 for k in range(u.ndim)]
        u = u.gather(i.reshape(own).expand(shape), axis)
    return make(u, a.weak_type)


def concatenate(arrays: Sequence[Any], axis: int | None = 0, dtype: Any = None) -> Array:
    """Arrays one after another along an axis (flattened, for None).

    >>> concatenate([[1, 2], [3]]).tolist()
    [1, 2, 3]
    """
    if isinstance(arrays, Array):
        arrays = list(arrays)
    if not arrays:
        raise ValueError("concatenate: expected at least one array, got none")
    xs, kind, _ = promote(*arrays)
    if axis is None:
        xs, axis = [ravel(x) for x in xs], 0
    axis = canonical_axis("concatenate", xs[0], axis)
    first = xs[0].shape
    for x in xs:
        if x.ndim != len(first) or any(not same_dim(a, b) for i, (a, b) in enumerate(
                zip(x.shape, first, strict=True)) if i != axis):  # fmt: skip
            raise ValueError(f"concatenate: shapes {show_shape(first)} and {show_shape(x.shape)} "
                             f"differ beyond axis {axis}")  # fmt: skip
    out = make(_joined([x.uop for x in xs if x.shape[axis] != 0] or [xs[0].uop], axis))
    return out if dtype is None else out.astype(dtype)


def _joined(parts: list[UOp], axis: int) -> UOp:
    """The parts padded to the whole length; every place chooses by its index."""
    if len(parts) == 1:
        return parts[0]
    total = sum(_length(p, axis) for p in parts)
    shape = tuple(total if i == axis else d for i, d in enumerate(parts[0].shape))
    own = [total if i == axis else 1 for i in range(len(shape))]
    place = graph.arange(total, dtypes.int32).reshape(own).expand(shape)
    out, at = parts[0], 0
    for n, part in enumerate(parts):
        size = _length(part, axis)
        around = (at, total - at - size)
        u = part.pad([around if i == axis else (0, 0) for i in range(part.ndim)])
        out = u if n == 0 else (place < at).where(out, u)
        at += size
    return out


def _length(u: UOp, axis: int) -> int:
    n = u.shape[axis]
    if not isinstance(n, int):
        raise TypeError(f"concatenate: axis {axis} is symbolic, which is not supported")
    return n


concat = concatenate


def stack(arrays: Sequence[Any], axis: int = 0) -> Array:
    """Arrays of one shape along a new axis.

    >>> stack([[1, 2], [3, 4]], axis=1).tolist()
    [[1, 3], [2, 4]]
    """
    xs = [asarray(x) for x in arrays]
    for x in xs:
        if x.shape != xs[0].shape:
            raise ValueError(f"stack: shapes {show_shape(xs[0].shape)} and {show_shape(x.shape)} "
                             f"differ")  # fmt: skip
    return concatenate([expand_dims(x, axis) for x in xs], axis)


def unstack(x: Any, /, *, axis: int = 0) -> tuple[Array, ...]:
    """The slices along an axis."""
    a = moveaxis(x, axis, 0)
    return tuple(a[i] for i in range(a.shape[0]))


def vstack(tup: Sequence[Any]) -> Array:
    """Rows, or blocks of rows, one below another."""
    return concatenate([atleast_2d(x) for x in tup], 0)


def hstack(tup: Sequence[Any]) -> Array:
    """Columns, or blocks of them, side by side; vectors one after another."""
    xs = [atleast_1d(x) for x in tup]
    return concatenate(xs, 0 if not xs or xs[0].ndim == 1 else 1)


def atleast_1d(x: Any) -> Array:
    """x with at least one axis."""
    a = asarray(x)
    return a.copy() if a.ndim else reshape(a, (1,))


def atleast_2d(x: Any) -> Array:
    """x with at least two axes; new ones come first."""
    a = asarray(x)
    return a.copy() if a.ndim > 1 else reshape(a, (1, -1))


def split(ary: Any, indices_or_sections: int | Sequence[int], axis: int = 0) -> list[Array]:
    """Equal parts along an axis, or the parts between the given indices.

    >>> [p.tolist() for p in split([1, 2, 3, 4, 5], [2, 3])]
    [[1, 2], [3], [4, 5]]
    """
    a = asarray(ary)
    axis = canonical_axis("split", a, axis)
    n = int(a.shape[axis])
    if is_integer(indices_or_sections):
        parts = integer("split", "sections", indices_or_sections)
        if parts < 1 or n % parts:
            raise ValueError(f"split: {n} elements do not split in {parts} equal parts")
        cuts = [i * (n // parts) for i in range(1, parts)]
    else:
        places = integers("split", "indices", indices_or_sections)
        cuts = [min(max(i + n if i < 0 else i, 0), n) for i in places]
    edges = list(zip([0, *cuts], [*cuts, n], strict=True))
    return [make(a.uop.shrink([(lo, max(lo, hi)) if k == axis else (0, d)
                               for k, d in enumerate(a.shape)]), a.weak_type)
            for lo, hi in edges]  # fmt: skip


def roll(a: Any, shift: int | Sequence[int], axis: Axis = None) -> Array:
    """Elements moved along axes; those that leave the end come back at the beginning.

    >>> roll([1, 2, 3], 1).tolist()
    [3, 1, 2]
    """
    x = asarray(a)
    if axis is None:
        if len(integers("roll", "shift", shift)) != 1 or not is_integer(shift):
            raise ValueError("roll: several shifts need an axis each")
        return reshape(roll(ravel(x), shift, 0), x.shape)
    axes, shifts = integers("roll", "axis", axis), integers("roll", "shift", shift)
    shifts = shifts * len(axes) if is_integer(shift) else shifts
    if len(shifts) != len(axes):
        raise ValueError(f"roll: {len(shifts)} shifts for {len(axes)} axes")
    for s, k in zip(shifts, axes, strict=True):
        i = canonical_axis("roll", x, k)
        n = int(x.shape[i])
        if n and s % n:
            x = concatenate(split(x, [n - s % n], i)[::-1], i)
    return x.copy()


def repeat(a: Any, repeats: int | Sequence[int], axis: int | None = None) -> Array:
    """Every element, or slice along an axis, several times in a row.

    >>> repeat([1, 2], 2).tolist(), repeat([1, 2], [2, 1]).tolist()
    ([1, 1, 2, 2], [1, 1, 2])
    """
    x = asarray(a)
    if axis is None:
        x, axis = ravel(x), 0
    i = canonical_axis("repeat", x, axis)
    before, n, after = x.shape[:i], x.shape[i], x.shape[i + 1 :]
    if is_integer(repeats):
        times = integer("repeat", "repeats", repeats)
        if times < 0:
            raise ValueError(f"repeat: repeats must not be negative, got {times}")
        u = x.uop.reshape((*before, n, 1, *after)).expand((*before, n, times, *after))
        return make(u.reshape((*before, n * times, *after)), x.weak_type)
    counts = list(integers("repeat", "repeats", repeats))
    if len(counts) == 1:
        return repeat(x, counts[0], i)
    if len(counts) != n or min(counts, default=0) < 0:
        raise ValueError(f"repeat: expected {n} numbers of repeats, not negative, got {counts}")
    parts = split(x, n, i) if n else [x]
    return concatenate([repeat(p, r, i) for p, r in zip(parts, counts, strict=True)], i)


def tile(A: Any, reps: int | Sequence[int]) -> Array:  # noqa: N803
    """The whole array several times along each axis.

    >>> tile([1, 2], 2).tolist()
    [1, 2, 1, 2]
    """
    x = asarray(A)
    counts = integers("tile", "reps", reps)
    if min(counts, default=0) < 0:
        raise ValueError(f"tile: reps must not be negative, got {counts}")
    ndim = max(x.ndim, len(counts))
    own = (*[1] * (ndim - x.ndim), *x.shape)
    counts = (*[1] * (ndim - len(counts)), *counts)
    split_ = [d for n in own for d in (1, n)]
    full = [d for r, n in zip(counts, own, strict=True) for d in (r, n)]
    shape = [r * n for r, n in zip(counts, own, strict=True)]
    return make(x.uop.reshape(split_).expand(full).reshape(shape), x.weak_type)


def broadcast_arrays(*arrays: Any) -> list[Array]:
    """Arrays expanded to the shape that they have together."""
    xs = [asarray(x) for x in arrays]
    shape = broadcast_shapes(*[x.shape for x in xs])
    return [broadcast_to(x, shape) for x in xs]


def meshgrid(*xi: Any, indexing: str = "xy") -> list[Array]:
    """Coordinate arrays of a grid: one for each vector; "ij" without the swap of the first two.

    >>> [g.tolist() for g in meshgrid([1, 2], [3], indexing="ij")]
    [[[1], [2]], [[3], [3]]]
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(f"meshgrid: indexing must be 'xy' or 'ij', got {indexing!r}")
    xs = [ravel(x) for x in xi]
    order = list(range(len(xs)))
    if indexing == "xy" and len(xs) > 1:
        order[:2] = [1, 0]
    shape = [xs[i].shape[0] for i in order]
    return [broadcast_to(reshape(x, [-1 if order[k] == i else 1 for k in range(len(xs))]), shape)
            for i, x in enumerate(xs)]  # fmt: skip


def rot90(m: Any, k: int = 1, axes: Sequence[int] = (0, 1)) -> Array:
    """Turned by k right angles, from the first of two axes to the second."""
    x, k = asarray(m), integer("rot90", "k", k)
    i, j = canonical_axes("rot90", x, axes)
    i, j = (i, j) if canonical_axis("rot90", x, axes[0]) == i else (j, i)
    if k % 4 == 2:
        return flip(x, (i, j))
    if k % 4 == 0:
        return x.copy()
    return swapaxes(flip(x, j), i, j) if k % 4 == 1 else flip(swapaxes(x, i, j), j)


def matrix_transpose(x: Any, /) -> Array:
    """The last two axes swapped."""
    a = asarray(x)
    if a.ndim < 2:
        raise ValueError(f"matrix_transpose: expected at least two axes, got shape "
                         f"{show_shape(a.shape)}")  # fmt: skip
    return swapaxes(a, -1, -2)
