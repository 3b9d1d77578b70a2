"""Indexing: slices move indices; integer arrays gather."""

from __future__ import annotations

import math
import operator
from typing import Any

from anneal import errors
from anneal.array import Array, asarray, broadcast_shapes, make
from anneal.numpy import elementwise
from anneal.numpy.axes import canonical_axis, integer, is_integer
from anneal.numpy.manipulation import broadcast_to, reshape
from anneal.realization import is_known
from anneal.uop import dtypes, ops
from anneal.uop.show import dim_text
from anneal.uop.symbolic import lo, simplify_dim
from anneal.uop.uop import UOp, const, dim_uop, show_shape


def getitem(x: Any, key: Any) -> Array:
    """x[key], NumPy's: ints, slices, None, ..., integer arrays, and masks whose value is known.

    Negative indices count from the end; an index of an array that is outside is clamped, as in JAX.
    x[True] has a new axis of length 1 and x[False] one of length 0, as in NumPy.
    Raises IndexError for ints outside, masks that do not fit and too many indices, TypeError for
    index arrays of floats, NonConcreteBooleanIndexError for masks inside `jit`.

    >>> import anneal.numpy as anp
    >>> x = anp.arange(6).reshape(2, 3)
    >>> x[1, ::-1].tolist(), x[[0, 1], [2, 0]].tolist()
    ([5, 4, 3], [2, 3])
    """
    a = asarray(x)
    key, chosen = split_scalar_mask(key)
    keys = expanded_key(a, key)
    u = basic(a.uop, keys)
    arrays, axes, together = advanced(keys)
    if not arrays:
        if chosen is False:
            axis = sum(not isinstance(k, int) for k in keys[: keys.index(None)])
            u = u.shrink([(0, 0) if i == axis else (0, d) for i, d in enumerate(u.shape)])
        return make(u, a.weak_type)
    if not together:  # NumPy puts their axes first
        u = u.permute((*axes, *(i for i in range(u.ndim) if i not in axes)))
    return _gathered(u, axes[0] if together else 0, arrays, a.weak_type)


def split_scalar_mask(key: Any) -> tuple[Any, bool | None]:
    """The key with None in place of a mask of shape (), and that mask, None if there is none."""
    keys = key if isinstance(key, tuple) else (key,)
    at = [i for i, k in enumerate(keys) if _is_scalar_mask(k)]
    if not at:
        return key, None
    others = [i for i, k in enumerate(keys) if not (k is Ellipsis or isinstance(k, slice))]
    together = others == list(range(others[0], others[-1] + 1))
    if len(at) > 1 or not together or not all(i in at or is_integer(keys[i]) for i in others):
        raise IndexError("a boolean index of shape () goes together with slices, an ellipsis and "
                         "ints beside it; use x[None] or anneal.numpy.where")  # fmt: skip
    mask = keys[at[0]]
    if isinstance(mask, Array) and not is_known(mask.uop):
        raise errors.NonConcreteBooleanIndexError(
            "a boolean index of shape () makes a shape that depends on data, which jit does not "
            "know; use anneal.numpy.where(mask, x, other) instead"
        )
    return tuple(None if i in at else k for i, k in enumerate(keys)), bool(mask)


def _is_scalar_mask(k: Any) -> bool:
    if isinstance(k, bool):
        return True
    dtype = getattr(k, "dtype", None)
    return getattr(dtype, "kind", "") == "b" and getattr(k, "shape", None) == ()


def expanded_key(a: Array, key: Any) -> list[Any]:
    """A key for every axis: ints, slices, int32 Arrays, and None for new axes."""
    given = [_as_key(k) for k in (key if isinstance(key, tuple) else (key,))]
    places = [i for i, k in enumerate(given) if k is Ellipsis]
    if len(places) > 1:
        raise IndexError("an index can hold only one ellipsis")
    used = sum(map(_axes_used, given))
    if used > a.ndim:
        raise IndexError(f"{used} indices for an array of shape {show_shape(a.shape)}")
    at = places[0] if places else len(given)
    given = [*given[:at], *[slice(None)] * (a.ndim - used), *given[at + 1 :]]
    keys: list[Any] = []
    axis = 0
    for k in given:
        if isinstance(k, Array) and k.dtype.kind == "b":
            keys.extend(_of_mask(a, k, axis))
        else:
            keys.append(k)
        axis += _axes_used(k)
    return keys


