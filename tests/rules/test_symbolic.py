"""Every rule of rules/symbolic.upat, proven: its pattern is filled with random leaves until the
rule fires, and both sides are evaluated by the interpreter on values that include NaN, infinities,
signed zeros and integer extremes. Equal to the bit (one NaN is as good as another)."""

from __future__ import annotations

import ast
import random
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from anneal.interpret import evaluate
from anneal.rules._symbolic import RULES
from anneal.uop import dtypes, ops
from anneal.uop.dtypes import DType
from anneal.uop.rewrite import Rule, rewrite
from anneal.uop.symbolic import simplify
from anneal.uop.uop import Shape, UOp, const, param, substitute, toposort, var
from anneal.uop.upat import load, pattern_op, pattern_operands, split

Values = dict[UOp, np.ndarray]
SAMPLES = 16
SHAPE = (SAMPLES,)
NUMERIC = (dtypes.int32, dtypes.uint8, dtypes.int16, dtypes.float32, dtypes.float16)
INT_VALUES = (0, 1, -1, 2, 3, 5, 7, -8, 100, 2**31 - 1, -(2**31), 255, 128, -128, 32767, 31, 32)
FLOAT_VALUES = (0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, 1e-40, 6e-8, 65504.0, 3e38, -3e38,
                float("inf"), float("-inf"), float("nan"), 1 / 3)  # fmt: skip
MOVEMENT = {"RESHAPE", "EXPAND", "PERMUTE", "PAD", "SHRINK", "FLIP"}


# -- instances -------------------------------------------------------------------------------------


class Instance:
    """One random graph of a rule's pattern."""

    def __init__(self, rule: Rule, rng: random.Random) -> None:
        self.rng = rng
        self.env: dict[str, UOp] = {}
        self.shared = param(dtypes.int32, SHAPE)
        self.pattern = split(rule)[0]
        names = {n.id.upper() for n in ast.walk(self.pattern) if isinstance(n, ast.Name)}
        self.moves = bool(names & MOVEMENT) or "REDUCE" in names
        elementwise = {pattern_op(n) for n in ast.walk(self.pattern) if isinstance(n, ast.expr)}
        self.common = self.moves and bool(elementwise - MOVEMENT - {"REDUCE", None})
        scopes = {"index": (dtypes.index,), "int": (dtypes.index, dtypes.int32, dtypes.uint8),
                  "float": (dtypes.float32, dtypes.float16), "bool": (dtypes.bool_,),
                  "any": (*NUMERIC, dtypes.index, dtypes.bool_)}  # fmt: skip
        self.dtype = rng.choice(scopes[rule.scope])
        unfit = {"NEG", "ABS", "SUB", "FLOORDIV", "MOD", "SHL", "SHR"}
        if elementwise & unfit and self.dtype.kind == "b":
            self.dtype = dtypes.float32
        if self.moves:
            self.dtype = rng.choice((dtypes.int32, dtypes.float32))
        if "DIV" in elementwise or elementwise & {"SQRT", "FLOOR", "ROUND"}:
            self.dtype = rng.choice((dtypes.float32, dtypes.float16))
        bits = {"FLOORDIV", "MOD", "SHL", "SHR", "AND", "OR", "XOR", "NOT"} & elementwise
        if bits and self.dtype.is_float:
            self.dtype = rng.choice((dtypes.int32, dtypes.uint8))
        self.inner = rng.choice((dtypes.index, dtypes.int32, dtypes.float32))
        if rule.scope != "bool":
            self.inner = self.dtype
        self.node = self.build(self.pattern, self.dtype)

    def build(self, pattern: ast.expr, dtype: DType) -> UOp:
        op = pattern_op(pattern)
        if op is None:
            return self.leaf(pattern, dtype)
        operands = pattern_operands(pattern)
        if op in ("LT", "EQ", "NE"):
            kind = self.dtype if pattern is self.pattern else self.inner
            a, b = (self.build(o, kind) for o in operands)
            return a.alu(ops.BY_NAME[op], b)
        if op == "WHERE":
            p, x, y = (self.build(o, d)
                       for o, d in zip(operands, (dtypes.bool_, dtype, dtype), strict=True))
            return p.where(x, y)
        if op == "CAST":
            source = self.build(operands[0], self.rng.choice((*NUMERIC, dtypes.bool_, dtype)))
            return UOp(ops.CAST, dtype, (source,))
        if op in MOVEMENT or op == "REDUCE":
            x = self.build(operands[0], dtype)
            target = (2, 3) if self.common and op == "EXPAND" else None
            if op == "REDUCE":
                return reduced(x, self.rng)
            return bound(moved(op, x, self.rng, target), self.rng)
        first, *rest = (self.build(o, dtype) for o in operands)
        return first.alu(ops.BY_NAME[op], *rest)

    def leaf(self, pattern: ast.expr, dtype: DType) -> UOp:
        text = ast.unparse(pattern)
        if not isinstance(pattern, ast.Name) or text in ("true", "false", "inf", "nan"):
            known = {"true": True, "false": False, "inf": np.inf, "nan": np.nan}
            value = known[text] if text in known else ast.literal_eval(pattern)
            return const(value, dtype)
        if text not in self.env:
            constant = text[0] == "c" and (len(text) == 1 or text[1:].isdigit())
            self.env[text] = constant_of(dtype, self.rng) if constant else self.variable(dtype)
        return self.env[text]

    def variable(self, dtype: DType) -> UOp:
        rng = self.rng
        if dtype is dtypes.index:
            return index_expression(rng, rng.randint(0, 3))
        if self.common:
            return param(dtype, rng.choice(((2, 3), (), (), (1, 3))))
        if self.moves:
            if rng.random() < 0.2:
                return constant_of(dtype, rng)
            return param(dtype, rng.choice(((2, 3), (1, 3), (2, 1), (1, 1), (4,), (), (2, 1, 3))))
        if dtype.is_int and rng.random() < 0.4:  # an int of known bounds
            small = param(rng.choice((dtypes.bool_, dtypes.uint8, dtypes.int8)), SHAPE)
            return UOp(ops.CAST, dtype, (small,)) if small.dtype is not dtype else small
        if dtype.kind == "b" and rng.random() < 0.6:
            return self.condition()
        return param(dtype, rng.choice((SHAPE, SHAPE, ())))


    def condition(self) -> UOp:
        """A test of the one integer that all conditions share, or several, or one of another's."""
        rng = self.rng
        known = [u for u in self.env.values() if u.dtype.kind == "b"]
        if known and rng.random() < 0.4:
            return rng.choice([s for u in known for s in (*u.src, u) if s.dtype.kind == "b"])
        made = [self.shared < rng.choice((0, 1, 3, 7)) for _ in range(2)]
        made += [made[1].logical_not(), made[0] & made[1], made[0] & made[1].logical_not()]
        return rng.choice(made)


