"""Small random tensor graphs: a hypothesis strategy for comparing devices with the interpreter.

Two families. "exact": integers, bools and floats whose every intermediate value is exact (checked
as the graph grows), so that results must be equal bit for bit, through floor, comparisons and
casts too. "smooth": floats through transcendental functions, without discontinuities, so that
results must be close.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

import numpy as np
from hypothesis import strategies as st

from anneal.interpret import evaluate, numpy_dtype
from anneal.transforms.fold import fold
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.uop import Graph, UOp, arange, const, param, scatter, substitute, toposort

Family = Literal["exact", "smooth"]
Draw = Any

# By bytes of a float: below the first, sums of multiples of the second are exact.
_EXACT = {4: (2.0**14, 2.0**-6), 2: (2.0**7, 2.0**-2)}
_MOST_ELEMENTS = 96
_SPECIAL = (math.inf, -math.inf, math.nan, -0.0)

_FLOAT_OPS = (ops.ADD, ops.SUB, ops.MUL, ops.MAX, ops.MIN)
_INT_OPS = (*_FLOAT_OPS, ops.FLOORDIV, ops.MOD, ops.AND, ops.OR, ops.XOR, ops.SHL, ops.SHR)
_BOOL_OPS = (ops.ADD, ops.MUL, ops.MAX, ops.MIN, ops.AND, ops.OR, ops.XOR)
_SMOOTH_UNARY = (ops.NEG, ops.EXP, ops.LOG, ops.SIN, ops.COS, ops.TANH, ops.SQRT, ops.ABS,
                 ops.EXPM1, ops.SINH, ops.COSH, ops.ERF)  # fmt: skip


class Example(NamedTuple):
    """A graph and data for its inputs."""

    graph: Graph
    data: tuple[np.ndarray[Any, Any], ...]


@st.composite
def examples(draw: Draw, family: Family, steps: int = 10, lookups: int = 0) -> Example:
    """A graph of up to `steps` operations, and `lookups` that use computed indices, with one to
    three outputs and some more, and its inputs' data."""
    return _Builder(draw, family).build(steps, lookups)


@st.composite
def with_calls(draw: Draw, graph: Graph) -> Graph:
    """`graph`, parts of which are calls of Bodies: calls of calls, too."""
    outputs = list(graph.outputs)
    for _ in range(draw(st.integers(1, 4))):
        nodes = [u for u in toposort(outputs) if u.op is not ops.CALL and u.op is not ops.CONST]
        results = draw(st.lists(st.sampled_from(nodes), min_size=1, max_size=3, unique=True))
        below = [u for u in toposort(results) if u.op is not ops.CALL]
        cut = draw(st.lists(st.sampled_from(below), max_size=4, unique=True))
        cut = [u for u in cut if u not in results]
        inner = {u: param(u.dtype, u.shape) for u in cut}
        first = min((p.arg[0] for p in inner.values()), default=0)
        part = Graph(tuple(inner.values()), tuple(substitute(results, inner)))
        made = fold(part, first, draw(st.booleans())).called(cut)
        outputs = substitute(outputs, dict(zip(results, made, strict=True)))
    return Graph(graph.inputs, tuple(outputs))


