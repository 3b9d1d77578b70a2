"""UOp: the one immutable, interned graph node, and walks over graphs of it.

    UOp(op, dtype, src, arg)

Building the same node twice gives the same object, so equality is identity. Shapes are computed
when the node is built; a mistake raises there. Nothing here recurses on graph depth.

A dim is an int or a UOp of dtype index. In `arg`, where an op lists dims (RESHAPE, PAD, ...), a
symbolic one leaves `None`, and the UOp itself stands in `src` after the operand, in order: so every
dependency is an edge, and substituting a VAR is a rewrite like any other.
"""

from __future__ import annotations

import itertools
import math
import struct
import weakref
from _weakref import _remove_dead_weakref  # type: ignore[attr-defined]
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple, Union

from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.ops import Op

Dim = Union[int, "UOp"]
Shape = tuple[Dim, ...]
Scalar = bool | int | float


class Origin(NamedTuple):
    """A line of the user's program that asked for a value. Nodes have none: tables of nodes do, see
    `anneal.provenance`."""

    file: str
    line: int
    phase: str = "forward"
    rule: str | None = None


Origins = tuple[Origin, ...]
# Told of each node of a graph, sources first, and of what stands for it in another.
Carry = Callable[["UOp", "UOp"], None]


class _Ref(weakref.ref["UOp"]):
    __slots__ = ("key",)
    key: tuple[Any, ...]


_table: dict[tuple[Any, ...], _Ref] = {}
_counter = itertools.count(1)


def _forget(ref: _Ref, table: dict[tuple[Any, ...], _Ref] = _table,
            remove: Callable[..., None] = _remove_dead_weakref) -> None:  # fmt: skip
    remove(table, ref.key)  # if it is dead: another thread may have made the node again


def live_nodes() -> int:
    """How many UOps exist in this process."""
    return len(_table)