def constant_of(dtype: DType, rng: random.Random) -> UOp:
    if dtype is dtypes.index:
        return const(rng.choice((1, 2, 3, 4, 6, 8, 12, 5, 0, -1, -2, -4)), dtype)
    return const(rng.choice(FLOAT_VALUES if dtype.is_float else INT_VALUES), dtype)


def moved(op: str, x: UOp, rng: random.Random, target: tuple[int, ...] | None) -> UOp:
    """A movement op that fits `x`, also one that moves nothing."""
    n = x.ndim
    if op == "RESHAPE":
        size = x.size
        known = ((2, 3), (6,), (3, 2), (1, 3), (3,), (2,), (1, 1), (1,), (), (4,), (2, 2))
        shapes = [s for s in known if int(np.prod(s)) == size]
        return UOp(ops.RESHAPE, x.dtype, (x,), rng.choice([*shapes, x.shape]))
    if op == "EXPAND":
        grown = tuple(rng.choice((2, 3)) if d == 1 else d for d in ints(x.shape))
        shape = target or grown or (2, 3)
        return UOp(ops.EXPAND, x.dtype, (x,), rng.choice((shape, target or x.shape)))
    if op == "PERMUTE":
        return UOp(ops.PERMUTE, x.dtype, (x,), tuple(rng.sample(range(n), n)))
    if op == "FLIP":
        return UOp(ops.FLIP, x.dtype, (x,), tuple(a for a in range(n) if rng.random() < 0.5))
    if op == "PAD":
        if not n:
            raise ValueError("nothing to pad")
        most = rng.choice((0, 2))
        return UOp(ops.PAD, x.dtype, (x,), tuple(rng.randint(0, most) for _ in range(2 * n)))
    bounds = []
    for d in x.shape:
        assert isinstance(d, int)
        length = rng.choice((d, rng.randint(0, d)))
        bounds += [rng.randint(0, d - length), length]
    return UOp(ops.SHRINK, x.dtype, (x,), tuple(bounds))


def bound(u: UOp, rng: random.Random) -> UOp:
    """Sometimes, `u` as it is after a VAR among its dims was bound to a constant."""
    if u.op in (ops.PERMUTE, ops.FLIP) or rng.random() < 0.8:
        return u
    dims = tuple(const(d, dtypes.index) for d in u.arg)
    return UOp(u.op, u.dtype, (*u.src, *dims), (None,) * len(dims))


