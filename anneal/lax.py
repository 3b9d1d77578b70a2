"""Primitives with jax.lax's names and signatures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anneal.numpy as anp
from anneal.array import Array, asarray, make, promote
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.uop import UOp, const, show_shape


def stop_gradient(x: Any) -> Array:
    """x, through which no derivative flows."""
    a = asarray(x)
    return make(a.uop.alu(ops.STOP_GRADIENT), a.weak_type)


def conv_general_dilated(
    lhs: Any,
    rhs: Any,
    window_strides: Sequence[int],
    padding: str | Sequence[tuple[int, int]],
    rhs_dilation: Sequence[int] | None = None,
) -> Array:
    """A convolution: lhs (n, c, *space), rhs (out, c, *kernel), result (n, out, *space).

    `padding` is "VALID", "SAME" or (before, after) for each axis of space. Windows are index
    arithmetic: nothing is unfolded. 16-bit floats are summed in float32. Raises ValueError where
    shapes or counts do not fit.

    >>> conv_general_dilated([[[1.0, 2.0, 3.0]]], [[[1.0, 1.0]]], (1,), "VALID").tolist()
    [[[3.0, 5.0]]]
    """
    name = "conv_general_dilated"
    (a, b), dtype, _ = promote(lhs, rhs)
    if a.ndim != b.ndim or a.ndim < 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"{name}: lhs {show_shape(a.shape)} and rhs {show_shape(b.shape)} need "
                         f"equally many axes, two or more, and equally many channels (axis 1)")
    n = a.ndim - 2
    space, kernel = _ints(name, "lhs", a.shape[2:]), _ints(name, "rhs", b.shape[2:])
    strides = _steps(name, "window_strides", window_strides, n)
    dilation = _steps(name, "rhs_dilation", rhs_dilation, n)
    x = a.uop.pad([(0, 0), (0, 0), *_padding(name, padding, space, kernel, strides, dilation)])
    for i in range(n):
        x = _windows(name, x, 2 + i, kernel[i], strides[i], dilation[i])
    out = x.shape[2 : 2 + n]
    full = (a.shape[0], b.shape[0], a.shape[1], *out, *kernel)
    wide = dtypes.float32 if dtype.is_float and dtype.bits == 16 else dtype
    left = x.reshape((a.shape[0], 1, a.shape[1], *out, *kernel)).expand(full).cast(wide)
    right = b.uop.reshape((1, b.shape[0], a.shape[1], *[1] * n, *kernel)).expand(full).cast(wide)
    summed = (left * right).reduce("add", (2, *range(3 + n, 3 + 2 * n)))
    return make(summed.cast(dtype))


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
    out = tuple(given)
    if len(out) != n or any(s < 1 for s in out):
        raise ValueError(f"{name}: {argument} needs {n} positive integers, one for each axis that "
                         f"windows move along, got {out}")
    return out


def _padding(name: str, padding: Any, space: tuple[int, ...], kernel: tuple[int, ...],
             strides: tuple[int, ...], dilation: tuple[int, ...]) -> list[tuple[int, int]]:
    if not isinstance(padding, str):
        pairs = [(int(lo), int(hi)) for lo, hi in padding]
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