def _axes_used(k: Any) -> int:
    """How many axes of the array a key stands for."""
    if isinstance(k, Array):
        return k.ndim if k.dtype.kind == "b" else 1
    return int(k is not None and k is not Ellipsis)


def _as_key(k: Any) -> Any:
    """A key as None, an ellipsis, a slice, an int, or an Array: of int32, or a mask."""
    if k is None or k is Ellipsis or isinstance(k, slice):
        return k
    if isinstance(k, str | bytes):
        raise TypeError(f"an index must be of ints, slices and integer arrays, got {k!r}")
    if is_integer(k) and not isinstance(k, Array):
        return integer("index", "an index", k)
    i = index_data(k)
    if i.dtype.kind == "b":
        return i
    if not i.dtype.is_int:
        if not i.size:  # an empty list
            return i.astype(dtypes.int32)
        raise TypeError(f"index arrays must be integers, got {i.dtype}")
    return int(i.item()) if i.shape == () and i.uop.op is ops.CONST else as_index(i)


def index_data(k: Any) -> Array:
    """Indices as an Array. Small integers on the host become int32 there: a device need not have
    their dtype to look something up."""
    if isinstance(k, Array):
        return k
    kind = getattr(getattr(k, "dtype", None), "kind", "")
    if kind in ("i", "u") and k.dtype.itemsize < 4:
        import numpy as np

        k = np.asarray(k).astype(np.int32)
    return asarray(k)


def as_index(i: Array) -> Array:
    """Integers as int32, in which -1 and the length of an axis are what they are; an unsigned
    number beyond it is outside of every axis, and stays so as the greatest int32."""
    if i.dtype is dtypes.uint32:
        return elementwise.minimum(i, 2**31 - 1).astype(dtypes.int32)
    return i if i.dtype is dtypes.int32 else i.astype(dtypes.int32)


def reachable(n: Any) -> Any:
    """`n`, the length of an axis that index arrays name. OverflowError beyond int32."""
    if isinstance(n, int) and n >= 2**31:
        raise OverflowError(f"index arrays are int32 and do not reach all {n} elements of an axis, "
                            "or of the axes that they index together; index with ints or slices")
    return n


def _of_mask(a: Array, mask: Array, axis: int) -> list[Any]:
    """The index arrays that a mask of the axes from `axis` on means."""
    if not is_known(mask.uop):
        raise errors.NonConcreteBooleanIndexError(
            f"a boolean index of shape {show_shape(mask.shape)} makes a shape that depends on "
            "data, which jit does not know; use anneal.numpy.where(mask, x, other), or "
            "x.at[mask].set(other), instead"
        )
    own = a.shape[axis : axis + mask.ndim]
    if mask.shape != own:
        raise IndexError(f"a boolean index of shape {show_shape(mask.shape)} for axes of shape "
                         f"{show_shape(own)} of an array of shape {show_shape(a.shape)}"
                         )  # fmt: skip
    import numpy as np

    return [asarray(places.astype(np.int32)) for places in np.nonzero(mask.numpy())]


def basic(u: UOp, keys: list[Any]) -> UOp:
    """The part of an index that ints, slices and None make; arrays leave their axis alone."""
    shape, axis = u.shape, 0
    for k in keys:
        if k is None:
            u = u.reshape((*u.shape[:axis], 1, *u.shape[axis:]))
            axis += 1
        elif isinstance(k, slice):
            u = _sliced(u, axis, k)
            axis += 1
        elif isinstance(k, int):
            u = _picked(u, axis, k, shape)
        else:
            axis += 1
    return u


def advanced(keys: list[Any]) -> tuple[list[Array], list[int], bool]:
    """The index arrays, the axes that they index after `basic`, and whether their result goes in
    place of these axes: where no slice or None stands between arrays (and ints)."""
    arrays, axes, places, axis = [], [], [], 0
    for place, k in enumerate(keys):
        if isinstance(k, int):
            places.append(place)
            continue
        if isinstance(k, Array):
            arrays.append(k)
            axes.append(axis)
            places.append(place)
        axis += 1
    return arrays, axes, places == list(range(places[0], places[-1] + 1)) if places else True


