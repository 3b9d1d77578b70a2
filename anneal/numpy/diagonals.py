"""Triangles and diagonals: comparisons of row and column numbers, and shears."""

from __future__ import annotations

from typing import Any

from anneal.array import Array, as_dtype, asarray, make
from anneal.numpy import reductions
from anneal.numpy.axes import canonical_axis, dims, integer
from anneal.numpy.manipulation import moveaxis
from anneal.uop import dtypes
from anneal.uop import uop as graph
from anneal.uop.uop import UOp, show_shape


def _numbers(shape: tuple[Any, ...], axis: int) -> UOp:
    """Every element's index along an axis."""
    n = shape[axis]
    own = [n if i == axis % len(shape) else 1 for i in range(len(shape))]
    return graph.arange(n, dtypes.int32).reshape(own).expand(shape)


def _on_or_below(shape: tuple[Any, ...], k: int) -> UOp:
    """Where the column is at most the row + k, in the last two axes."""
    return _numbers(shape, -1) < _numbers(shape, -2) + (k + 1)


def _matrix_shape(name: str, rows: Any, columns: Any) -> tuple[Any, ...]:
    shape = dims(name, "dims", (rows, rows if columns is None else columns))
    if any(isinstance(d, int) and d < 0 for d in shape):
        raise ValueError(f"{name}: dims must not be negative, got {shape}")
    return shape


def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Array:  # noqa: N803
    """N x M zeros with ones on the k-th diagonal; float32 unless said otherwise.

    >>> eye(2, 3, 1, dtype=int).tolist()
    [[0, 1, 0], [0, 0, 1]]
    """
    kind = dtypes.float32 if dtype is None else as_dtype(dtype)
    shape, k = _matrix_shape("eye", N, M), integer("eye", "k", k)
    rows = _numbers(shape, 0)
    return make((rows + k if k else rows).eq(_numbers(shape, 1)).cast(kind))


def identity(n: int, dtype: Any = None) -> Array:
    """The n x n identity matrix."""
    return eye(n, dtype=dtype)


def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Array:  # noqa: N803
    """Ones on and below the k-th diagonal; float32 unless said otherwise."""
    kind = dtypes.float32 if dtype is None else as_dtype(dtype)
    return make(_on_or_below(_matrix_shape("tri", N, M), integer("tri", "k", k)).cast(kind))


def _matrices(name: str, x: Any) -> Array:
    a = asarray(x)
    if a.ndim < 2:
        raise ValueError(f"{name}: expected at least two axes, got shape {show_shape(a.shape)}")
    return a


def tril(m: Any, k: int = 0) -> Array:
    """m with zeros above the k-th diagonal of the last two axes.

    >>> tril([[1, 2], [3, 4]]).tolist()
    [[1, 0], [3, 4]]
    """
    a, k = _matrices("tril", m), integer("tril", "k", k)
    return make(_on_or_below(a.shape, k).where(a.uop, a.uop.const_like(0)), a.weak_type)


def triu(m: Any, k: int = 0) -> Array:
    """m with zeros below the k-th diagonal of the last two axes."""
    a, k = _matrices("triu", m), integer("triu", "k", k)
    return make(_on_or_below(a.shape, k - 1).where(a.uop.const_like(0), a.uop), a.weak_type)


def diagonal(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The offset-th diagonal of two axes, as a new last axis.

    >>> diagonal([[1, 2], [3, 4]]).tolist()
    [1, 4]
    """
    x, offset = _matrices("diagonal", a), integer("diagonal", "offset", offset)
    i, j = canonical_axis("diagonal", x, axis1), canonical_axis("diagonal", x, axis2)
    if i == j:
        raise ValueError(f"diagonal: axis1 and axis2 must differ, both are {axis1}")
    rows, columns = int(x.shape[i]), int(x.shape[j])
    first = max(0, -offset)  # the row of the diagonal's first element
    n = max(0, min(rows - first, columns - (first + offset)))
    bounds = [(first, first + n) if k == i else (first + offset, first + offset + n) if k == j
              else (0, d) for k, d in enumerate(x.shape)]  # fmt: skip
    if not n:
        bounds[i] = bounds[j] = (0, 0)
        u = x.uop.shrink(bounds)
        u = u.reshape([d for k, d in enumerate(u.shape) if k != i])
    else:
        u = x.uop.shrink(bounds).shear(i, j, 1, 0, 1)
        u = u.reshape([d for k, d in enumerate(u.shape) if k != i])
    return moveaxis(make(u, x.weak_type), j - (i < j), -1)


def diag(v: Any, k: int = 0) -> Array:
    """The k-th diagonal of a matrix; of a vector, the matrix that has it there.

    >>> diag([1, 2]).tolist()
    [[1, 0], [0, 2]]
    """
    a, k = asarray(v), integer("diag", "k", k)
    if a.ndim == 2:
        return diagonal(a, k)
    if a.ndim != 1:
        raise ValueError(f"diag: expected one axis or two, got shape {show_shape(a.shape)}")
    n, shift = int(a.shape[0]), abs(k)
    size = n + shift
    u = a.uop.pad([(max(k, 0), max(-k, 0))]).reshape((1, size)).expand((size, size))
    on = _numbers((size, size), 0) + k
    return make(on.eq(_numbers((size, size), 1)).where(u, u.const_like(0)))


def trace(a: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The sum of a diagonal."""
    return reductions.sum(diagonal(a, offset, axis1, axis2), -1)
