"""Contractions: sums of products of repeated operands, which the compiler never stores."""

from __future__ import annotations

from typing import Any

from anneal.array import Array, asarray, broadcast_shapes, make, promote
from anneal.numpy.axes import canonical_axis, integer, integers, is_integer
from anneal.numpy.manipulation import reshape, transpose
from anneal.uop import dtypes
from anneal.uop.uop import UOp, same_dim, show_shape


def sum_of_products(a: UOp, b: UOp, axes: tuple[int, ...]) -> UOp:
    """16-bit floats are multiplied and summed in float32."""
    out = a.dtype
    if out.is_float and out.bits == 16:
        a, b = a.cast(dtypes.float32), b.cast(dtypes.float32)
    return (a * b).reduce("add", axes).cast(out)


def _operands(name: str, x: Any, y: Any) -> tuple[Array, Array, bool]:
    try:
        (a, b), _, weak = promote(x, y)
    except TypeError as e:
        raise TypeError(f"{name}: {e}") from None
    return a, b, weak


def matmul(x: Any, y: Any) -> Array:
    """The matrix product of the last two axes; earlier axes broadcast.

    Raises ValueError where the contracted dims differ.

    >>> matmul([[1, 2], [3, 4]], [1, 10]).tolist()
    [21, 43]
    """
    a, b, weak = _operands("matmul", x, y)
    if a.ndim == 0 or b.ndim == 0:
        raise ValueError(f"matmul: expected arrays of at least one axis, got shapes "
                         f"{show_shape(a.shape)} and {show_shape(b.shape)}")  # fmt: skip
    left, right = a.uop, b.uop
    if a.ndim == 1:
        left = left.reshape((1, *a.shape))
    if b.ndim == 1:
        right = right.reshape((*b.shape, 1))
    *batch_a, m, k = left.shape
    *batch_b, k2, n = right.shape
    if not same_dim(k, k2):
        raise ValueError(f"matmul: the last axis of x {show_shape(a.shape)} and the "
                         f"{'only' if b.ndim == 1 else 'second to last'} axis of y "
                         f"{show_shape(b.shape)} must be equal; transpose one?")  # fmt: skip
    try:
        batch = broadcast_shapes(tuple(batch_a), tuple(batch_b))
    except ValueError as e:
        raise ValueError(f"matmul: x {show_shape(a.shape)} and y {show_shape(b.shape)} do not fit "
                         f"before their last two axes: {e}") from None  # fmt: skip
    full = (*batch, m, n, k)
    nd = right.ndim
    turned = right.permute((*range(nd - 2), nd - 1, nd - 2))
    left = left.reshape((*batch_a, m, 1, k)).broadcast_to(full)
    turned = turned.reshape((*batch_b, 1, n, k)).broadcast_to(full)
    out = sum_of_products(left, turned, (len(full) - 1,))
    shape = list(batch) + ([m] if a.ndim > 1 else []) + ([n] if b.ndim > 1 else [])
    return make(out.reshape(shape), weak)


def dot(x: Any, y: Any) -> Array:
    """matmul for matrices and vectors, the product for scalars."""
    a, b = asarray(x), asarray(y)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    return matmul(a, b) if b.ndim <= 2 else tensordot(a, b, ([a.ndim - 1], [b.ndim - 2]))


def outer(x: Any, y: Any) -> Array:
    """Every product of an element of x with one of y."""
    return reshape(x, (-1, 1)) * reshape(y, (1, -1))


def tensordot(x: Any, y: Any, axes: Any = 2) -> Array:
    """The sum of products over pairs of axes: the last and first `axes`, or (of x, of y).

    >>> tensordot([[1, 2], [3, 4]], [1, 10], 1).tolist()
    [21, 43]
    """
    a, b, weak = _operands("tensordot", x, y)
    if is_integer(axes):
        axes = integer("tensordot", "axes", axes)
        if not 0 <= axes <= min(a.ndim, b.ndim):
            raise ValueError(f"tensordot: axes {axes} is more than the arrays "
                             f"{show_shape(a.shape)} and {show_shape(b.shape)} have")  # fmt: skip
        axes = (list(range(a.ndim - axes, a.ndim)), list(range(axes)))
    ours = [canonical_axis("tensordot", a, i) for i in integers("tensordot", "axes", axes[0])]
    theirs = [canonical_axis("tensordot", b, i) for i in integers("tensordot", "axes", axes[1])]
    if len(ours) != len(theirs) or not all(
        same_dim(a.shape[i], b.shape[j]) for i, j in zip(ours, theirs, strict=True)
    ):
        raise ValueError(f"tensordot: axes {ours} of {show_shape(a.shape)} and {theirs} of "
                         f"{show_shape(b.shape)} must be of equal lengths")  # fmt: skip
    rest_a = [i for i in range(a.ndim) if i not in ours]
    rest_b = [i for i in range(b.ndim) if i not in theirs]
    dims_a, dims_b = [a.shape[i] for i in rest_a], [b.shape[i] for i in rest_b]
    summed = [a.shape[i] for i in ours]
    full = (*dims_a, *dims_b, *summed)
    left = transpose(a, rest_a + ours).uop.reshape((*dims_a, *[1] * len(dims_b), *summed))
    right = transpose(b, rest_b + theirs).uop.broadcast_to(full)
    return make(sum_of_products(left.broadcast_to(full), right,
                                tuple(range(len(dims_a) + len(dims_b), len(full)))),
                weak)  # fmt: skip


def inner(x: Any, y: Any) -> Array:
    """The sum of products over the last axes of both."""
    a, b = asarray(x), asarray(y)
    if a.ndim == 0 or b.ndim == 0:
        return a * b
    return tensordot(a, b, ([-1], [-1]))


def vdot(x: Any, y: Any) -> Array:
    """The sum of products of all elements in order."""
    a, b = reshape(x, -1), reshape(y, -1)
    if a.shape != b.shape:
        raise ValueError(f"vdot: expected equally many elements, got {a.size} and {b.size}")
    return matmul(a, b)