def _picked(u: UOp, axis: int, k: int, shape: Any) -> UOp:
    n = u.shape[axis]
    if isinstance(n, int) and not -n <= k < n:
        raise IndexError(f"index {k} is out of range for axis of length {n} of an array of shape "
                         f"{show_shape(shape)}")  # fmt: skip
    at = k if k >= 0 else n + k
    bounds = [(at, at + 1) if i == axis else (0, d) for i, d in enumerate(u.shape)]
    u = u.shrink(bounds)
    return u.reshape([d for i, d in enumerate(u.shape) if i != axis])


def _sliced(u: UOp, axis: int, k: slice) -> UOp:
    n = u.shape[axis]
    if k == slice(None):
        return u
    if not isinstance(n, int):
        return _sliced_symbolic(u, axis, k, n)
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


def _sliced_symbolic(u: UOp, axis: int, k: slice, n: UOp) -> UOp:
    """A slice whose ends are inside for every length that the axis can have."""
    if k.step == -1 and k.start is None and k.stop is None:
        return u.flip((axis,))
    if k.step not in (None, 1):
        raise TypeError(f"a symbolic axis of length {dim_text(n)} has slices of step 1 only, and "
                        f"[::-1], got step {k.step}")  # fmt: skip
    start, stop = (end if end is None else operator.index(end) for end in (k.start, k.stop))
    need = max(-v if v < 0 else v for v in (start or 0, stop or 0))
    if lo(n) < need or (stop is not None and (start or 0) * stop > 0 and (start or 0) > stop):
        raise TypeError(f"the slice {start}:{stop} of a symbolic axis of length {dim_text(n)} "
                        f"needs at least {need} elements, in order; the axis may have {lo(n)}: "
                        f"give it that bound")  # fmt: skip
    first = simplify_dim(n + start) if start is not None and start < 0 else start or 0
    last = n if stop is None else stop if stop >= 0 else simplify_dim(n + stop)
    length = simplify_dim(dim_uop(last) - dim_uop(first))
    if (lo(length) if isinstance(length, UOp) else length) < 0:
        raise TypeError(f"whether the slice {start}:{stop} of a symbolic axis of length "
                        f"{dim_text(n)} is empty depends on it")  # fmt: skip
    return u.shrink([(first, last) if i == axis else (0, d) for i, d in enumerate(u.shape)])


def _not_empty(n: Any, index: Any) -> None:
    if isinstance(n, int) and not n and index.size:
        raise IndexError("an axis of length 0 has no elements to index")


def _gathered(u: UOp, axis: int, indices: list[Array], weak: bool) -> Array:
    if len(indices) == 2 and _counts(indices[0], u.shape[axis]):
        i, shape = indices[1], (*u.shape[: axis + 1], 1, *u.shape[axis + 2 :])
        if i.shape == indices[0].shape:  # x[arange(n), i]: one element of each row
            index = _wrapped(i, u.shape[axis + 1]).uop
            index = index.reshape([d if k == axis else 1 for k, d in enumerate(shape)])
            out = u.gather(index.expand(shape), axis + 1)
            return make(out.reshape((*shape[: axis + 1], *shape[axis + 2 :])), weak)
    flat, rows = linear_index(indices, u.shape[axis : axis + len(indices)])
    _not_empty(rows, flat)
    before, after = u.shape[:axis], u.shape[axis + len(indices) :]
    x = u.reshape((*before, rows, *after))
    count = flat.uop.size
    index = flat.uop.reshape((*[1] * len(before), count, *[1] * len(after)))
    out = x.gather(index.broadcast_to((*before, count, *after)), axis)
    return make(out.reshape((*before, *flat.shape, *after)), weak)


def _counts(index: Array, n: Any) -> bool:
    """Whether `index` is arange(n)."""
    return index.uop.op is ops.ARANGE and index.uop.shape == (n,)


