"""The meaning of every tensor-level op, in NumPy: the oracle, and what runs without a GPU.

In: nodes, and arrays for their PARAMs, BUFFERs and VARs. Out: an array for each node. Matmuls and
convolutions, which the graph writes as a sum of a product of repeated operands, are contracted by
`np.einsum`, so they never exist in full.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from anneal.uop import dtypes, ops
from anneal.uop.call import Task, results_read, run
from anneal.uop.dtypes import DType
from anneal.uop.ops import Op
from anneal.uop.uop import UOp, toposort

Data = np.ndarray[Any, Any]


def numpy_dtype(dtype: DType) -> np.dtype[Any]:
    """NumPy's dtype for ours; `index` is int64, bfloat16 comes from ml_dtypes."""
    if dtype is dtypes.index:
        return np.dtype(np.int64)
    if dtype is dtypes.bfloat16:
        import ml_dtypes

        out: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
        return out
    return np.dtype(dtype.name)


def evaluate(roots: Sequence[UOp], values: Mapping[UOp, Data]) -> list[Data]:
    """The values of `roots`, given those of the PARAM, BUFFER, VAR and RANGE nodes below them."""
    with np.errstate(all="ignore"):
        found = run(_evaluation(roots, values))
    return [np.ascontiguousarray(x).reshape(x.shape) for x in found]


def _evaluation(roots: Sequence[UOp], values: Mapping[UOp, Data]) -> Task[list[Data]]:
    nodes = toposort(roots, stop=values.__contains__)
    read = results_read(nodes)
    uses: dict[UOp, int] = {}
    for u in nodes:
        for s in u.src if u not in values else ():
            uses[s] = uses.get(s, 0) + 1
    for r in roots:
        uses[r] = uses.get(r, 0) + 1
    contracted = {u.src[0] for u in nodes
                  if u not in values and _is_contraction(u, uses) and u.src[0] not in values}
    done: dict[UOp, Data] = {}
    for u in nodes:
        if u in values:
            done[u] = np.asarray(values[u], numpy_dtype(u.dtype))
            continue
        if u in contracted or u.op is ops.GET:
            continue  # its REDUCE reads its sources; its CALL gives it
        operands = u.src
        if u.op is ops.CALL:
            body, gets = u.arg[0], read.get(u, [])
            given = dict(zip(body.inputs, [done[s] for s in operands], strict=True))
            made = yield _evaluation([body.outputs[g.arg] for g in gets], given)
            done.update(zip(gets, made, strict=True))
        elif u.op is ops.REDUCE and u.src[0] in contracted:
            operands = u.src[0].src
            done[u] = _contract(u, [done[s] for s in operands])
        else:
            done[u] = apply_elementwise(u, [done[s] for s in operands])
        for s in operands:
            uses[s] -= 1
            if not uses[s]:
                del done[s]
    return [done[r] for r in roots]


def _is_contraction(u: UOp, uses: Mapping[UOp, int]) -> bool:
    x = u.src[0] if u.src else u
    return (u.op is ops.REDUCE and u.arg[0] == "add" and x.op is ops.MUL and uses[x] == 1
            and x.dtype in (dtypes.float32, dtypes.float64)
            and x.src[0].shape == x.src[1].shape and x.ndim < 26)  # fmt: skip


