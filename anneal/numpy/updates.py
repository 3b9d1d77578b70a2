"""`x.at[index]`: new arrays that differ from x in some elements.

Slices and ints: the values are padded to their places, and a mask of padded ones chooses. Index
arrays: the updates of each element scatter into one, a sum, product or extreme; for `set` it is the
number of the last. Updates outside of x are dropped, as in JAX.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from anneal.array import Array, asarray, make
from anneal.numpy import elementwise
from anneal.numpy.indexing import (
    advanced,
    basic,
    expanded_key,
    getitem,
    reachable,
    split_scalar_mask,
)
from anneal.uop import dtypes, ops
from anneal.uop import uop as graph
from anneal.uop.uop import UOp, const, show_shape

_COMBINE: dict[str, Callable[[Any, Any], Array]] = {
    "set": lambda x, v: asarray(v),
    "add": elementwise.add, "multiply": elementwise.multiply, "min": elementwise.minimum,
    "max": elementwise.maximum, "divide": elementwise.true_divide, "power": elementwise.power,
}  # fmt: skip
_REDUCE = {"add": "add", "multiply": "mul", "min": "min", "max": "max", "divide": "mul",
           "power": "mul"}  # fmt: skip


class At:
    """`x.at`: indexed like x, it gives the updates of that part.

    >>> import anneal.numpy as anp
    >>> anp.zeros(4).at[1:3].set(5.0).tolist()
    [0.0, 5.0, 5.0, 0.0]
    """

    __slots__ = ("_array",)

    def __init__(self, array: Array) -> None:
        self._array = array

    def __getitem__(self, key: Any) -> Update:
        return Update(self._array, key)

    def __repr__(self) -> str:
        return f"At({self._array!r})"


class Update:
    """`x.at[index]`, with what can be done to that part of x. x itself never changes."""

    __slots__ = ("_array", "_key")

    def __init__(self, array: Array, key: Any) -> None:
        self._array = array
        self._key = key

    def set(self, values: Any) -> Array:
        """`values` there."""
        return _updated(self._array, self._key, "set", values)

    def add(self, values: Any) -> Array:
        """`values` added, as often as an index array names an element.

        >>> import anneal.numpy as anp
        >>> anp.zeros(3).at[[0, 2, 2]].add(1.0).tolist()
        [1.0, 0.0, 2.0]
        """
        return _updated(self._array, self._key, "add", values)

    def subtract(self, values: Any) -> Array:
        """`values` subtracted."""
        return _updated(self._array, self._key, "add", elementwise.negative(values))

    def multiply(self, values: Any) -> Array:
        """Multiplied by `values`."""
        return _updated(self._array, self._key, "multiply", values)

    mul = multiply

    def divide(self, values: Any) -> Array:
        """Divided by `values`."""
        return _updated(self._array, self._key, "divide", values)

    def power(self, values: Any) -> Array:
        """Raised to `values`."""
        return _updated(self._array, self._key, "power", values)

    def min(self, values: Any) -> Array:
        """The smaller of each element and its value."""
        return _updated(self._array, self._key, "min", values)

    def max(self, values: Any) -> Array:
        """The greater of each element and its value."""
        return _updated(self._array, self._key, "max", values)

    def apply(self, function: Callable[[Array], Any]) -> Array:
        """`function` of that part, once."""
        here = getitem(self._array, self._key)
        return _updated(self._array, self._key, "set", function(here))

    def get(self) -> Array:
        """That part."""
        return getitem(self._array, self._key)


def _updated(x: Array, key: Any, how: str, values: Any) -> Array:
    v = asarray(values)
    if v.dtype is not x.dtype:
        v = v.astype(x.dtype)
    key, chosen = split_scalar_mask(key)
    if chosen is False:
        return x
    mask = _mask(x, key)
    if mask is not None and v.ndim <= x.ndim - mask.ndim:
        where = mask.reshape(*mask.shape, *[1] * (x.ndim - mask.ndim))
        return _chosen(where, how, x, v)
    keys = expanded_key(x, key)
    arrays, axes, together = advanced(keys)
    part = basic(x.uop, keys)
    if arrays:
        new = _scattered(part, arrays, axes, together, how, v)
        how = "set"
    else:
        new = _spread(v, part.shape, x)
    if part is x.uop:
        return _chosen(None, how, x, make(new))
    inside = _placed(const(True, dtypes.bool_).expand(part.shape), keys, x.shape)
    return _chosen(make(inside), how, x, make(_placed(new, keys, x.shape)))


def _mask(x: Array, key: Any) -> Array | None:
    """The key, if it is one mask for the first axes of x."""
    if isinstance(key, tuple | slice | int) or key is None or key is Ellipsis:
        return None
    mask = asarray(key)
    fits = mask.dtype.kind == "b" and mask.ndim and mask.shape == x.shape[: mask.ndim]
    return mask if fits else None


def _chosen(mask: Array | None, how: str, x: Array, v: Array) -> Array:
    new = _COMBINE[how](x, v).astype(x.dtype)
    return new if mask is None else elementwise.where(mask, new, x)


def _spread(v: Array, shape: Any, x: Array) -> UOp:
    try:
        return v.uop.broadcast_to(tuple(shape))
    except ValueError:
        raise ValueError(f"at: values of shape {show_shape(v.shape)} do not broadcast to the "
                         f"indexed part, of shape {show_shape(shape)}, of an array of shape "
                         f"{show_shape(x.shape)}") from None  # fmt: skip


def _placed(v: UOp, keys: list[Any], shape: Any) -> UOp:
    """The adjoint of `basic`: v where the keys select, zeros elsewhere."""
    own = [k for k in keys if k is not None]
    dims: list[Any] = []
    given = iter(v.shape)
    for k in keys:
        if isinstance(k, int):
            dims.append(1)
        elif k is None:
            next(given)
        else:
            dims.append(next(given))
    v = v.reshape(dims)
    pads: list[tuple[Any, Any]] = []
    for axis, (k, n) in enumerate(zip(own, shape, strict=True)):
        count: Any = v.shape[axis]
        start, step = 0, 1
        if isinstance(k, int):
            start = k % n
        elif isinstance(k, slice) and k != slice(None):
            start, _, step = k.indices(n)
        if not count:
            pads.append((0, n))
            continue
        if step < 0:
            start, step, v = start + (count - 1) * step, -step, v.flip((axis,))
        v = spaced(v, axis, step)
        pads.append((start, n - start - v.shape[axis]))
    return v if not any(p != (0, 0) for p in pads) else v.pad(pads)


def spaced(v: UOp, axis: int, step: int) -> UOp:
    """step - 1 zeros between neighbours along an axis."""
    n = v.shape[axis]
    if step == 1 or not isinstance(n, int) or n < 2:
        return v
    shape = v.shape
    v = v.reshape((*shape[: axis + 1], 1, *shape[axis + 1 :]))
    v = v.pad([(0, step - 1) if i == axis + 1 else (0, 0) for i in range(v.ndim)])
    v = v.reshape((*shape[:axis], n * step, *shape[axis + 1 :]))
    return v.shrink([(0, (n - 1) * step + 1) if i == axis else (0, d)
                     for i, d in enumerate(v.shape)])  # fmt: skip


def _flat(indices: list[Array], dims: Any) -> tuple[UOp, Any]:
    """One index of the axes flattened, -1 where an index is outside."""
    flat: Any = 0
    inside: Any = None
    rows: Any = 1
    for i, n in zip(indices, dims, strict=True):
        at = elementwise.where(i < 0, i + n, i)
        valid = elementwise.logical_and(at >= 0, at < n)
        inside = valid if inside is None else elementwise.logical_and(inside, valid)
        flat, rows = flat * n + at, reachable(rows * n)
    return elementwise.where(inside, flat, -1).uop, rows


def _scattered(u: UOp, indices: list[Array], axes: list[int], together: bool, how: str,
               v: Array) -> UOp:  # fmt: skip
    """u with v combined into the elements that index arrays for `axes` name."""
    order = (*axes, *(i for i in range(u.ndim) if i not in axes))
    at = axes[0] if together else 0
    moved = u if together else u.permute(order)
    end = at + len(axes)
    index, rows = _flat(indices, moved.shape[at:end])
    before, after = moved.shape[:at], moved.shape[end:]
    values = _spread(v, (*before, *index.shape, *after), make(u))
    count = index.size
    x = moved.reshape((*before, rows, *after))
    new = _combined(x, index.reshape((count,)), values.reshape((*before, count, *after)), at, how)
    out = new.reshape(moved.shape)
    inverse = sorted(range(u.ndim), key=order.__getitem__)
    return out if together else out.permute(inverse)


def _combined(x: UOp, index: UOp, v: UOp, axis: int, how: str) -> UOp:
    """x with v[.. j ..] combined into x[.. index[j] ..] along an axis."""
    rows, count = x.shape[axis], index.shape[0]
    if how == "set":
        number = (index < 0).where(-1, graph.arange(count, dtypes.int32))
        last = graph.scatter("max", index, number, 0, rows)
        around = [rows if i == axis else 1 for i in range(x.ndim)]
        last = last.reshape(around).expand(x.shape)
        return (last < 0).where(x, v.gather(last, axis)) if count else x
    at = index.reshape([count if i == axis else 1 for i in range(v.ndim)]).expand(v.shape)
    reduction = _REDUCE[how]
    if x.dtype.kind == "b":  # as integers: or is their maximum, and their minimum
        reduction = {"add": "max", "mul": "min"}.get(reduction, reduction)
        given = (at < 0).where(int(reduction == "min"), v.cast(dtypes.int32))
        total = UOp(ops.LT, x.dtype, (const(0, dtypes.int32),
                                      graph.scatter(reduction, at, given, axis, rows)))  # fmt: skip
    else:
        wide = x.dtype.is_float and x.dtype.bits == 16
        given = v.cast(dtypes.float32) if wide else v
        least, greatest = given.dtype.min, given.dtype.max
        nothing = {"add": 0, "mul": 1, "min": greatest, "max": least}[reduction]
        given = (at < 0).where(nothing, given)
        total = graph.scatter(reduction, at, given, axis, rows).cast(x.dtype)
    return _COMBINE[how](make(x), make(total)).astype(x.dtype).uop