class UOp:
    """One node. `traced`: the number of the newest PARAM below it; 0: there is none but of a Body,
    which belongs to no trace. `value`: a node that already holds its value
    (a BUFFER after it was computed; the argument a PARAM stands for); `depth`: the longest way down
    to a leaf. What was found out about it is kept with it: `_bounds`, `_free`, and `_settled`, the
    ruleset that was last seen to leave it as it is."""

    __slots__ = ("__weakref__", "_bounds", "_free", "_settled", "arg", "depth", "dtype", "op",
                 "shape", "src", "traced", "value")  # fmt: skip
    op: Op
    dtype: DType
    src: tuple[UOp, ...]
    arg: Any
    shape: Shape
    traced: int
    depth: int
    value: UOp | None
    _bounds: tuple[Any, Any] | None
    _free: frozenset[UOp] | None
    _settled: object

    def __new__(cls, op: Op, dtype: DType, src: tuple[UOp, ...] = (), arg: Any = None) -> UOp:
        key = (op, dtype, src, arg)
        if arg == 0 and op is ops.CONST:  # 0.0 == -0.0, but they are two constants
            key = (op, dtype, src, str(arg))
        ref = _table.get(key)
        if ref is not None:
            known = ref()
            if known is not None:
                return known
        self = object.__new__(cls)
        self.op, self.dtype, self.src, self.arg = op, dtype, src, arg
        self.value = self._bounds = self._free = self._settled = None
        traced = max(arg[0], 0) if op is ops.PARAM else 0
        shape: Shape = ()
        depth = -1
        for s in src:
            if s.traced > traced:
                traced = s.traced
            if s.depth > depth:
                depth = s.depth
            if s.shape and not shape:
                shape = s.shape
        self.traced, self.depth = traced, depth + 1
        rule = _SHAPES.get(op)
        if rule is not None:
            shape = rule(op, src, arg)
        elif shape:
            for s in src:
                if s.shape is not shape and s.shape and s.shape != shape:
                    shapes = ", ".join(show_shape(s.shape) for s in src)
                    raise ValueError(f"{op} needs equal shapes, got {shapes}")
        self.shape = shape
        ref = _Ref(self, _forget)
        ref.key = key
        while (found := _table.setdefault(key, ref)) is not ref:  # another thread was first
            known = found()
            if known is not None:
                return known
            _remove_dead_weakref(_table, key)
        return self

    # -- reading ------------------------------------------------------------------------------

    def __repr__(self) -> str:
        from anneal.uop.show import show

        return show(self)

    def __reduce__(self) -> Any:
        raise TypeError("a UOp belongs to its process; save values with anneal.io instead")

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> Dim:
        """The number of elements."""
        return prod(self.shape)

    @property
    def dims(self) -> tuple[Dim, ...]:
        """`arg` with the symbolic dims from `src` filled in: what a movement op was asked for."""
        arg = self.arg[1] if self.op in (ops.PARAM, ops.BUFFER) else self.arg
        start = 1 if self.op in ops.MOVEMENT else 0
        return _filled(arg, self.src[start:])

    # -- building -----------------------------------------------------------------------------

    def const_like(self, value: Scalar) -> UOp:
        """The scalar constant of this node's dtype (shape (): it broadcasts)."""
        return const(value, self.dtype)

    def alu(self, op: Op, *others: UOp | Scalar) -> UOp:
        """An elementwise op on self and others of one dtype; Python scalars become constants."""
        srcs = [o if isinstance(o, UOp) else const(o, self.dtype) for o in others]
        return UOp(op, dtypes.bool_ if op in ops.COMPARISONS else self.dtype, (self, *srcs))

    def __add__(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.ADD, o)

    def __radd__(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.ADD, o)

    def __sub__(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.SUB, o)

    def __rsub__(self, o: Scalar) -> UOp:
        return self.const_like(o).alu(ops.SUB, self)

    def __mul__(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.MUL, o)

    def __rmul__(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.MUL, o)

    def __truediv__(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.DIV, o)

    def __rtruediv__(self, o: Scalar) -> UOp:
        return self.const_like(o).alu(ops.DIV, self)

    def __floordiv__(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.FLOORDIV, o)

    def __mod__(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.MOD, o)

    def __pow__(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.POW, o)

    def __neg__(self) -> UOp:
        return self.alu(ops.NEG)

    def __and__(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.AND, o)

    def __or__(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.OR, o)

    def __xor__(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.XOR, o)

    def __lshift__(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.SHL, o)

    def __rshift__(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.SHR, o)

    def __lt__(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.LT, o)

    def __gt__(self, o: UOp | Scalar) -> UOp:
        return (o if isinstance(o, UOp) else self.const_like(o)).alu(ops.LT, self)

    def __ge__(self, o: UOp | Scalar) -> UOp:
        """not (self < o): true for NaN; where NaN matters write `o.lt(self) | o.eq(self)`."""
        return self.alu(ops.LT, o).logical_not()

    def eq(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.EQ, o)

    def ne(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.NE, o)

    def maximum(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.MAX, o)

    def minimum(self, o: UOp | Scalar) -> UOp:
        return self.alu(ops.MIN, o)

    def logical_not(self) -> UOp:
        return self.alu(ops.NOT)

    def where(self, yes: UOp | Scalar, no: UOp | Scalar) -> UOp:
        """`yes` where self (bool), else `no`; at least one of the two is a UOp."""
        if not isinstance(yes, UOp):
            assert isinstance(no, UOp)
            yes = no.const_like(yes)
        if not isinstance(no, UOp):
            no = yes.const_like(no)
        return UOp(ops.WHERE, yes.dtype, (self, yes, no))

    def cast(self, dtype: DType) -> UOp:
        if dtype is self.dtype:
            return self
        if self.op is ops.CONST:
            return const(cast_scalar(self.arg, self.dtype, dtype), dtype)
        return UOp(ops.CAST, dtype, (self,))

    def bitcast(self, dtype: DType) -> UOp:
        return self if dtype is self.dtype else UOp(ops.BITCAST, dtype, (self,))

    # movement: each returns self where nothing would move

    def reshape(self, shape: Iterable[Dim]) -> UOp:
        shape = tuple(shape)
        if shape == self.shape:
            return self
        if self.op is ops.RESHAPE:  # a reshape of a reshape is one reshape
            return self.src[0].reshape(shape)
        arg, dims = _template(shape)
        return UOp(ops.RESHAPE, self.dtype, (self, *dims), arg)

    def expand(self, shape: Iterable[Dim]) -> UOp:
        shape = tuple(shape)
        if shape == self.shape:
            return self
        arg, dims = _template(shape)
        return UOp(ops.EXPAND, self.dtype, (self, *dims), arg)

    def permute(self, order: Iterable[int]) -> UOp:
        order = tuple(order)
        if order == tuple(range(self.ndim)):
            return self
        return UOp(ops.PERMUTE, self.dtype, (self,), order)

    def pad(self, amounts: Iterable[tuple[Dim, Dim]]) -> UOp:
        """Zeros around: (lo, hi) for each axis."""
        flat = tuple(x for pair in amounts for x in pair)
        if all(isinstance(x, int) and x == 0 for x in flat):
            return self
        arg, dims = _template(flat)
        return UOp(ops.PAD, self.dtype, (self, *dims), arg)

    def shrink(self, bounds: Iterable[tuple[Dim, Dim]]) -> UOp:
        """The part from lo to hi (exclusive) of each axis."""
        flat: list[Dim] = []
        for (lo, hi) in bounds:
            flat += (lo, hi - lo)
        if tuple(flat[1::2]) == self.shape:
            return self
        arg, dims = _template(flat)
        return UOp(ops.SHRINK, self.dtype, (self, *dims), arg)

    def flip(self, axes: Iterable[int]) -> UOp:
        axes = tuple(sorted(axes))
        return UOp(ops.FLIP, self.dtype, (self,), axes) if axes else self

    def shear(self, axis: int, by: int, step: int, offset: int, length: int) -> UOp:
        return UOp(ops.SHEAR, self.dtype, (self,), (axis, by, step, offset, length))

    # reductions and indexing

    def reduce(self, how: str, axes: Iterable[int]) -> UOp:
        axes = tuple(sorted(axes))
        return UOp(ops.REDUCE, self.dtype, (self,), (how, axes)) if axes else self

    def sum(self, axes: Iterable[int]) -> UOp:
        return self.reduce("add", axes)

    def gather(self, idx: UOp, axis: int) -> UOp:
        return UOp(ops.GATHER, self.dtype, (self, idx), axis)

    def broadcast_to(self, shape: Shape) -> UOp:
        """NumPy broadcasting: leading axes are added, axes of length 1 repeated."""
        if shape == self.shape:
            return self
        if self.shape and len(self.shape) < len(shape):
            return self.reshape((1,) * (len(shape) - self.ndim) + self.shape).expand(shape)
        return self.expand(shape)

    def sum_to(self, shape: Shape) -> UOp:
        """The adjoint of broadcast_to: sums what was repeated."""
        if shape == self.shape:
            return self
        lead = self.ndim - len(shape)
        axes = (*range(lead),
                *(lead + i for i, d in enumerate(shape) if d == 1 and self.shape[lead + i] != 1))
        return self.sum(axes).reshape(shape)


