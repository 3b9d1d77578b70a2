"""Axes, lengths and counts as users give them: Python ints inside, whatever integers come in.

An np.int64 in a node's shape would be found again, by its equal hash, where an int is expected, so
what is no UOp passes `operator.index` here. Negative axes count from the end; mistakes name the
function.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import Any

from anneal import errors
from anneal.array import Array
from anneal.uop.uop import UOp, show_shape

Axis = int | Sequence[int] | None


def is_integer(value: Any) -> bool:
    """Whether `value` is one integer: an int, a NumPy integer, an integer Array of shape ()."""
    if isinstance(value, Array):
        return value.dtype.is_int and value.shape == ()
    try:
        operator.index(value)
    except TypeError:
        return False
    return True


def integer(name: str, argument: str, value: Any) -> int:
    """`value` as an int. TypeError, naming function and argument, for what is none."""
    try:
        return int(operator.index(value))
    except errors.ConcretizationTypeError:
        raise
    except TypeError:
        raise TypeError(f"{name}: {argument} must be an integer, got {value!r}") from None


def integers(name: str, argument: str, values: Any) -> tuple[int, ...]:
    """One integer or several, as a tuple."""
    several = (values,) if is_integer(values) else _several(name, argument, values)
    return tuple(integer(name, argument, v) for v in several)


def dims(name: str, argument: str, shape: Any) -> tuple[Any, ...]:
    """A shape, or one length, as a tuple of ints and symbolic dims."""
    one = isinstance(shape, UOp) or is_integer(shape)
    several = (shape,) if one else _several(name, argument, shape)
    return tuple(d if isinstance(d, UOp) else integer(name, argument, d) for d in several)


def _several(name: str, argument: str, values: Any) -> tuple[Any, ...]:
    try:
        return tuple(values)
    except TypeError:
        raise TypeError(f"{name}: {argument} must be integers, got {values!r}") from None


def canonical_axis(name: str, x: Array, axis: Any, extra: int = 0) -> int:
    """`axis` as a number from 0, of an array with `extra` axes more than x."""
    n = x.ndim + extra
    place = integer(name, "axis", axis)
    if not -n <= place < n:
        raise ValueError(f"{name}: axis {axis} is out of range for an array of shape "
                         f"{show_shape(x.shape)}")  # fmt: skip
    return place % n


def canonical_axes(name: str, x: Array, axis: Axis) -> tuple[int, ...]:
    """The axes that `axis` (one, several, None for all) means, in order, each once."""
    if axis is None:
        return tuple(range(x.ndim))
    asked = tuple(axis) if isinstance(axis, Iterable) and not is_integer(axis) else (axis,)
    out = tuple(sorted(canonical_axis(name, x, a) for a in asked))
    if len(set(out)) != len(out):
        raise ValueError(f"{name}: duplicate axis in {asked}")
    return out