def reduced(x: UOp, rng: random.Random) -> UOp:
    """Sums and products of ints only: those of floats may be reassociated."""
    exact = x.dtype.is_int or x.op is ops.CONST or x.src and x.src[0].op is ops.CONST
    how = rng.choice(("add", "mul", "max", "min", "add") if exact else ("max", "min"))
    if not x.ndim:
        raise ValueError("nothing to reduce")
    axes = [a for a in range(x.ndim) if rng.random() < 0.6] or [x.ndim - 1]
    return UOp(ops.REDUCE, x.dtype, (x,), (how, tuple(axes)))


# -- index expressions -----------------------------------------------------------------------------

_B, _T = var("B", 1, 6), var("T", 1, 5)


def counter(number: int, end: int | UOp) -> UOp:
    end = const(end, dtypes.index) if isinstance(end, int) else end
    return UOp(ops.RANGE, dtypes.index, (end,), (number, "loop"))


_ENDS: tuple[int | UOp, ...] = (4, 3, 12, 2, 1, _B, _T, _B * _T)
_LEAVES = [*(counter(i, end) for i, end in enumerate(_ENDS)), _B, _T, var("v", -3, 4)]


def index_expression(rng: random.Random, depth: int) -> UOp:
    x = rng.choice(_LEAVES)
    for _ in range(depth):
        y = rng.choice(_LEAVES)
        k = rng.choice((1, 2, 3, 4, 8, 12))
        x = rng.choice([
            x + y, x * k + y, x * k + y * rng.choice((2, 4, -4)),
            x * -k + rng.choice((0, 3, 11)), x + rng.choice((-4, -1, 1, 3, 7)),
            x // k, x % k, x * k, x // k * k + x % k, x - x // k * k,
            x * _T + _LEAVES[6], x * (_T * 4), y * _T,
            x.maximum(y), x.minimum(k), (x < y).where(x, y),
        ])  # fmt: skip
    return x


# -- evaluation ------------------------------------------------------------------------------------


def ints(shape: Shape) -> tuple[int, ...]:
    assert all(isinstance(d, int) for d in shape)
    return tuple(d for d in shape if isinstance(d, int))


def values_of(u: UOp, rng: random.Random) -> np.ndarray:
    shape = ints(u.shape)
    n = int(np.prod(shape))
    if u.dtype.kind == "b":
        data = [rng.random() < 0.5 for _ in range(n)]
    elif u.dtype.is_float:
        data = [const(rng.choice(FLOAT_VALUES), u.dtype).arg for _ in range(n)]
    else:
        data = [const(rng.choice(INT_VALUES), u.dtype).arg for _ in range(n)]
    return np.array(data, np.dtype(u.dtype.name)).reshape(shape)


def counters_as_inputs(roots: list[UOp], rng: random.Random) -> tuple[list[UOp], Values]:
    """VARs and RANGEs replaced by inputs that hold values within their bounds."""
    mapping: dict[UOp, UOp] = {}
    values: Values = {}
    for u in toposort(roots):
        if u.op is ops.VAR:
            held = [rng.randint(u.arg[1], u.arg[2]) for _ in range(SAMPLES)]
        elif u.op is ops.RANGE:
            (end,) = substitute(u.src, mapping)
            ends = np.broadcast_to(evaluate([end], values)[0], SHAPE)
            held = [rng.randrange(int(e)) for e in ends]
        else:
            continue
        mapping[u] = param(dtypes.index, SHAPE)
        values[mapping[u]] = np.array(held, np.int64)
    rebuilt = substitute([r for r in roots], mapping)
    return rebuilt, values


def assert_same(before: UOp, after: UOp, rng: random.Random) -> None:
    roots, values = counters_as_inputs([before, after], rng)
    for u in toposort(roots):
        if u.op is ops.PARAM and u not in values:
            values[u] = values_of(u, rng)
    with np.errstate(all="ignore"):
        a, b = evaluate(roots, values)
    shape = np.broadcast_shapes(a.shape, b.shape)  # counters stand for scalars
    a, b = np.broadcast_to(a, shape), np.broadcast_to(b, shape)
    assert a.dtype == b.dtype
    if a.dtype.kind == "f":
        assert np.array_equal(np.isnan(a), np.isnan(b)), (before, after)
        a, b = (np.where(np.isnan(x), np.zeros((), x.dtype), x) for x in (a, b))
        a, b = (np.ascontiguousarray(x).view(f"u{x.dtype.itemsize}") for x in (a, b))
    assert np.array_equal(a, b), (before, after, a, b)