class _Builder:
    """The nodes so far and their values, for the choice of the next."""

    def __init__(self, draw: Draw, family: Family) -> None:
        self.draw, self.family = draw, family
        self.values: dict[UOp, np.ndarray[Any, Any]] = {}
        self.inputs: dict[UOp, np.ndarray[Any, Any]] = {}
        # Of an index that is computed and what it is used on: results too, or made and kept only by
        # the kernel that uses them.
        self.asked: dict[UOp, None] = {}
        self.kinds = ((dtypes.float32, dtypes.int32, dtypes.uint32, dtypes.bool_, dtypes.float16)
                      if family == "exact" else (dtypes.float32,))  # fmt: skip

    def pick(self, options: Any) -> Any:
        return self.draw(st.sampled_from(list(options)))

    def number(self, low: int, high: int) -> int:
        return int(self.draw(st.integers(low, high)))

    def build(self, steps: int, lookups: int) -> Example:
        for _ in range(self.number(1, 3)):
            self.new_input(self.pick(self.kinds), self.shape())
        makers = (self.unary, self.binary, self.binary, self.move, self.move, self.reduce,
                  self.gather, self.scatter, self.where, self.cast, self.matmul)  # fmt: skip
        for _ in range(self.number(1, steps)):
            node = self.pick(makers)(self.any_node())
            if node is not None:
                self.keep(node)
        for _ in range(lookups):
            node = self.pick((self.gather, self.gather, self.scatter))(self.any_node(), made=True)
            if node is not None:
                self.keep(node)
        nodes = list(self.values)
        outputs = [nodes[-1], *(self.pick(nodes) for _ in range(self.number(0, 2)))]
        outputs += [u for u in self.asked if self.number(0, 1)]
        used = set(toposort(outputs))
        kept = [p for p in self.inputs if p in used]
        return Example(Graph(tuple(kept), tuple(outputs)), tuple(self.inputs[p] for p in kept))

    # -- leaves -------------------------------------------------------------------------------

    def shape(self) -> tuple[int, ...]:
        lengths = (1, 2, 3, 4, 5) if self.number(0, 9) else (0, 1, 2)
        return tuple(self.draw(st.lists(st.sampled_from(lengths), max_size=3)))

    def new_input(self, dtype: DType, shape: tuple[int, ...]) -> UOp:
        if dtype.kind == "b":
            elements = st.booleans()
        elif dtype.kind == "f":
            elements = st.integers(-12, 12).map(lambda n: n / 4)
            if self.family == "exact" and dtype.bits == 32 and self.number(0, 3) == 0:
                elements = st.one_of(elements, st.sampled_from(_SPECIAL))
        elif dtype.kind == "u":
            elements = st.sampled_from((0, 1, 2, 3, 7, 31, 32, 2**31, 2**32 - 1))
        else:
            elements = st.sampled_from((0, 1, 2, 3, 5, 33, -1, -2, -7, 2**31 - 1, -(2**31)))
        n = math.prod(shape)
        flat = self.draw(st.lists(elements, min_size=n, max_size=n))
        node = param(dtype, shape)
        data = np.array(flat, numpy_dtype(dtype)).reshape(shape)
        self.inputs[node] = self.values[node] = data
        return node

    def any_node(self) -> UOp:
        node: UOp = self.pick(self.values)
        return node

    def partner(self, x: UOp, dtype: DType) -> UOp:
        """A node of x's shape and `dtype`: one there is, a constant, a counter, or a new input."""
        known = [u for u in self.values if u.dtype is dtype and u.shape == x.shape]
        kind = self.pick(("known", "known", "const", "input"))
        if kind == "known" and known:
            node: UOp = self.pick(known)
            return node
        if kind == "const" or len(self.inputs) > 5:
            return const(self.pick((0, 1, 2, 3)), dtype)
        return self.new_input(dtype, _ints(x))

    def keep(self, node: UOp) -> None:
        (value,) = evaluate([node], self.values)
        if value.size <= _MOST_ELEMENTS and self.usable(value):
            self.values[node] = value

    def usable(self, value: np.ndarray[Any, Any]) -> bool:
        if value.dtype.kind != "f":
            return True
        # Drivers find x - x in other formulas of float16 too: finite values only.
        if self.family == "exact" and value.dtype.itemsize == 4:
            value = value[np.isfinite(value)]
        largest, step = _EXACT[value.dtype.itemsize]
        if not np.all(np.abs(value) < largest):
            return False
        return self.family == "smooth" or bool(np.all(value == np.round(value / step) * step))

    # -- operations ---------------------------------------------------------------------------

    def unary(self, x: UOp) -> UOp | None:
        if x.dtype.kind == "b":
            return x.alu(ops.NOT)
        if x.dtype.is_int:
            return x.alu(self.pick((ops.NEG, ops.ABS, ops.NOT)))
        if self.family == "exact":
            return x.alu(self.pick((ops.NEG, ops.ABS, ops.FLOOR, ops.ROUND)))
        op = self.pick(_SMOOTH_UNARY)
        if op in (ops.LOG, ops.SQRT):
            x = x.alu(ops.ABS) + 0.5
        elif op in (ops.EXP, ops.EXPM1, ops.SIN, ops.COS, ops.SINH, ops.COSH):
            x = x.maximum(-8.0).minimum(8.0)
        return x.alu(op)

    def binary(self, x: UOp) -> UOp | None:
        y = self.partner(x, x.dtype)
        if self.family == "smooth" and x.dtype.is_float:
            op = self.pick((*_FLOAT_OPS, ops.DIV, ops.POW))
            if op is ops.DIV:
                y = y.alu(ops.ABS) + 1.0
            if op is ops.POW:
                x, y = x.alu(ops.ABS) + 0.5, y.maximum(-2.0).minimum(2.0)
            return x.alu(op, y)
        kind = x.dtype.kind
        table = {"b": _BOOL_OPS, "f": _FLOAT_OPS}.get(kind, _INT_OPS)
        op = self.pick((*table, ops.LT, ops.EQ, ops.NE))
        return x.alu(op, y) if self.number(0, 1) else UOp(
            op, dtypes.bool_ if op in ops.COMPARISONS else x.dtype, (y, x))  # fmt: skip

    def where(self, x: UOp) -> UOp | None:
        return self.partner(x, dtypes.bool_).where(x, self.partner(x, x.dtype))

    def cast(self, x: UOp) -> UOp | None:
        if self.family == "smooth":  # a cast is no smooth function
            op = self.pick((ops.STOP_GRADIENT, ops.CONTIGUOUS, ops.AFTER))
            others = (self.partner(x, x.dtype),) if op is ops.AFTER else ()
            return UOp(op, x.dtype, (x, *(others or x.src if op.arity < 0 else ())))
        to = self.pick(self.kinds)
        if x.dtype.bits == 32 and to.bits == 32 and to.is_int and self.number(0, 3) == 0:
            return x.bitcast(to)
        return x.cast(to)

    def move(self, x: UOp) -> UOp | None:
        kinds = (self.reshape, self.permute, self.expand, self.pad, self.shrink, self.flip,
                 self.shear)  # fmt: skip
        made: UOp | None = self.pick(kinds)(x, _ints(x))
        return made

    def reshape(self, x: UOp, shape: tuple[int, ...]) -> UOp:
        n = math.prod(shape)
        rest, new = n, []
        while len(new) < 3 and rest > 1:
            new.append(self.pick([d for d in range(1, rest + 1) if rest % d == 0]))
            rest //= new[-1]
        if rest != 1 or self.number(0, 1):
            new.append(rest)
        return x.reshape(new)

    def permute(self, x: UOp, shape: tuple[int, ...]) -> UOp:
        return x.permute(self.draw(st.permutations(range(len(shape)))))

    def expand(self, x: UOp, shape: tuple[int, ...]) -> UOp:
        at = self.number(0, len(shape))
        x = x.reshape((*shape[:at], 1, *shape[at:]))
        n = self.number(1, 4)
        return x.expand((*shape[:at], n, *shape[at:]))

    def pad(self, x: UOp, shape: tuple[int, ...]) -> UOp:
        return x.pad([(self.number(0, 2), self.number(0, 2)) for _ in shape])

    def shrink(self, x: UOp, shape: tuple[int, ...]) -> UOp:
        lows = [self.number(0, max(d - 1, 0)) for d in shape]
        return x.shrink([(lo, self.number(min(lo + 1, d), d))
                         for lo, d in zip(lows, shape, strict=True)])  # fmt: skip

    def flip(self, x: UOp, shape: tuple[int, ...]) -> UOp:
        return x.flip([i for i in range(len(shape)) if self.number(0, 1)])

    def shear(self, x: UOp, shape: tuple[int, ...]) -> UOp | None:
        if not shape:
            return None
        axis, k = self.number(0, len(shape) - 1), self.number(1, 3)
        x = x.reshape((*shape, 1)).expand((*shape, k))
        step, offset, length = self.pick((1, 1, 2, -1)), self.number(-2, 2), self.number(1, 5)
        return x.shear(axis, len(shape), step, offset, length)

    def reduce(self, x: UOp) -> UOp | None:
        axes = [i for i in range(x.ndim) if self.number(0, 1)]
        how = self.pick(("add", "add", "max", "min", "mul"))
        return x.reduce(how, axes)

    def gather(self, x: UOp, made: bool = False) -> UOp | None:
        if not x.ndim:
            return None
        axis = self.number(0, x.ndim - 1)
        if not _ints(x)[axis]:
            return None
        return x.gather(self.indices(x, axis, self.number(1, 4), made), axis)

    def scatter(self, x: UOp, made: bool = False) -> UOp | None:
        if not x.ndim or x.dtype.kind == "b":
            return None
        axis = self.number(0, x.ndim - 1)
        idx = self.indices(x, axis, _ints(x)[axis], made)
        how = self.pick(("add", "max", "min") if self.family == "exact" else ("add",))
        return scatter(how, idx, x, axis, self.number(1, 4))

    def indices(self, x: UOp, axis: int, n: int, made: bool) -> UOp:
        """Indices along `axis`, some of them outside: given, counted, or computed."""
        shape = [n if i == axis else d for i, d in enumerate(_ints(x))]
        kind = 2 if made else self.number(0, 2 if self.family == "exact" else 1)
        if kind == 2:
            return self.made_indices(x, axis, tuple(shape))
        if kind == 1:
            return self.new_input(dtypes.int32, tuple(shape))
        line = arange(n, dtypes.int32) * self.number(-1, 2) + self.number(-1, 2)
        return line.reshape([n if i == axis else 1 for i in range(len(shape))]).expand(shape)

    def made_indices(self, x: UOp, axis: int, shape: tuple[int, ...]) -> UOp:
        """A known node as indices, or the extremes of x along `axis` at each place."""
        known = [u for u in self.values if u.shape == shape]
        made = self.pick(known) if known and self.number(0, 1) else x
        self.asked |= {u: None for u in (x, made) if u in self.values}
        if made is x and x.shape != shape or not known:
            one = [1 if i == axis else d for i, d in enumerate(shape)]
            made = x.reduce(self.pick(("max", "min")), (axis,)).reshape(one).expand(shape)
        return made.cast(dtypes.int32)

    def matmul(self, x: UOp) -> UOp | None:
        if x.ndim != 2 or x.dtype.kind == "b":
            return None
        (m, k), n = _ints(x), self.number(1, 4)
        known = [u for u in self.values if u.dtype is x.dtype and u.ndim == 2 and u.shape[0] == k]
        y = self.pick(known) if known else self.new_input(x.dtype, (k, n))
        n = _ints(y)[1]
        left = x.reshape((m, 1, k)).expand((m, n, k))
        return (left * y.permute((1, 0)).reshape((1, n, k)).expand((m, n, k))).sum((2,))


def _ints(u: UOp) -> tuple[int, ...]:
    return tuple(d for d in u.shape if isinstance(d, int))
