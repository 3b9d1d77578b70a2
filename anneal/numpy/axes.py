"""Axes as users give them: negative ones count from the end; mistakes name the function."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from anneal.array import Array
from anneal.uop.uop import show_shape

Axis = int | Sequence[int] | None


def canonical_axis(name: str, x: Array, axis: Any, extra: int = 0) -> int:
    """`axis` as a number from 0, of an array with `extra` axes more than x."""
    n = x.ndim + extra
    try:
        axis = operator.index(axis)
    except TypeError:
        raise TypeError(f"{name}: axis must be an integer, got {axis!r}") from None
    if not -n <= axis < n:
        raise ValueError(f"{name}: axis {axis} is out of range for an array of shape "
                         f"{show_shape(x.shape)}")  # fmt: skip
    return int(axis % n)


def canonical_axes(name: str, x: Array, axis: Axis) -> tuple[int, ...]:
    """The axes that `axis` (one, several, None for all) means, in order, each once."""
    if axis is None:
        return tuple(range(x.ndim))
    asked = tuple(axis) if isinstance(axis, Sequence) else (axis,)
    out = tuple(sorted(canonical_axis(name, x, a) for a in asked))
    if len(set(out)) != len(out):
        raise ValueError(f"{name}: duplicate axis in {asked}")
    return out