def instances(rule: Rule, tries: int) -> Iterator[tuple[UOp, UOp, random.Random]]:
    """Graphs on which `rule`, alone, fires, and what it makes of them."""
    only = load([rule])
    rng = random.Random(zlib.crc32(rule.name.encode()))
    for _ in range(tries):
        try:
            node = Instance(rule, rng).node
        except ValueError:  # shapes that do not fit: not an instance
            continue
        hit = only.match[node.op](node)
        if hit is not None:
            after = hit[0]
            yield node, after if after.shape == node.shape else after.expand(node.shape), rng


@pytest.mark.parametrize("rule", RULES.rules, ids=lambda r: r.name)
def test_rule_keeps_the_value(rule: Rule) -> None:
    fired = 0
    for before, after, rng in instances(rule, 1500):
        assert after.dtype is before.dtype
        assert_same(before, after, rng)
        fired += 1
        if fired == 60:  # several of each dtype
            break
    assert fired, f"no instance of {rule.name} fired it"


@pytest.mark.parametrize("seed", range(20))
def test_all_rules_together_keep_index_expressions(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(10):
        x, y = (index_expression(rng, rng.randint(1, 6)) for _ in range(2))
        d = rng.choice((2, 3, 4, 8, 12, _T, _T * 4))
        before = rng.choice((x // d, x % d, (x // 3 + y) // d, (x + y * 4) % d))
        condition = (before < y) & (x.ne(y) | (y < 3))
        for u in (before, condition.where(before, x), condition):
            (after,) = simplify([u])
            assert_same(u, after, rng)
            assert simplify([after])[0] is after


def test_generated_module_is_current() -> None:
    from anneal.uop.upat import RULES_DIR, generated

    for path in sorted(Path(RULES_DIR).glob("*.upat")):
        assert path.with_name(f"_{path.stem}.py").read_text(encoding="utf-8") == generated(path)


# -- what index arithmetic comes out as ------------------------------------------------------------

_I, _J, _K, _L = counter(0, 3), counter(1, 4), counter(2, 5), counter(3, 16)
_P, _Q = counter(10, _B), counter(11, _T)
_FLAT = (_I * 4 + _J) * 5 + _K
_TRUE, _ZERO = const(True, dtypes.bool_), const(0, dtypes.index)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (_FLAT // 20, _I), (_FLAT // 5 % 4, _J), (_FLAT % 5, _K),
        (_FLAT // 5, _I * 4 + _J), (_L // 4 * 4 + _L % 4, _L),
        (_L // 8 * 8 + _L // 4 % 2 * 4 + _L % 4, _L),
        ((const(15, dtypes.index) - _L) // 4, _L // 4 * -1 + 3),
        (((_I * 2 + _J) * 7 + _K) // 7, _I * 2 + _J),
        (_I.maximum(0).minimum(2), _I), ((_L % 8) // 4, _L // 4 % 2), (_L // 2 // 4, _L // 8),
        (_I < 3, _TRUE), (_I - 1 < 2, _TRUE), (_I * 4 + _J < 8, _I < 2),
        ((_J < 3) & (_J < 2), _J < 2), ((_J < 2) & (_J >= 2), const(False, dtypes.bool_)),
        ((_P * _T + _Q) // _T, _P), ((_P * _T + _Q) % _T, _Q), (_P * _T + _Q < _B * _T, _TRUE),
        (((_P * 4 + _J) * _T + _Q) // (_T * 4), _P), (_P - _P, _ZERO),
        ((_B + 1) * _T - _B * _T, _T), (_B * 4 * _T // (_T * 4), _B),
    ],
)  # fmt: skip
def test_index_form(expression: UOp, expected: UOp) -> None:
    assert simplify([expression])[0] is expected


@pytest.mark.parametrize(
    ("name", "expression"),
    [("coarser_quotient", (_I * 4 + _J) // 8), ("split_quotient", (_L * 4 + _J * 3) // 4),
     ("split_remainder", (_L * 4 + _J + _K) % 4), ("sum_form", _L // 4 * 4 + _L % 4),
     ("lt_form", _I * 4 + _J < 8), ("distribute", (_I + _J) * 4),
     ("div_by_bounds", param(dtypes.uint8, ()).cast(dtypes.int32) // 256)],
)  # fmt: skip
def test_without_a_rule_the_result_differs(name: str, expression: UOp) -> None:
    with_it = rewrite([expression], RULES)
    assert rewrite([expression], RULES.without(name)) != with_it