def _contract(u: UOp, operands: list[Data]) -> Data:
    shape, axes = operands[0].shape, u.arg[1]
    if 0 in shape:
        return np.zeros([int(d) for d in _concrete(u)], numpy_dtype(u.dtype))
    terms, views, scale = [], [], 1
    for x in operands:
        kept = [i for i in range(x.ndim) if x.strides[i] != 0 and shape[i] != 1]
        terms.append(kept)
        views.append(x[tuple(slice(None) if i in kept else 0 for i in range(x.ndim))])
    present = set(terms[0]) | set(terms[1])
    both = set(terms[0]) & set(terms[1])
    if not both.issuperset(axes) and not all(np.isfinite(v).all() for v in views):
        # x * (y + z) is x * y + x * z of finite numbers only.
        return np.asarray(np.add.reduce(operands[0] * operands[1], axes), numpy_dtype(u.dtype))
    for i in axes:
        if i not in present:
            scale *= shape[i]
    result = [i for i in range(len(shape)) if i not in axes and i in present]
    own = [set(t).intersection(result) - both for t in terms]
    if both.intersection(result) or not all(own):  # no matrix product: BLAS sums those in blocks
        wide = _sum_dtype(u.dtype, [shape[i] for i in axes if i in present])
        views = [v.astype(wide, copy=False) for v in views]
    flat: list[Any] = [views[0], terms[0], views[1], terms[1], result]
    out = np.einsum(*flat, optimize=True).astype(numpy_dtype(u.dtype), copy=False)
    out = out * np.asarray(scale, numpy_dtype(u.dtype))
    full = [shape[i] if i in present else 1 for i in range(len(shape)) if i not in axes]
    target = [shape[i] for i in range(len(shape)) if i not in axes]
    return np.broadcast_to(out.reshape(full), target)


def _concrete(u: UOp) -> list[int]:
    dims = [d if isinstance(d, int) else None for d in u.shape]
    if None in dims:
        raise TypeError(f"a dim of {u.op} is symbolic where a number is needed")
    return [d for d in dims if d is not None]


def _dims(u: UOp, sources: list[Data]) -> list[int]:
    """The node's dims, symbolic ones taken from their sources' values."""
    first = 1 if u.op in ops.MOVEMENT else 0
    symbolic = iter(sources[first:])
    return [int(next(symbolic)) if a is None else a for a in u.arg]


def apply_elementwise(u: UOp, x: list[Data]) -> Data:
    """The value of a node from those of its sources."""
    try:
        fn = _TABLE[u.op]
    except KeyError:
        raise NotImplementedError(f"the interpreter has no {u.op}") from None
    return fn(u, x)