# -- constants, leaves -----------------------------------------------------------------------------

_NAN = math.nan
# Half way between the greatest bfloat16 and the next power of two.
_BFLOAT16_OVERFLOW = (2 - 2**-8) * 2.0**127


def const(value: Scalar, dtype: DType) -> UOp:
    """The scalar constant `value` of `dtype`: integers wrap, floats round to nearest even (so a
    CONST always holds a value of its dtype), one NaN stands for all."""
    if dtype.kind == "f":
        value = round_float(float(value), dtype)
    elif dtype.kind == "b":
        value = bool(value)
    else:
        value = wrap_int(int(value), dtype)
    return UOp(ops.CONST, dtype, (), value)


def round_float(value: float, dtype: DType) -> float:
    """`value` rounded to `dtype`, ties to even; what is too large becomes infinite."""
    if value != value:
        return _NAN
    if dtype.bits == 64 or value in (math.inf, -math.inf):
        return value
    if dtype.name == "bfloat16":
        if abs(value) >= _BFLOAT16_OVERFLOW:
            return math.copysign(math.inf, value)
        _, exponent = math.frexp(value)
        ulp = max(exponent, -125) - 8
        return math.ldexp(round(math.ldexp(value, -ulp)), ulp)
    code = "f" if dtype.bits == 32 else "e"
    try:
        return float(struct.unpack(code, struct.pack(code, value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def wrap_int(value: int, dtype: DType) -> int:
    """`value` modulo 2**bits, in dtype's range."""
    value &= (1 << dtype.bits) - 1
    if dtype.kind == "i" and value >> (dtype.bits - 1):
        value -= 1 << dtype.bits
    return value


def cast_scalar(value: Scalar, old: DType, new: DType) -> Scalar:
    """What CAST makes of a Python scalar; float precision is rounded where constants are folded."""
    if new.kind == "b":
        return value != 0
    if new.kind == "f":
        return float(value)
    if old.kind == "f":
        if value != value:
            return 0
        lo, hi = int(new.min), int(new.max)
        return lo if value <= lo else hi if value >= hi else int(value)
    return wrap_int(int(value), new)


def param(dtype: DType, shape: Iterable[Dim]) -> UOp:
    """A fresh input: no two calls give the same one."""
    arg, dims = _template(tuple(shape))
    return UOp(ops.PARAM, dtype, dims, (next(_counter), arg))


def param_count() -> int:
    """A number that no PARAM has: greater than those of all so far, less than those to come."""
    return next(_counter)


def slot(number: int, dtype: DType, shape: Iterable[Dim]) -> UOp:
    """Input `number` of a Body: the same node in all of them."""
    arg, dims = _template(tuple(shape))
    return UOp(ops.PARAM, dtype, dims, (-1 - number, arg))


def buffer(storage: Any, dtype: DType, shape: Iterable[Dim]) -> UOp:
    """A leaf that holds data. `storage` is the runtime's handle; the IR never looks inside."""
    arg, dims = _template(tuple(shape))
    return UOp(ops.BUFFER, dtype, dims, (storage, arg))


def new_buffer(storage: Any, dtype: DType, shape: Shape) -> UOp:
    """`buffer` for the result of a call, its shape of ints: the one node that is not interned, as
    looking it up would cost more than making it. Where a call returns an argument's storage as it
    is, argument and result are two inputs to the next graph."""
    self = object.__new__(UOp)
    self.op, self.dtype, self.src, self.arg = ops.BUFFER, dtype, (), (storage, shape)
    self.shape, self.traced, self.depth = shape, 0, 0
    self.value = self._bounds = self._free = self._settled = None
    return self


def var(name: str, least: int, greatest: int) -> UOp:
    """A symbolic integer in [least, greatest]."""
    return UOp(ops.VAR, dtypes.index, (), (name, int(least), int(greatest)))


def arange(n: Dim, dtype: DType) -> UOp:
    """0, 1, ..., n - 1. OverflowError where 32 bits do not hold them."""
    if isinstance(n, int) and dtype.is_int and dtype.bits == 32 and n - 1 > dtype.max:
        raise OverflowError(f"{n} numbers from 0 do not fit {dtype}")
    arg, dims = _template((n,))
    return UOp(ops.ARANGE, dtype, dims, arg)


def scatter(how: str, idx: UOp, g: UOp, axis: int, length: Dim, *before: UOp) -> UOp:
    return UOp(ops.SCATTER, g.dtype, (idx, g, *before), (how, axis, length))


# -- dims ------------------------------------------------------------------------------------------


def dim_uop(d: Dim) -> UOp:
    """A dim as a node of dtype index."""
    return const(d, dtypes.index) if isinstance(d, int) else d


def prod(dims: Iterable[Dim]) -> Dim:
    out: Dim = 1
    for d in dims:
        out = d * out if isinstance(d, UOp) else out * d
    return out


def same_dim(a: Dim, b: Dim) -> bool:
    """Whether two dims are provably equal."""
    if a is b or (isinstance(a, int) and isinstance(b, int)):
        return a == b if isinstance(a, int) else True
    from anneal.uop.symbolic import simplify_dim

    a, b = simplify_dim(a), simplify_dim(b)
    return a == b if isinstance(a, int) and isinstance(b, int) else a is b


def show_shape(shape: Shape) -> str:
    from anneal.uop.show import dim_text

    inner = ", ".join(dim_text(d) for d in shape)
    return f"({inner},)" if len(shape) == 1 else f"({inner})"


def _template(dims: Iterable[Dim]) -> tuple[tuple[int | None, ...], tuple[UOp, ...]]:
    dims = tuple(dims)
    symbolic = tuple(d for d in dims if isinstance(d, UOp))
    if not symbolic:
        return dims, ()  # type: ignore[return-value]
    from anneal.uop.symbolic import simplify_dim

    dims = tuple(simplify_dim(d) for d in dims)
    return (tuple(None if isinstance(d, UOp) else d for d in dims),
            tuple(d for d in dims if isinstance(d, UOp)))


def _filled(arg: tuple[int | None, ...], dims: tuple[UOp, ...]) -> tuple[Dim, ...]:
    if not dims:
        return arg  # type: ignore[return-value]
    it = iter(dims)
    # After a VAR was bound to a constant, its dim is that int again.
    return tuple(_dim_of(next(it)) if a is None else a for a in arg)


def _dim_of(u: UOp) -> Dim:
    return int(u.arg) if u.op is ops.CONST else u


# -- shapes ----------------------------------------------------------------------------------------


def _leaf_shape(op: Op, src: tuple[UOp, ...], arg: Any) -> Shape:
    return _filled(arg[1], src)


def _arange_shape(op: Op, src: tuple[UOp, ...], arg: Any) -> Shape:
    return _filled(arg, src)


def _reshape_shape(op: Op, src: tuple[UOp, ...], arg: Any) -> Shape:
    shape, old = _filled(arg, src[1:]), src[0].shape
    n, m = prod(shape), prod(old)
    if n != m and not same_dim(n, m):
        raise ValueError(f"cannot reshape {show_shape(old)} to {show_shape(shape)}: the number of "
                         f"elements differs")
    return shape


def _expand_shape(op: Op, src: tuple[UOp, ...], arg: Any) -> Shape:
    shape, old = _filled(arg, src[1:]), src[0].shape
    if old and (len(old) != len(shape)
                or not all(a == 1 or same_dim(a, b) for a, b in zip(old, shape, strict=True))):
        raise ValueError(f"cannot expand {show_shape(old)} to {show_shape(shape)}: only axes of "
                         f"length 1 can be repeated")
    return shape


def _permute_shape(op: Op, src: tuple[UOp, ...], arg: Any) -> Shape:
    old = src[0].shape
    if sorted(arg) != list(range(len(old))):
        raise ValueError(f"{arg} is no permutation of the axes of {show_shape(old)}")
    return tuple(old[i] for i in arg)


def _pad_shape(op: Op, src: tuple[UOp, ...], arg: Any) -> Shape:
    amounts, old = _filled(arg, src[1:]), src[0].shape
    if len(amounts) != 2 * len(old) or any(isinstance(a, int) and a < 0 for a in amounts):
        raise ValueError(f"cannot pad {show_shape(old)} by {amounts}: needs two amounts, not "
                         f"negative, for every axis")
    return tuple(_plus(_plus(d, lo), hi)
                 for d, lo, hi in zip(old, amounts[::2], amounts[1::2], strict=True))


def _plus(a: Dim, b: Dim) -> Dim:
    if isinstance(a, int) and isinstance(b, int):
        return a + b
    from anneal.uop.symbolic import simplify_dim

    return simplify_dim(dim_uop(a) + b)


def _shrink_shape(op: Op, src: tuple[UOp, ...], arg: Any) -> Shape:
    bounds, old = _filled(arg, src[1:]), src[0].shape
    lows, lengths = bounds[::2], bounds[1::2]
    ok = len(bounds) == 2 * len(old)
    for d, lo, n in zip(old, lows, lengths, strict=False):
        if isinstance(lo, int) and isinstance(n, int) and isinstance(d, int):
            ok = ok and lo >= 0 and n >= 0 and lo + n <= d
    if not ok:
        asked = ", ".join(f"{lo}:{_plus(lo, n)}" for lo, n in zip(lows, lengths, strict=True))
        raise ValueError(f"cannot shrink {show_shape(old)} to [{asked}]: out of range")
    return lengths


def _flip_shape(op: Op, src: tuple[UOp, ...], arg: Any) -> Shape:
    if any(not 0 <= a < src[0].ndim for a in arg):
        raise ValueError(f"cannot flip axes {arg} of {show_shape(src[0].shape)}")
    return src[0].shape


def _shear_shape(op: Op, src: tuple[UOp, ...], arg: Any) -> Shape:
    axis, by, _, _, length = arg
    old = src[0].shape
    if axis == by or not (0 <= axis < len(old) and 0 <= by < len(old)):
        raise ValueError(f"cannot shear axis {axis} by axis {by} of {show_shape(old)}")
    return (*old[:axis], length, *old[axis + 1 :])


def _reduce_shape(op: Op, src: tuple[UOp, ...], arg: Any) -> Shape:
    axes, old = arg[1], src[0].shape
    if any(not 0 <= a < len(old) for a in axes):
        raise ValueError(f"cannot reduce axes {axes} of {show_shape(old)}")
    return tuple(d for i, d in enumerate(old) if i not in axes)


def _gather_shape(op: Op, src: tuple[UOp, ...], arg: Any) -> Shape:
    x, idx = src[0].shape, src[1].shape
    if len(x) != len(idx) or any(
        i != arg and not same_dim(a, b) for i, (a, b) in enumerate(zip(x, idx, strict=True))
    ):
        raise ValueError(f"cannot gather along axis {arg} of {show_shape(x)} with indices "
                         f"{show_shape(idx)}: the other axes must agree")
    return idx


def _scatter_shape(op: Op, src: tuple[UOp, ...], arg: Any) -> Shape:
    _, axis, length = arg
    idx, g = src[0].shape, src[1].shape
    if idx != g:
        raise ValueError(f"cannot scatter {show_shape(g)} by indices {show_shape(idx)}")
    return (*g[:axis], length, *g[axis + 1 :])


def _get_shape(op: Op, src: tuple[UOp, ...], arg: Any) -> Shape:
    body = src[0].arg[0]
    shape: Shape = body.at(body.outputs[arg].shape, src[0].src)
    return shape


def _identity_shape(op: Op, src: tuple[UOp, ...], arg: Any) -> Shape:
    return src[0].shape


def _scalar_shape(op: Op, src: tuple[UOp, ...], arg: Any) -> Shape:
    return ()


_SHAPES: dict[Op, Callable[[Op, tuple[UOp, ...], Any], Shape]] = {
    ops.PARAM: _leaf_shape, ops.BUFFER: _leaf_shape, ops.ARANGE: _arange_shape,
    ops.RESHAPE: _reshape_shape, ops.EXPAND: _expand_shape, ops.PERMUTE: _permute_shape,
    ops.PAD: _pad_shape, ops.SHRINK: _shrink_shape, ops.FLIP: _flip_shape,
    ops.SHEAR: _shear_shape, ops.REDUCE: _reduce_shape, ops.GATHER: _gather_shape,
    ops.SCATTER: _scatter_shape, ops.AFTER: _identity_shape,
    ops.CALL: _scalar_shape, ops.GET: _get_shape, ops.RANGE: _scalar_shape,
    ops.ARG: _scalar_shape, ops.STAGE: _scalar_shape,
}  # fmt: skip


# -- graphs ----------------------------------------------------------------------------------------


def toposort(roots: Iterable[UOp], stop: Callable[[UOp], bool] | None = None) -> list[UOp]:
    """Every node under `roots`, sources before users, each once, in a deterministic order.

    Below a node for which `stop` is true the walk does not go (the node itself is listed).
    """
    done: dict[UOp, None] = {}
    # The nodes on the way down to where the walk is, and what is left of their users' sources.
    path: list[UOp] = []
    outer: list[Iterator[UOp]] = []
    left = iter(roots)
    while True:
        for u in left:
            if u in done:
                continue
            if u.src and (stop is None or not stop(u)):
                path.append(u)
                outer.append(left)
                left = iter(u.src)
                break
            done[u] = None
        else:
            if not path:
                return list(done)
            done[path.pop()] = None
            left = outer.pop()


def rebuild(u: UOp, src: tuple[UOp, ...]) -> UOp:
    """`u` with other sources."""
    return u if src == u.src else UOp(u.op, u.dtype, src, u.arg)


def substitute(
    roots: Iterable[UOp], mapping: Mapping[UOp, UOp], carry: Carry | None = None
) -> list[UOp]:
    """`roots` with every key of `mapping` replaced by its value (values are not searched)."""
    roots = list(roots)
    if not mapping and carry is None:
        return roots
    done: dict[UOp, UOp] = dict(mapping)
    for u in toposort(roots, stop=mapping.__contains__):
        if u not in done:
            new = done[u] = rebuild(u, tuple([done[s] for s in u.src])) if u.src else u
            if carry is not None:
                carry(u, new)
    return [done[r] for r in roots]


@dataclass(frozen=True, slots=True)
class Graph:
    """A function as data: PARAM nodes, result nodes. The pytrees are kept by the transforms.
    `lines`: what made its nodes, no part of what it is."""

    inputs: tuple[UOp, ...]
    outputs: tuple[UOp, ...]
    lines: Mapping[UOp, Origins] = field(default_factory=dict, compare=False)

    def __repr__(self) -> str:
        from anneal.uop.show import show_graph

        return show_graph(self)

    def nodes(self) -> list[UOp]:
        return toposort(self.outputs)

    def call(self, args: Iterable[UOp], carry: Carry | None = None) -> list[UOp]:
        """The outputs with `args` in the place of the inputs: inlining."""
        return substitute(self.outputs, dict(zip(self.inputs, args, strict=True)), carry)

    def leaves(self) -> list[UOp]:
        """BUFFERs that the outputs read without their being inputs, in order of first use."""
        return [u for u in self.nodes() if u.op is ops.BUFFER]

    def key(self) -> str:
        """A digest of the structure, equal across processes; inputs and buffers by position."""
        return structural_key(self.outputs, self.inputs)


def structural_key(roots: Iterable[UOp], numbered: Iterable[UOp] = ()) -> str:
    """A digest of the graphs under `roots`, equal across processes.

    `numbered` nodes (a graph's inputs) and BUFFERs count by their position, not their identity.
    """
    roots = tuple(roots)
    numbers: dict[UOp, int] = {}
    position = {u: i for i, u in enumerate(numbered)}
    lines: list[str] = []
    buffers = 0
    for n, u in enumerate(toposort(roots)):
        numbers[u] = n
        arg: Any = u.arg
        if u in position:
            arg = ("input", position[u], u.arg[1] if u.op is ops.PARAM else u.arg)
        elif u.op is ops.BUFFER:
            arg = ("buffer", buffers, u.arg[1])
            buffers += 1
        elif u.op is ops.CALL:
            arg = (u.arg[0].key, *u.arg[1:])
        lines.append(f"{u.op.name} {u.dtype.name} {[numbers[s] for s in u.src]} {arg!r}")
    lines.append(repr([numbers[r] for r in roots]))
    # Inputs that nothing reads are inputs too.
    lines += [f"{u.op.name} {u.dtype.name} {u.arg[1]!r}" for u in position if u not in numbers]
    lines.append(str(len(position)))
    return blake2b("\n".join(lines).encode(), digest_size=16).hexdigest()


