"""Primitives with jax.lax's names and signatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from anneal.array import Array, asarray, make, promote
from anneal.uop import dtypes, ops
from anneal.uop.uop import UOp, show_shape


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

    `padding` is "VALID", "SAME" or (before, after) for each axis. Windows are index arithmetic:
    nothing is unfolded. Raises ValueError where shapes do not fit.
    """
    (a, b), dtype, _ = promote(lhs, rhs)
    if a.ndim != b.ndim or a.shape[1] != b.shape[1]:
        raise ValueError(f"conv_general_dilated: lhs {show_shape(a.shape)} and rhs "
                         f"{show_shape(b.shape)} need equally many axes and channels (axis 1)")
    n = a.ndim - 2
    space, kernel = _ints(a.shape[2:]), _ints(b.shape[2:])
    dilation = tuple(rhs_dilation or (1,) * n)
    pads = _padding(padding, space, kernel, tuple(window_strides), dilation)
    x = a.uop.pad([(0, 0), (0, 0), *pads])
    for i in range(n):
        x = _windows(x, 2 + i, kernel[i], window_strides[i], dilation[i])
    out = x.shape[2 : 2 + n]
    full = (a.shape[0], b.shape[0], a.shape[1], *out, *kernel)
    wide = dtypes.float32 if dtype.is_float and dtype.bits == 16 else dtype
    left = x.reshape((a.shape[0], 1, a.shape[1], *out, *kernel)).expand(full).cast(wide)
    right = b.uop.reshape((1, b.shape[0], a.shape[1], *[1] * n, *kernel)).expand(full).cast(wide)
    summed = (left * right).reduce("add", (2, *range(3 + n, 3 + 2 * n)))
    return make(summed.cast(dtype))


def _ints(shape: Sequence[Any]) -> tuple[int, ...]:
    if not all(isinstance(d, int) for d in shape):
        raise TypeError("conv_general_dilated: symbolic space is not supported")
    return tuple(shape)


def _padding(padding: Any, space: tuple[int, ...], kernel: tuple[int, ...],
             strides: tuple[int, ...], dilation: tuple[int, ...]) -> list[tuple[int, int]]:
    if not isinstance(padding, str):
        return [(int(lo), int(hi)) for lo, hi in padding]
    if padding == "VALID":
        return [(0, 0)] * len(space)
    if padding != "SAME":
        raise ValueError(f"padding: expected 'SAME', 'VALID' or pairs, got {padding!r}")
    out = []
    for d, k, s, e in zip(space, kernel, strides, dilation, strict=True):
        total = max(0, (-(-d // s) - 1) * s + (k - 1) * e + 1 - d)
        out.append((total // 2, total - total // 2))
    return out


def _windows(x: UOp, axis: int, size: int, stride: int, dilation: int) -> UOp:
    """Windows along `axis`: the places stay there, the window's own axis is appended."""
    length = x.shape[axis] - (size - 1) * dilation
    by = x.ndim
    if not isinstance(length, int) or length <= 0:
        raise ValueError(f"conv_general_dilated: a window of {size} (dilation {dilation}) does "
                         f"not fit in {x.shape[axis]}")
    x = x.reshape((*x.shape, 1)).expand((*x.shape, size)).shear(axis, by, dilation, 0, length)
    if stride == 1:
        return x
    count = -(-length // stride)
    x = x.pad([(0, count * stride - length) if i == axis else (0, 0) for i in range(x.ndim)])
    shape = x.shape
    x = x.reshape((*shape[:axis], count, stride, *shape[axis + 1 :]))
    x = x.shrink([(0, 1) if i == axis + 1 else (0, d) for i, d in enumerate(x.shape)])
    return x.reshape((*shape[:axis], count, *shape[axis + 1 :]))