def _saturate(u: UOp, x: list[Data]) -> Any:
    a, to = x[0], numpy_dtype(u.dtype)
    if u.dtype.kind == "b":
        return a != 0
    if u.src[0].dtype.is_float and u.dtype.is_int:
        wide = np.trunc(np.nan_to_num(a.astype(np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf))
        lo, hi = int(u.dtype.min), int(u.dtype.max)
        inside = (wide >= float(lo)) & (wide < float(hi) + (u.dtype.bits < 54))
        out = np.where(inside, wide, 0).astype(to)
        return np.where(wide >= float(hi), to.type(hi), np.where(wide <= lo, to.type(lo), out))
    return a.astype(to)


def _floordiv(u: UOp, x: list[Data]) -> Data:
    a, b = x
    zero = b == 0
    return np.where(zero, np.zeros_like(a), np.floor_divide(a, np.where(zero, np.ones_like(b), b)))


def _mod(u: UOp, x: list[Data]) -> Data:
    a, b = x
    if u.dtype.is_float:
        wide = np.float32 if u.dtype.bits == 16 else a.dtype
        return np.asarray(np.remainder(a.astype(wide), b.astype(wide)), numpy_dtype(u.dtype))
    zero = b == 0
    return np.where(zero, np.zeros_like(a), np.remainder(a, np.where(zero, np.ones_like(b), b)))


def _shift(left: bool) -> Callable[[UOp, list[Data]], Data]:
    def apply(u: UOp, x: list[Data]) -> Data:
        a, b = x
        over = (b < 0) | (b >= u.dtype.bits) if u.dtype.kind == "i" else b >= u.dtype.bits
        count = np.where(over, np.zeros_like(b), b)
        if left:
            return np.where(over, np.zeros_like(a), np.left_shift(a, count))
        sign = np.where(a < 0, -1, 0).astype(a.dtype) if u.dtype.kind == "i" else np.zeros_like(a)
        return np.where(over, sign, np.right_shift(a, count))

    return apply


def _pad(u: UOp, x: list[Data]) -> Data:
    amounts = _dims(u, x)
    return np.pad(x[0], list(zip(amounts[::2], amounts[1::2], strict=True)))


def _shrink(u: UOp, x: list[Data]) -> Data:
    bounds = _dims(u, x)
    return x[0][tuple(slice(lo, lo + n) for lo, n in zip(bounds[::2], bounds[1::2], strict=True))]


def _expand(u: UOp, x: list[Data]) -> Data:
    return np.broadcast_to(x[0], _dims(u, x))


def _shear(u: UOp, x: list[Data]) -> Data:
    axis, by, step, offset, length = u.arg
    a = x[0]
    n, m = a.shape[axis], a.shape[by]
    lowest = offset + min(0, step * (m - 1))
    highest = offset + max(0, step * (m - 1)) + length - 1
    before, after = max(0, -lowest), max(0, highest - n + 1)
    if before or after:
        a = np.pad(a, [(before, after) if i == axis else (0, 0) for i in range(a.ndim)])
    if length == 0 or m == 0:
        return np.zeros([length if i == axis else d for i, d in enumerate(a.shape)], a.dtype)
    strides = list(a.strides)
    strides[by] += step * strides[axis]
    shape = [length if i == axis else d for i, d in enumerate(a.shape)]
    origin = a[tuple(slice(offset + before, None) if i == axis else slice(None)
                     for i in range(a.ndim))]  # fmt: skip
    return np.lib.stride_tricks.as_strided(origin, shape, strides, writeable=False)


def _reduce(u: UOp, x: list[Data]) -> Any:
    how, axes = u.arg
    a, to = x[0], numpy_dtype(u.dtype)
    if how == "add":
        if u.dtype.kind == "b":
            return a.any(axes)
        wide = _sum_dtype(u.dtype, [a.shape[i] for i in axes])
        return np.asarray(np.add.reduce(a, axes, dtype=wide), to)
    if how == "mul":
        return a.all(axes) if u.dtype.kind == "b" else np.multiply.reduce(a, axes, dtype=to)
    initial = extreme(u.dtype, low=how == "max")
    fn = np.maximum if how == "max" else np.minimum
    return np.asarray(fn.reduce(a, axes, initial=initial), to)


def _sum_dtype(dtype: DType, lengths: Sequence[int]) -> Any:
    """What to sum `lengths` elements in: only along its last axis does NumPy sum in parts."""
    long = dtype is dtypes.float32 and math.prod(lengths) > 1024
    return np.dtype(np.float64) if long else numpy_dtype(dtype)


def extreme(dtype: DType, low: bool) -> Any:
    """The least value of a dtype, or the greatest."""
    return numpy_dtype(dtype).type(dtype.min if low else dtype.max)


def _gather(u: UOp, x: list[Data]) -> Data:
    a, idx = x
    axis, most = u.arg, a.shape[u.arg] - 1
    if idx.size and all(n == 1 or step == 0 or i == axis
                        for i, (n, step) in enumerate(zip(idx.shape, idx.strides, strict=True))):
        one = idx[tuple([slice(None) if i == axis else 0 for i in range(idx.ndim)])]
        return a.take(np.clip(one.astype(np.int64), 0, most), axis)  # whole rows, say
    return np.take_along_axis(a, np.clip(idx.astype(np.int64), 0, most), axis)


_SCATTERS = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}


def _scatter(u: UOp, x: list[Data]) -> Data:
    idx, g, *before = x
    how, axis, length = u.arg
    length = int(length)
    shape = [length if i == axis else d for i, d in enumerate(g.shape)]
    start: Any = int(how == "mul")
    if how in ("max", "min"):
        start = extreme(u.dtype, low=how == "max")
    out = before[0].copy() if before else np.full(shape, start, g.dtype)
    where: list[Any] = list(np.indices(g.shape, sparse=True))
    where[axis] = np.clip(idx.astype(np.int64), 0, length - 1)
    _SCATTERS[how].at(out, tuple(where), g)
    return out


