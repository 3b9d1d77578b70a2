"""einsum: contractions by labels. Operands are contracted in pairs, from the left; each pair is one
sum of products, in the order of its labels."""

from __future__ import annotations

from typing import Any

from anneal.array import Array, asarray, broadcast_shapes, make, promote
from anneal.numpy.contraction import sum_of_products
from anneal.numpy.diagonals import diagonal
from anneal.uop import dtypes
from anneal.uop.uop import Dim, UOp, same_dim, show_shape

_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def einsum(subscripts: str, /, *operands: Any) -> Array:
    """The sum of products of operands that `subscripts` describes, as in NumPy.

    Raises ValueError for subscripts that do not fit the operands.

    >>> einsum("ij,j->i", [[1, 2], [3, 4]], [1, 10]).tolist()
    [21, 43]
    """
    if not operands:
        raise ValueError("einsum: expected at least one operand")
    arrays, dtype, weak = promote(*operands)
    inputs, output = _parsed(subscripts, [a.ndim for a in arrays])
    sizes = _sizes(subscripts, inputs, arrays)
    terms = [_without_repeats(a, labels) for a, labels in zip(arrays, inputs, strict=True)]
    wide = dtypes.float32 if dtype.is_float and dtype.bits == 16 else dtype
    u, labels = terms[0]
    u = u.cast(wide)
    for n, (v, others) in enumerate(terms[1:], 1):
        later = set(output).union(*(t[1] for t in terms[n + 1 :]))
        u, labels = _product(u, labels, v.cast(wide), others, later, sizes)
    left = [i for i, label in enumerate(labels) if label not in output]
    u = u.sum(left)
    labels = "".join(label for label in labels if label in output)
    return make(u.permute([labels.index(label) for label in output]).cast(dtype), weak)


def _parsed(subscripts: str, ndims: list[int]) -> tuple[list[str], str]:
    """Labels of every operand and of the result; an ellipsis becomes letters not in use."""
    text = subscripts.replace(" ", "")
    left, arrow, output = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(ndims):
        raise ValueError(f"einsum: {subscripts!r} describes {len(inputs)} operands, got "
                         f"{len(ndims)}")  # fmt: skip
    for labels in (*inputs, output):
        rest = labels.replace("...", "", 1)
        if not all(c in _LETTERS for c in rest):
            raise ValueError(f"einsum: {subscripts!r} may hold letters, commas, '...' and '->'")
    free = [c for c in _LETTERS if c not in text]
    extra = [n - len(i.replace("...", "")) if "..." in i else 0
             for i, n in zip(inputs, ndims, strict=True)]  # fmt: skip
    if any(n < 0 for n in extra):
        raise ValueError(f"einsum: {subscripts!r} has more labels than an operand has axes")
    ellipsis = "".join(free[: max(extra)])
    inputs = [i.replace("...", ellipsis[len(ellipsis) - n :])
              for i, n in zip(inputs, extra, strict=True)]  # fmt: skip
    if not arrow:
        counted = "".join(inputs)
        output = ellipsis + "".join(sorted(
            {c for c in counted if counted.count(c) == 1} - set(ellipsis)))  # fmt: skip
    output = output.replace("...", ellipsis)
    if len(set(output)) != len(output):
        raise ValueError(f"einsum: {subscripts!r} repeats a label in the result")
    for c in output:
        if not any(c in i for i in inputs):
            raise ValueError(f"einsum: {subscripts!r} has label {c!r} in the result only")
    return inputs, output


def _sizes(subscripts: str, inputs: list[str], arrays: list[Array]) -> dict[str, Dim]:
    sizes: dict[str, Dim] = {}
    for number, (labels, a) in enumerate(zip(inputs, arrays, strict=True)):
        if len(labels) != a.ndim:
            raise ValueError(f"einsum: operand {number} of {subscripts!r} has labels {labels!r} "
                             f"but shape {show_shape(a.shape)}")  # fmt: skip
        for label, d in zip(labels, a.shape, strict=True):
            known = sizes.setdefault(label, d)
            if known == 1:
                sizes[label] = d
            elif d != 1 and not same_dim(known, d):
                raise ValueError(f"einsum: label {label!r} of {subscripts!r} is {known} in one "
                                 f"operand and {d} in operand {number}, of shape "
                                 f"{show_shape(a.shape)}")  # fmt: skip
    return sizes


def _without_repeats(a: Array, labels: str) -> tuple[UOp, str]:
    """A label that an operand has twice is its diagonal."""
    while repeated := [c for c in labels if labels.count(c) > 1]:
        c = repeated[0]
        i = labels.index(c)
        j = labels.index(c, i + 1)
        if a.shape[i] != a.shape[j]:
            raise ValueError(f"einsum: label {c!r} names axes of {a.shape[i]} and {a.shape[j]} "
                             f"of one operand")  # fmt: skip
        a = diagonal(a, 0, i, j)
        labels = labels[:i] + labels[i + 1 : j] + labels[j + 1 :] + c
    return a.uop, labels


def _product(u: UOp, labels: str, v: UOp, others: str, later: set[str],
             sizes: dict[str, Dim]) -> tuple[UOp, str]:  # fmt: skip
    """u * v summed over the labels that nobody needs later."""
    # What only one operand has and nobody needs is summed before.
    u, labels = _dropped(u, labels, set(others) | later)
    v, others = _dropped(v, others, set(labels) | later)
    kept = [c for c in labels + others if c in later]
    summed = [c for c in labels if c not in later]
    order = "".join(dict.fromkeys(kept + summed))
    full = tuple(sizes[c] for c in order)
    left, right = (_aligned(x, own, order).broadcast_to(full)
                   for x, own in ((u, labels), (v, others)))  # fmt: skip
    axes = tuple(i for i, c in enumerate(order) if c not in later)
    return sum_of_products(left, right, axes), "".join(c for c in order if c in later)


def _dropped(u: UOp, labels: str, needed: set[str]) -> tuple[UOp, str]:
    u = u.sum([i for i, c in enumerate(labels) if c not in needed])
    return u, "".join(c for c in labels if c in needed)


def _aligned(u: UOp, labels: str, order: str) -> UOp:
    """u with its axes in the order of `order`, of length 1 where it has none."""
    present = [c for c in order if c in labels]
    u = u.permute([labels.index(c) for c in present])
    dims = iter(u.shape)
    return u.reshape([next(dims) if c in labels else 1 for c in order])


def vecdot(x1: Any, x2: Any, /, *, axis: int = -1) -> Array:
    """The sum of products along an axis; the others broadcast."""
    a, b = asarray(x1), asarray(x2)
    (a, b), dtype, weak = promote(a, b)
    shape = broadcast_shapes(a.shape, b.shape)
    out = sum_of_products(a.uop.broadcast_to(shape), b.uop.broadcast_to(shape),
                          (axis % len(shape),))  # fmt: skip
    return make(out, weak)