def linear_index(indices: list[Array], dims: Any) -> tuple[Array, Any]:
    """Index arrays for neighbouring axes of lengths `dims` as one index of these axes flattened,
    and its range. Every index but a lone one, which GATHER clamps itself, is clamped."""
    if len(indices) == 1:
        return _wrapped(indices[0], dims[0]), dims[0]
    flat: Any = None
    rows: Any = 1
    try:
        for i, d in zip(indices, dims, strict=True):
            i = elementwise.clip(_wrapped(i, d), 0, d - 1)
            flat = i if flat is None else flat * d + i
            rows = reachable(rows * d)
    except ValueError:
        shapes = ", ".join(show_shape(i.shape) for i in indices)
        raise IndexError(f"index arrays of shapes {shapes} do not broadcast") from None
    return flat, rows


def _wrapped(index: Array, n: Any) -> Array:
    """An int32 index; negative ones count from the end."""
    if index.uop.op is ops.ARANGE:
        return index
    return elementwise.where(index < 0, index + reachable(n), index)


def _mode(name: str, mode: str | None) -> str:
    if mode not in (None, "fill", "clip", "wrap"):
        raise ValueError(f"{name}: mode must be 'fill', 'clip' or 'wrap', got {mode!r}")
    return mode or "fill"


def _filled(out: Array, index: Array, n: Any) -> Array:
    """`out` where the index was inside."""
    inside = elementwise.logical_and(index >= -n, index < n)
    return elementwise.where(inside, out, _fill(out, out))


def _fill(like: Array, x: Array) -> Array:
    """What indices outside of x give, in the shape of `like`: NaN, or the integer farthest from
    0."""
    kind = x.dtype
    fill = math.nan if kind.is_float else kind.min if kind.kind == "i" else kind.max
    return make(x.uop.const_like(fill).broadcast_to(like.shape), x.weak_type)


def take_along_axis(x: Any, indices: Any, axis: int | None = -1, mode: str | None = None) -> Array:
    """out[.. i ..] = x[.. indices[.. i ..] ..]: the other axes agree or are of length 1.

    Negative indices count from the end. An index outside gives NaN ("fill", as in JAX: for
    integers, the least or, unsigned, the greatest), the nearest element ("clip") or starts over
    ("wrap").

    >>> take_along_axis([[1, 2], [3, 4]], [[0], [1]], axis=1).tolist()
    [[1], [4]]
    """
    a, i = asarray(x), index_data(indices)
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
    a, i = broadcast_to(a, (*full[:axis], n, *full[axis:])), as_index(i)
    i = broadcast_to(i, (*full[:axis], i.shape[axis], *full[axis:]))
    if mode == "fill" and isinstance(n, int) and not n:
        return _fill(i, a)
    _not_empty(n, i)
    index = elementwise.remainder(i, n) if mode == "wrap" else _wrapped(i, n)
    out = make(a.uop.gather(index.uop, axis), a.weak_type)
    return _filled(out, i, n) if mode == "fill" else out


def take(x: Any, indices: Any, axis: int | None = None, mode: str | None = None) -> Array:
    """Slices of x along an axis (flattened, for None), in the order of `indices`.

    `mode` says what an index outside gives, as in `take_along_axis`; to "clip", as in NumPy and
    JAX, negative indices are outside too. Raises IndexError for an empty axis but to "fill".

    >>> take([10, 20, 30], [2, 0]).tolist()
    [30, 10]
    """
    a, i = asarray(x), index_data(indices)
    mode = _mode("take", mode)
    if not i.dtype.is_int:
        raise TypeError(f"take: indices must be integers, got {i.dtype}")
    if axis is None:
        a, axis = reshape(a, -1), 0
    axis = canonical_axis("take", a, axis)
    n, i = reachable(a.shape[axis]), as_index(i)
    if mode == "fill" and isinstance(n, int) and not n:
        shape = (*a.shape[:axis], *i.shape, *a.shape[axis + 1 :])
        return _fill(make(const(0, dtypes.int32).expand(shape)), a)
    if mode == "fill":
        inside = i
    else:
        inside = elementwise.remainder(i, n) if mode == "wrap" else elementwise.clip(i, 0, n - 1)
    out = _gathered(a.uop, axis, [inside], a.weak_type)
    if mode != "fill":
        return out
    return _filled(out, reshape(i, (*i.shape, *[1] * (a.ndim - axis - 1))), n)
