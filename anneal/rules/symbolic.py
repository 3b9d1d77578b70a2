"""Functions that rules/symbolic.upat names: constants, and what floats and shapes allow.

Index arithmetic has its own modules, `sums.py` and `quotients.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from anneal.uop import ops
from anneal.uop.dtypes import DType
from anneal.uop.ops import Op
from anneal.uop.symbolic import bounds, lo, simplify_dim
from anneal.uop.uop import Dim, Scalar, UOp, cast_scalar, const, dim_uop

# -- folding ---------------------------------------------------------------------------------------


def _div(a: float, b: float) -> float:
    if b != 0:
        return a / b
    if a == 0 or a != a:
        return math.nan
    return math.copysign(math.inf, a) * math.copysign(1.0, b)


def _maximum(a: Scalar, b: Scalar) -> Scalar:
    return a if a != a else b if b != b else max(a, b)


def _minimum(a: Scalar, b: Scalar) -> Scalar:
    return a if a != a else b if b != b else min(a, b)


# Exactly rounded or exact, whatever the device: exp, log and their like are left to the device.
_FLOAT: dict[Op, Callable[..., Scalar]] = {
    ops.NEG: lambda a: -a, ops.ABS: abs, ops.ADD: lambda a, b: a + b, ops.SUB: lambda a, b: a - b,
    ops.MUL: lambda a, b: a * b, ops.DIV: _div, ops.MAX: _maximum, ops.MIN: _minimum,
    ops.SQRT: lambda a: a if a == 0 or a == math.inf else math.sqrt(a) if a > 0 else math.nan,
    ops.FLOOR: lambda a: a if not math.isfinite(a) or a == 0 else float(math.floor(a)),
    ops.ROUND: lambda a: a if not math.isfinite(a) else math.copysign(float(round(a)), a),
    ops.LT: lambda a, b: a < b, ops.EQ: lambda a, b: a == b, ops.NE: lambda a, b: a != b,
}  # fmt: skip
_INT: dict[Op, Callable[..., Scalar]] = {
    ops.NEG: lambda a: -a, ops.ABS: abs, ops.ADD: lambda a, b: a + b, ops.SUB: lambda a, b: a - b,
    ops.MUL: lambda a, b: a * b, ops.MAX: max, ops.MIN: min, ops.NOT: lambda a: ~a,
    ops.AND: lambda a, b: a & b, ops.OR: lambda a, b: a | b, ops.XOR: lambda a, b: a ^ b,
    ops.LT: lambda a, b: a < b, ops.EQ: lambda a, b: a == b, ops.NE: lambda a, b: a != b,
    ops.MOD: lambda a, b: a % b if b else 0,
}  # fmt: skip
_BOOL: dict[Op, Callable[..., Scalar]] = {
    ops.NOT: lambda a: not a, ops.AND: lambda a, b: a and b, ops.OR: lambda a, b: a or b,
    ops.ADD: lambda a, b: a or b, ops.MUL: lambda a, b: a and b, ops.XOR: lambda a, b: a != b,
    ops.MAX: lambda a, b: a or b, ops.MIN: lambda a, b: a and b,
    ops.LT: lambda a, b: a < b, ops.EQ: lambda a, b: a == b, ops.NE: lambda a, b: a != b,
}  # fmt: skip


def fold(out: UOp) -> UOp | None:
    """The constant that `out`, whose sources are constants, always is; None where only the device
    knows. float16 to float32 are computed in double and rounded once more, which is exact for
    + - * / sqrt (Figueroa 1995: 53 >= 2*24 + 2)."""
    dtype = out.src[0].dtype
    args = [s.arg for s in out.src]
    if out.op is ops.CAST:
        return const(cast_scalar(args[0], dtype, out.dtype), out.dtype)
    if out.op in (ops.FLOORDIV, ops.SHL, ops.SHR):
        return const(_integer(out.op, args[0], args[1], out), out.dtype)
    table = _FLOAT if dtype.kind == "f" else _BOOL if dtype.kind == "b" else _INT
    function = table.get(out.op)
    if function is None:
        return None
    return const(function(*args), out.dtype)


def _integer(op: Op, a: int, b: int, out: UOp) -> int:
    if op is ops.FLOORDIV:
        return a // b if b else 0
    past = b >= out.dtype.bits or b < 0
    if op is ops.SHL:
        return 0 if past else a << b
    return (-1 if a < 0 else 0) if past else a >> b


# -- what a dtype holds ----------------------------------------------------------------------------

_FRACTION = {"float16": 11, "bfloat16": 8, "float32": 24, "float64": 53}
_EXPONENT = {"float16": 5, "bfloat16": 8, "float32": 8, "float64": 11}


def holds(wide: DType, narrow: DType) -> bool:
    """Whether every value of `narrow` is one of `wide`."""
    if narrow.kind == "b" or wide is narrow:
        return True
    if wide.kind == "b":
        return False
    if narrow.kind == "f":
        return (wide.kind == "f" and _FRACTION[wide.name] >= _FRACTION[narrow.name]
                and _EXPONENT[wide.name] >= _EXPONENT[narrow.name])
    if wide.kind == "f":
        return _FRACTION[wide.name] >= narrow.bits - (narrow.kind == "i")
    return int(wide.min) <= int(narrow.min) and int(narrow.max) <= int(wide.max)


def cast_passes(x: UOp, middle: UOp) -> bool:
    """Whether `middle`, a cast of `x`, has the very value of `x`, which may then be cast itself."""
    if holds(middle.dtype, x.dtype):
        return True
    if x.dtype.kind == "f" or middle.dtype.kind not in "iu":
        return False
    least, greatest = bounds(x)
    return int(middle.dtype.min) <= least and greatest <= int(middle.dtype.max)


def inverse_of_power_of_two(c: UOp) -> UOp | None:
    """1/c where dividing by c is multiplying by it, exactly: c = 2**n, 1/c a normal number."""
    if c.arg == 0 or not math.isfinite(c.arg) or abs(math.frexp(c.arg)[0]) != 0.5:
        return None
    least = 2.0 ** (2 - (1 << (_EXPONENT[c.dtype.name] - 1)))
    inverse = const(1.0 / c.arg, c.dtype)
    usable = least <= abs(inverse.arg) < math.inf and least <= abs(c.arg)
    return inverse if usable else None


def multiply_by_inverse(x: UOp, c: UOp) -> UOp | None:
    inverse = inverse_of_power_of_two(c)
    return x * inverse if inverse is not None else None


def sum_of_copies(s: UOp, out: UOp) -> UOp | None:
    """n copies of `s` added up, where that is exact in any order: ints, or a constant whole number
    whose sum the float holds exactly."""
    n = 1
    for axis in out.arg[1]:
        d = out.src[0].shape[axis]
        if not isinstance(d, int):
            return None
        n *= d
    if out.dtype.kind in "iu":
        return s * n
    if out.dtype.kind != "f" or s.op is not ops.CONST or s.arg != s.arg:
        return None
    exact = math.isfinite(s.arg) and s.arg == int(s.arg) and str(s.arg) != "-0.0"
    return const(s.arg * n + 0.0, s.dtype) if exact and abs(s.arg) * n <= 2048 else None


# -- movement --------------------------------------------------------------------------------------


def reshaped(x: UOp, out: UOp) -> UOp:
    return x.reshape(out.shape)


def expanded(x: UOp, out: UOp) -> UOp | None:
    return x.expand(out.shape) if x.shape and out.ndim == x.ndim else None


def permuted(x: UOp, inner: tuple[int, ...], outer: tuple[int, ...]) -> UOp:
    return x.permute(inner[i] for i in outer)


def flipped(x: UOp, inner: tuple[int, ...], outer: tuple[int, ...]) -> UOp:
    return x.flip(set(inner) ^ set(outer))


def shrunk(x: UOp, out: UOp) -> UOp:
    """The part of a part."""
    inner, outer = out.src[0].dims, out.dims
    lows = [_plus(a, b) for a, b in zip(inner[::2], outer[::2], strict=True)]
    return x.shrink((lo, _plus(lo, n)) for lo, n in zip(lows, outer[1::2], strict=True))


def padded(x: UOp, out: UOp) -> UOp:
    """Zeros around zeros."""
    total = [_plus(a, b) for a, b in zip(out.src[0].dims, out.dims, strict=True)]
    return x.pad(zip(total[::2], total[1::2], strict=True))


def _plus(a: Dim, b: Dim) -> Dim:
    return simplify_dim(dim_uop(a) + b) if isinstance(a, UOp) or isinstance(b, UOp) else a + b


def known_dims(x: UOp, out: UOp) -> UOp | None:
    """`out`, a movement of `x`, with dims that are constants written as ints."""
    if not any(d.op is ops.CONST for d in out.src[1:]):
        return None
    dims = out.dims
    symbolic = tuple(d for d in dims if isinstance(d, UOp))
    arg = tuple(None if isinstance(d, UOp) else d for d in dims)
    return UOp(out.op, out.dtype, (x, *symbolic), arg)


def same_shape(x: UOp, out: UOp) -> bool:
    return x.shape == out.shape


def unpadded(x: UOp, out: UOp) -> UOp | None:
    """A part of something padded that touches no padding is a part of what was padded."""
    pads, dims = out.src[0].dims, out.dims
    if any(isinstance(d, UOp) for d in (*pads, *dims, *x.shape)):
        return None
    parts = []
    for size, before, low, n in zip(x.shape, pads[::2], dims[::2], dims[1::2], strict=True):
        start = low - before
        if start < 0 or start + n > size:
            return None
        parts.append((start, start + n))
    return x.shrink(parts)


def all_ones(x: UOp, out: UOp) -> UOp | None:
    """A reduction over axes of length 1 only moves."""
    axes = out.arg[1]
    ones = axes and all(isinstance(x.shape[a], int) and x.shape[a] == 1 for a in axes)
    return x.reshape(out.shape) if ones else None


def not_empty(reduction: UOp) -> bool:
    """Whether every reduced axis surely has an element."""
    dims = (reduction.src[0].shape[a] for a in reduction.arg[1])
    return all(lo(dim_uop(d)) > 0 for d in dims)