def _ufunc(fn: Callable[..., Any]) -> Callable[[UOp, list[Data]], Data]:
    return lambda u, x: np.asarray(fn(*x), numpy_dtype(u.dtype))


def _arithmetic(fn: Callable[..., Any], logical: Callable[..., Any]) -> Callable[..., Data]:
    return lambda u, x: np.asarray((logical if u.dtype.kind == "b" else fn)(*x),
                                   numpy_dtype(u.dtype))  # fmt: skip


def _erf(x: Data) -> Data:
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), np.float64)


_TRANSCENDENTAL: dict[Op, Callable[..., Any]] = {
    ops.EXP: np.exp, ops.EXPM1: np.expm1, ops.LOG: np.log, ops.LOG1P: np.log1p, ops.SIN: np.sin,
    ops.COS: np.cos, ops.SINH: np.sinh, ops.COSH: np.cosh, ops.TANH: np.tanh, ops.ERF: _erf,
    ops.POW: np.power,
}  # fmt: skip


def _transcendental(u: UOp, x: list[Data]) -> Data:
    """In float64, rounded once: NumPy's own of narrower floats differ by processor."""
    wide = [a.astype(np.float64, copy=False) for a in x]
    return np.asarray(_TRANSCENDENTAL[u.op](*wide), numpy_dtype(u.dtype))


_TABLE: dict[Op, Callable[[UOp, list[Data]], Data]] = {
    ops.CONST: lambda u, x: np.asarray(u.arg, numpy_dtype(u.dtype)),
    ops.ARANGE: lambda u, x: np.arange(_dims(u, x)[0], dtype=numpy_dtype(u.dtype)),
    ops.RESHAPE: lambda u, x: x[0].reshape(_dims(u, x)),
    ops.PERMUTE: lambda u, x: x[0].transpose(u.arg),
    ops.EXPAND: _expand, ops.PAD: _pad, ops.SHRINK: _shrink, ops.SHEAR: _shear,
    ops.FLIP: lambda u, x: np.flip(x[0], u.arg),
    **dict.fromkeys(ops.TRANSCENDENTAL, _transcendental),
    ops.NEG: _ufunc(np.negative), ops.SQRT: _ufunc(np.sqrt), ops.FLOOR: _ufunc(np.floor),
    ops.ROUND: _ufunc(np.rint), ops.ABS: _ufunc(np.abs),
    ops.NOT: _arithmetic(np.invert, np.logical_not),
    ops.CAST: _saturate,
    ops.BITCAST: lambda u, x: np.ascontiguousarray(x[0]).view(numpy_dtype(u.dtype)).reshape(
        x[0].shape),
    **dict.fromkeys(ops.IDENTITY, lambda u, x: x[0]),
    ops.ADD: _arithmetic(np.add, np.logical_or), ops.SUB: _ufunc(np.subtract),
    ops.MUL: _arithmetic(np.multiply, np.logical_and), ops.DIV: _ufunc(np.divide),
    ops.FLOORDIV: _floordiv, ops.MOD: _mod,
    ops.MAX: _ufunc(np.maximum), ops.MIN: _ufunc(np.minimum),
    ops.LT: _ufunc(np.less), ops.EQ: _ufunc(np.equal), ops.NE: _ufunc(np.not_equal),
    ops.AND: _ufunc(np.bitwise_and), ops.OR: _ufunc(np.bitwise_or),
    ops.XOR: _ufunc(np.bitwise_xor), ops.SHL: _shift(True), ops.SHR: _shift(False),
    ops.WHERE: lambda u, x: np.where(x[0], x[1], x[2]),
    ops.REDUCE: _reduce, ops.GATHER: _gather, ops.SCATTER: _scatter,
}  # fmt: skip
