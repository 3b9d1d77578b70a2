"""Primitives with jax.lax's names and signatures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anneal.numpy as anp
from anneal.array import Array, asarray, make, promote
from anneal.numpy.axes import integer, integers
from anneal.numpy.special import erf, erf_inv
from anneal.numpy.updates import spaced
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.uop import Dim, UOp, const, show_shape

__all__ = [
    "conv", "conv_general_dilated", "dynamic_slice", "dynamic_update_slice", "erf", "erf_inv",
    "reduce_window", "rsqrt", "stop_gradient",
]  # fmt: skip


def stop_gradient(x: Any) -> Array:
    """x, through which no derivative flows."""
    a = asarray(x)
    return make(a.uop.alu(ops.STOP_GRADIENT), a.weak_type)


def conv_general_dilated(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    lhs_dilation: Sequence[int] | None = None,
    rhs_dilation: Sequence[int] | None = None,
    dimension_numbers: Sequence[str] | None = None,
    feature_group_count: int = 1,
) -> Array:
    """A convolution: lhs (n, c, *space), rhs (out, c, *kernel), result (n, out, *space).

    `padding` is "VALID", "SAME" or (before, after) for each axis of space. `dimension_numbers`
    names the axes of lhs, rhs and result where they are in another order, as ("NHWC", "HWIO",
    "NHWC"). `lhs_dilation` puts zeros between the elements of lhs (a transposed convolution),
    `rhs_dilation` between those of the kernel. With `feature_group_count` groups of channels, each
    makes its own part of the outputs, and rhs has c / groups channels. Windows are index
    arithmetic: nothing is unfolded. 16-bit floats are summed in float32. Raises ValueError where
    shapes or counts do not fit.

    Source: https://docs.jax.dev/en/latest/_autosummary/jax.lax.conv_general_dilated.html

    >>> conv_general_dilated([[[1.0, 2.0, 3.0]]], [[[1.0, 1.0]]], (1,), "VALID").tolist()
    [[[3.0, 5.0]]]
    """
    name = "conv_general_dilated"
    (a, b), dtype, _ = promote(lhs, rhs)
    if a.ndim != b.ndim or a.ndim < 2:
        raise ValueError(f"{name}: lhs {show_shape(a.shape)} and rhs {show_shape(b.shape)} need "
                         f"equally many axes, two or more")
    orders = _axis_orders(name, dimension_numbers, a.ndim)
    x, w = a.uop.permute(orders[0]), b.uop.permute(orders[1])
    n, groups = a.ndim - 2, integer(name, "feature_group_count", feature_group_count)
    c, o = _ints(name, "lhs", x.shape[1:2])[0], _ints(name, "rhs", w.shape[:1])[0]
    if groups < 1 or c != groups * w.shape[1] or o % groups:
        grouped = f" in {groups} groups (feature_group_count)" if groups != 1 else ""
        raise ValueError(f"{name}: lhs {show_shape(a.shape)} and rhs {show_shape(b.shape)} need "
                         f"equally many channels (axis {orders[0][1]}){grouped}, got {c} and "
                         f"{w.shape[1]}")
    space, kernel = _ints(name, "lhs", x.shape[2:]), _ints(name, "rhs", w.shape[2:])
    strides = _steps(name, "window_strides", window_strides, n)
    dilation = _steps(name, "rhs_dilation", rhs_dilation, n)
    for i, step in enumerate(_steps(name, "lhs_dilation", lhs_dilation, n)):
        x = spaced(x, 2 + i, step)
        space = (*space[:i], _ints(name, "lhs", x.shape[2 + i : 3 + i])[0], *space[i + 1 :])
    x = x.pad([(0, 0), (0, 0), *_padding(name, padding, space, kernel, strides, dilation)])
    for i in range(n):
        x = _windows(name, x, 2 + i, kernel[i], strides[i], dilation[i])
    wide = dtypes.float32 if dtype.is_float and dtype.bits == 16 else dtype
    out = _summed(x.cast(wide), w.cast(wide), n, groups).cast(dtype)
    inverse = sorted(range(n + 2), key=orders[2].__getitem__)
    return make(out.permute(inverse))


def _summed(x: UOp, w: UOp, n: int, groups: int) -> UOp:
    """Windows (batch, c, *space, *kernel) times kernels (out, c / groups, *kernel), summed."""
    batch, o, c = x.shape[0], w.shape[0], w.shape[1]
    out, kernel = x.shape[2 : 2 + n], w.shape[2:]
    if groups == 1:
        full: tuple[Dim, ...] = (batch, o, c, *out, *kernel)
        left = x.reshape((batch, 1, c, *out, *kernel)).expand(full)
        right = w.reshape((1, o, c, *[1] * n, *kernel)).expand(full)
        return (left * right).reduce("add", (2, *range(3 + n, 3 + 2 * n)))
    assert isinstance(o, int)
    full = (batch, groups, o // groups, c, *out, *kernel)
    left = x.reshape((batch, groups, 1, c, *out, *kernel)).expand(full)
    right = w.reshape((1, groups, o // groups, c, *[1] * n, *kernel)).expand(full)
    summed = (left * right).reduce("add", (3, *range(4 + n, 4 + 2 * n)))
    return summed.reshape((batch, o, *out))


def _axis_orders(name: str, numbers: Sequence[str] | None, ndim: int) -> list[tuple[int, ...]]:
    """For lhs, rhs and result, where the axes N C, O I and N C, then those of space, stand."""
    if numbers is None:
        return [tuple(range(ndim))] * 3
    if len(numbers) != 3 or any(len(set(t)) != ndim or len(t) != ndim for t in numbers):
        raise ValueError(f"{name}: dimension_numbers must be three texts of {ndim} different "
                         f"letters, as ('NCHW', 'OIHW', 'NCHW'), got {tuple(numbers)}")
    space = [c for c in numbers[0] if c not in "NC"]
    orders = []
    for text, first in zip(numbers, ("NC", "OI", "NC"), strict=True):
        if set(text) != {*first, *space}:
            raise ValueError(f"{name}: dimension_numbers {text!r} must have the letters {first} "
                             f"and {''.join(space)}, those of space in {numbers[0]!r}")
        orders.append(tuple(text.index(c) for c in (*first, *space)))
    return orders


def conv(lhs: Any, rhs: Any, window_strides: Sequence[int],
         padding: str | Sequence[tuple[int, int]]) -> Array:  # fmt: skip
    """`conv_general_dilated` with neither dilation nor groups."""
    return conv_general_dilated(lhs, rhs, window_strides, padding)


def reduce_window(
    operand: Any,
    init_value: bool | int | float,
    computation: Callable[[Any, Any], Any],
    window_dimensions: Sequence[int],
    window_strides: Sequence[int] | None = None,
    padding: str | Sequence[tuple[int, int]] = "VALID",
    window_dilation: Sequence[int] | None = None,
) -> Array:
    """`operand` combined over every window; each argument has an entry for every axis.

    `computation` is anneal.numpy's add, multiply, maximum or minimum, and `init_value`, which also
    stands in the padding, its identity (0, 1, or the infinity or extreme integer that loses every
    comparison). 16-bit floats are added and multiplied in float32. Raises ValueError for another
    computation or value, or where windows do not fit.

    >>> reduce_window([1.0, 5.0, 2.0], -anp.inf, anp.maximum, (2,), (1,), "VALID").tolist()
    [5.0, 5.0]
    """
    name = "reduce_window"
    a = asarray(operand)
    how = _COMBINES.get(computation)
    if how is None:
        raise ValueError(f"{name}: computation must be anneal.numpy's add, multiply, maximum or "
                         f"minimum, got {computation!r}")
    identity = _identity(how, a.dtype)
    if init_value != identity:
        raise ValueError(f"{name}: init_value must be {identity}, the identity of "
                         f"{computation.__name__} on {a.dtype}, got {init_value}")
    n = a.ndim
    shape = _ints(name, "operand", a.shape)
    sizes = _steps(name, "window_dimensions", window_dimensions, n)
    strides = _steps(name, "window_strides", window_strides, n)
    dilation = _steps(name, "window_dilation", window_dilation, n)
    pads = _padding(name, padding, shape, sizes, strides, dilation)
    x = _padded(a.uop, pads, identity)
    by = []
    for i in range(n):
        if sizes[i] != 1 or strides[i] != 1:
            by.append(x.ndim)
            x = _windows(name, x, i, sizes[i], strides[i], dilation[i])
    exact = how in ("max", "min") or not a.dtype.is_float or a.dtype.bits != 16
    out = (x if exact else x.cast(dtypes.float32)).reduce(how, by)
    return make(out.cast(a.dtype), a.weak_type)


_COMBINES: dict[Callable[..., Any], str] = {
    anp.add: "add", anp.multiply: "mul", anp.maximum: "max", anp.minimum: "min"}  # fmt: skip


def _identity(how: str, dtype: DType) -> int | float:
    if how in ("add", "mul"):
        return int(how == "mul")
    if dtype.is_float:
        return -anp.inf if how == "max" else anp.inf
    return dtype.min if how == "max" else dtype.max


def _padded(x: UOp, pads: list[tuple[int, int]], value: int | float) -> UOp:
    if value == 0 or not any(lo or hi for lo, hi in pads):
        return x.pad(pads)
    inside = const(True, dtypes.bool_).expand(x.shape).pad(pads)
    return inside.where(x.pad(pads), value)


def _ints(name: str, argument: str, shape: Sequence[Any]) -> tuple[int, ...]:
    if not all(isinstance(d, int) for d in shape):
        raise TypeError(f"{name}: {argument} {show_shape(tuple(shape))} must have known lengths "
                        f"where windows move")
    return tuple(shape)


def _steps(name: str, argument: str, given: Sequence[int] | None, n: int) -> tuple[int, ...]:
    """One positive integer for each of n axes; None: ones."""
    if given is None:
        return (1,) * n
    out = integers(name, argument, given)
    if len(out) != n or any(s < 1 for s in out):
        raise ValueError(f"{name}: {argument} needs {n} positive integers, one for each axis that "
                         f"windows move along, got {out}")
    return out


def _padding(name: str, padding: Any, space: tuple[int, ...], kernel: tuple[int, ...],
             strides: tuple[int, ...], dilation: tuple[int, ...]) -> list[tuple[int, int]]:
    if not isinstance(padding, str):
        pairs = [(integer(name, "padding", lo), integer(name, "padding", hi)) for lo, hi in padding]
        if len(pairs) != len(space) or any(lo < 0 or hi < 0 for lo, hi in pairs):
            raise ValueError(f"{name}: padding needs {len(space)} pairs (before, after), none "
                             f"negative, got {pairs}")
        return pairs
    if padding == "VALID":
        return [(0, 0)] * len(space)
    if padding != "SAME":
        raise ValueError(f"{name}: padding must be 'SAME', 'VALID' or pairs, got {padding!r}")
    out = []
    for d, k, s, e in zip(space, kernel, strides, dilation, strict=True):
        total = max(0, (-(-d // s) - 1) * s + (k - 1) * e + 1 - d)
        out.append((total // 2, total - total // 2))
    return out


def _windows(name: str, x: UOp, axis: int, size: int, stride: int, dilation: int) -> UOp:
    """Windows along `axis`: the places stay there, the window's own axis is appended."""
    length = x.shape[axis] - (size - 1) * dilation
    by = x.ndim
    if not isinstance(length, int) or length <= 0:
        raise ValueError(f"{name}: a window of {size} (dilation {dilation}) does not fit in axis "
                         f"{axis}, whose length with padding is {x.shape[axis]}")
    x = x.reshape((*x.shape, 1)).expand((*x.shape, size)).shear(axis, by, dilation, 0, length)
    if stride == 1:
        return x
    count = -(-length // stride)
    x = x.pad([(0, count * stride - length) if i == axis else (0, 0) for i in range(x.ndim)])
    shape = x.shape
    x = x.reshape((*shape[:axis], count, stride, *shape[axis + 1 :]))
    x = x.shrink([(0, 1) if i == axis + 1 else (0, d) for i, d in enumerate(x.shape)])
    return x.reshape((*shape[:axis], count, *shape[axis + 1 :]))


def rsqrt(x: Any) -> Array:
    """1 / sqrt(x)."""
    return anp.reciprocal(anp.sqrt(x))


def dynamic_slice(operand: Any, start_indices: Sequence[Any], slice_sizes: Sequence[int]) -> Array:
    """The part of `slice_sizes` that begins at indices which may be traced; moved inside if it
    would reach out.

    >>> dynamic_slice([1, 2, 3, 4], [anp.asarray(3)], [2]).tolist()
    [3, 4]
    """
    a = asarray(operand)
    starts = list(start_indices)
    sizes = integers("dynamic_slice", "slice_sizes", slice_sizes)
    if len(starts) != a.ndim or len(sizes) != a.ndim:
        raise ValueError(f"dynamic_slice: expected a start and a size for each axis of "
                         f"{show_shape(a.shape)}, got {len(starts)} and {len(sizes)}")
    for axis, (start, size) in enumerate(zip(starts, sizes, strict=True)):
        n = _ints("dynamic_slice", "operand", a.shape[axis : axis + 1])[0]
        if not 0 <= size <= n:
            raise ValueError(f"dynamic_slice: size {size} does not fit axis {axis} of "
                             f"{show_shape(a.shape)}")
        if size != n:
            index = anp.arange(size) + _start(start, n, size)
            a = anp.take(a, index, axis, mode="clip")
    return a.copy()


def dynamic_update_slice(operand: Any, update: Any, start_indices: Sequence[Any]) -> Array:
    """`operand` with `update` in the place that begins at indices which may be traced; moved
    inside if it would reach out."""
    a, v = asarray(operand), asarray(update)
    starts = list(start_indices)
    if v.ndim != a.ndim or len(starts) != a.ndim or any(
        s > d for s, d in zip(v.shape, a.shape, strict=True)
    ):
        raise ValueError(f"dynamic_update_slice: update {show_shape(v.shape)} at {len(starts)} "
                         f"indices does not fit in operand {show_shape(a.shape)}")
    inside: Any = True
    v = v.astype(a.dtype)
    for axis, (start, n) in enumerate(zip(starts, a.shape, strict=True)):
        size = v.shape[axis]
        place = anp.arange(n) - _start(start, n, size)
        v = anp.take(v, place, axis, mode="clip")
        here = (place >= 0) & (place < size)
        inside = anp.reshape(here, [n if i == axis else 1 for i in range(a.ndim)]) & inside
    return anp.where(inside, v, a) if a.ndim else v


def _start(start: Any, n: int, size: int) -> Array:
    index = asarray(start).astype(dtypes.int32)
    return anp.clip(anp.where(index < 0, index + n, index), 0, n - size)
