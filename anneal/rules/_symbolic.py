"""Generated from rules/symbolic.upat by `python -m anneal.uop.upat`: not to be edited."""

# ruff: noqa
# mypy: ignore-errors
from __future__ import annotations

import math

from anneal.uop import dtypes, ops
from anneal.uop.rewrite import Rule, RuleSet, build
from anneal.uop.uop import UOp
from anneal.rules.symbolic import fold, hi, in_order, lo, sum_form


def _neg(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    # fold_neg: -c -> fold(out)
    if s0.op is ops.CONST:
        c = s0
        new = fold(out)
        if new is not None:
            return new, 0
    # neg_neg: -(-x) -> x
    if s0.op is ops.NEG:
        s00 = s0.src[0]
        x = s00
        return x, 24
    if out.dtype is dtypes.index:
        # neg_as_mul: -x -> x * -1
        x = s0
        return x * -1, 40
    return None


def _add(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    # fold_add: c0 + c1 -> fold(out)
    if s0.op is ops.CONST and s1.op is ops.CONST:
        c0 = s0
        c1 = s1
        new = fold(out)
        if new is not None:
            return new, 1
    if out.dtype.kind == "f":
        # add_neg_zero: x + -0.0 -> x
        if s1.op is ops.CONST and str(s1.arg) == "-0.0":
            x = s0
            return x, 28
        if s0.op is ops.CONST and str(s0.arg) == "-0.0":
            x = s1
            return x, 28
    if out.dtype.kind in "iu":
        # add_zero: x + 0 -> x
        if s1.op is ops.CONST and s1.arg == 0 and str(s1.arg) != "-0.0":
            x = s0
            return x, 31
        if s0.op is ops.CONST and s0.arg == 0 and str(s0.arg) != "-0.0":
            x = s1
            return x, 31
        # add_const: (x + c0) + c1 -> x + (c0 + c1)
        if s0.op is ops.ADD:
            s00, s01 = s0.src
            if s01.op is ops.CONST and s1.op is ops.CONST:
                x = s00
                c0 = s01
                c1 = s1
                return x + (c0 + c1), 37
        if s0.op is ops.ADD:
            s00, s01 = s0.src
            if s00.op is ops.CONST and s1.op is ops.CONST:
                c0 = s00
                x = s01
                c1 = s1
                return x + (c0 + c1), 37
        if s0.op is ops.CONST and s1.op is ops.ADD:
            s10, s11 = s1.src
            if s11.op is ops.CONST:
                c1 = s0
                x = s10
                c0 = s11
                return x + (c0 + c1), 37
        if s0.op is ops.CONST and s1.op is ops.ADD:
            s10, s11 = s1.src
            if s10.op is ops.CONST:
                c1 = s0
                c0 = s10
                x = s11
                return x + (c0 + c1), 37
    if out.dtype is dtypes.index:
        # sum_form: x + y -> sum_form(out)
        x = s0
        y = s1
        new = sum_form(out)
        if new is not None:
            return new, 44
    return None


def _sub(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    # fold_sub: c0 - c1 -> fold(out)
    if s0.op is ops.CONST and s1.op is ops.CONST:
        c0 = s0
        c1 = s1
        new = fold(out)
        if new is not None:
            return new, 2
    if out.dtype.kind == "f":
        # sub_zero: x - 0.0 -> x
        if s1.op is ops.CONST and s1.arg == 0 and str(s1.arg) != "-0.0":
            x = s0
            return x, 29
    if out.dtype.kind in "iu":
        # sub_zero_int: x - 0 -> x
        if s1.op is ops.CONST and s1.arg == 0 and str(s1.arg) != "-0.0":
            x = s0
            return x, 32
        # sub_self: x - x -> 0
        if s1 is s0:
            x = s0
            return out.const_like(0), 33
    if out.dtype is dtypes.index:
        # sub_as_add: x - y -> x + y * -1
        x = s0
        y = s1
        return x + y * -1, 39
    return None


def _mul(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    # fold_mul: c0 * c1 -> fold(out)
    if s0.op is ops.CONST and s1.op is ops.CONST:
        c0 = s0
        c1 = s1
        new = fold(out)
        if new is not None:
            return new, 3
    # mul_one: x * 1 -> x
    if s1.op is ops.CONST and s1.arg == 1:
        x = s0
        return x, 23
    if s0.op is ops.CONST and s0.arg == 1:
        x = s1
        return x, 23
    if out.dtype.kind in "iu":
        # mul_zero: x * 0 -> 0
        if s1.op is ops.CONST and s1.arg == 0 and str(s1.arg) != "-0.0":
            x = s0
            return out.const_like(0), 34
        if s0.op is ops.CONST and s0.arg == 0 and str(s0.arg) != "-0.0":
            x = s1
            return out.const_like(0), 34
        # mul_const: (x * c0) * c1 -> x * (c0 * c1)
        if s0.op is ops.MUL:
            s00, s01 = s0.src
            if s01.op is ops.CONST and s1.op is ops.CONST:
                x = s00
                c0 = s01
                c1 = s1
                return x * (c0 * c1), 38
        if s0.op is ops.MUL:
            s00, s01 = s0.src
            if s00.op is ops.CONST and s1.op is ops.CONST:
                c0 = s00
                x = s01
                c1 = s1
                return x * (c0 * c1), 38
        if s0.op is ops.CONST and s1.op is ops.MUL:
            s10, s11 = s1.src
            if s11.op is ops.CONST:
                c1 = s0
                x = s10
                c0 = s11
                return x * (c0 * c1), 38
        if s0.op is ops.CONST and s1.op is ops.MUL:
            s10, s11 = s1.src
            if s10.op is ops.CONST:
                c1 = s0
                c0 = s10
                x = s11
                return x * (c0 * c1), 38
    if out.dtype is dtypes.index:
        # mul_order: x * y -> y * x if not in_order(out)
        x = s0
        y = s1
        if not in_order(out):
            return y * x, 41
        y = s0
        x = s1
        if not in_order(out):
            return y * x, 41
        # mul_const_last: (x * c) * y -> (x * y) * c
        if s0.op is ops.MUL:
            s00, s01 = s0.src
            if s01.op is ops.CONST:
                x = s00
                c = s01
                y = s1
                return x * y * c, 42
        if s0.op is ops.MUL:
            s00, s01 = s0.src
            if s00.op is ops.CONST:
                c = s00
                x = s01
                y = s1
                return x * y * c, 42
        if s1.op is ops.MUL:
            s10, s11 = s1.src
            if s11.op is ops.CONST:
                y = s0
                x = s10
                c = s11
                return x * y * c, 42
        if s1.op is ops.MUL:
            s10, s11 = s1.src
            if s10.op is ops.CONST:
                y = s0
                c = s10
                x = s11
                return x * y * c, 42
        # distribute: (x + y) * c -> x * c + y * c
        if s0.op is ops.ADD:
            s00, s01 = s0.src
            if s1.op is ops.CONST:
                x = s00
                y = s01
                c = s1
                return x * c + y * c, 43
        if s0.op is ops.ADD:
            s00, s01 = s0.src
            if s1.op is ops.CONST:
                y = s00
                x = s01
                c = s1
                return x * c + y * c, 43
        if s0.op is ops.CONST and s1.op is ops.ADD:
            s10, s11 = s1.src
            c = s0
            x = s10
            y = s11
            return x * c + y * c, 43
        if s0.op is ops.CONST and s1.op is ops.ADD:
            s10, s11 = s1.src
            c = s0
            y = s10
            x = s11
            return x * c + y * c, 43
    return None


def _div(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    # fold_div: c0 / c1 -> fold(out)
    if s0.op is ops.CONST and s1.op is ops.CONST:
        c0 = s0
        c1 = s1
        new = fold(out)
        if new is not None:
            return new, 4
    if out.dtype.kind == "f":
        # div_one: x / 1 -> x
        if s1.op is ops.CONST and s1.arg == 1:
            x = s0
            return x, 30
    return None


def _floordiv(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    # fold_floordiv: c0 // c1 -> fold(out)
    if s0.op is ops.CONST and s1.op is ops.CONST:
        c0 = s0
        c1 = s1
        new = fold(out)
        if new is not None:
            return new, 5
    if out.dtype.kind in "iu":
        # floordiv_one: x // 1 -> x
        if s1.op is ops.CONST and s1.arg == 1:
            x = s0
            return x, 35
    if out.dtype is dtypes.index:
        # div_by_bounds: x // y -> 0 if lo(y) > hi(x) and lo(x) >= 0
        x = s0
        y = s1
        if lo(y) > hi(x) and lo(x) >= 0:
            return out.const_like(0), 45
    return None


def _mod(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    # fold_mod: c0 % c1 -> fold(out)
    if s0.op is ops.CONST and s1.op is ops.CONST:
        c0 = s0
        c1 = s1
        new = fold(out)
        if new is not None:
            return new, 6
    if out.dtype.kind in "iu":
        # mod_one: x % 1 -> 0
        if s1.op is ops.CONST and s1.arg == 1:
            x = s0
            return out.const_like(0), 36
    return None


def _max(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    # fold_max: max(c0, c1) -> fold(out)
    if s0.op is ops.CONST and s1.op is ops.CONST:
        c0 = s0
        c1 = s1
        new = fold(out)
        if new is not None:
            return new, 7
    return None


def _min(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    # fold_min: min(c0, c1) -> fold(out)
    if s0.op is ops.CONST and s1.op is ops.CONST:
        c0 = s0
        c1 = s1
        new = fold(out)
        if new is not None:
            return new, 8
    return None


def _lt(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    # fold_lt: c0 < c1 -> fold(out)
    if s0.op is ops.CONST and s1.op is ops.CONST:
        c0 = s0
        c1 = s1
        new = fold(out)
        if new is not None:
            return new, 9
    return None


def _eq(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    # fold_eq: c0 == c1 -> fold(out)
    if s0.op is ops.CONST and s1.op is ops.CONST:
        c0 = s0
        c1 = s1
        new = fold(out)
        if new is not None:
            return new, 10
    return None


def _ne(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    # fold_ne: c0 != c1 -> fold(out)
    if s0.op is ops.CONST and s1.op is ops.CONST:
        c0 = s0
        c1 = s1
        new = fold(out)
        if new is not None:
            return new, 11
    return None


def _and(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    # fold_and: c0 & c1 -> fold(out)
    if s0.op is ops.CONST and s1.op is ops.CONST:
        c0 = s0
        c1 = s1
        new = fold(out)
        if new is not None:
            return new, 12
    return None


def _or(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    # fold_or: c0 | c1 -> fold(out)
    if s0.op is ops.CONST and s1.op is ops.CONST:
        c0 = s0
        c1 = s1
        new = fold(out)
        if new is not None:
            return new, 13
    return None


def _xor(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    # fold_xor: c0 ^ c1 -> fold(out)
    if s0.op is ops.CONST and s1.op is ops.CONST:
        c0 = s0
        c1 = s1
        new = fold(out)
        if new is not None:
            return new, 14
    return None


def _shl(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    # fold_shl: c0 << c1 -> fold(out)
    if s0.op is ops.CONST and s1.op is ops.CONST:
        c0 = s0
        c1 = s1
        new = fold(out)
        if new is not None:
            return new, 15
    return None


def _shr(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    # fold_shr: c0 >> c1 -> fold(out)
    if s0.op is ops.CONST and s1.op is ops.CONST:
        c0 = s0
        c1 = s1
        new = fold(out)
        if new is not None:
            return new, 16
    return None


def _not(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    # fold_not: ~c -> fold(out)
    if s0.op is ops.CONST:
        c = s0
        new = fold(out)
        if new is not None:
            return new, 17
    return None


def _abs(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    # fold_abs: abs(c) -> fold(out)
    if s0.op is ops.CONST:
        c = s0
        new = fold(out)
        if new is not None:
            return new, 18
    return None


def _sqrt(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    # fold_sqrt: sqrt(c) -> fold(out)
    if s0.op is ops.CONST:
        c = s0
        new = fold(out)
        if new is not None:
            return new, 19
    return None


def _floor(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    # fold_floor: floor(c) -> fold(out)
    if s0.op is ops.CONST:
        c = s0
        new = fold(out)
        if new is not None:
            return new, 20
    return None


def _round(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    # fold_round: round(c) -> fold(out)
    if s0.op is ops.CONST:
        c = s0
        new = fold(out)
        if new is not None:
            return new, 21
    return None


def _cast(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    # fold_cast: cast(c) -> fold(out)
    if s0.op is ops.CONST:
        c = s0
        new = fold(out)
        if new is not None:
            return new, 22
    return None


def _where(out: UOp) -> tuple[UOp, int] | None:
    s0, s1, s2 = out.src
    # where_const_true: where(true, x, y) -> x
    if s0.op is ops.CONST and s0.dtype.kind == "b" and s0.arg:
        x = s1
        y = s2
        return x, 25
    # where_const_false: where(false, x, y) -> y
    if s0.op is ops.CONST and s0.dtype.kind == "b" and not s0.arg:
        x = s1
        y = s2
        return y, 26
    # where_same: where(p, x, x) -> x
    if s2 is s1:
        p = s0
        x = s1
        return x, 27
    return None


RULES = RuleSet(
    (
        Rule('fold_neg', "a constant's negation is a constant", '-c -> fold(out)', 'rules/symbolic.upat', 6, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_add', 'the sum of constants, rounded to the dtype', 'c0 + c1 -> fold(out)', 'rules/symbolic.upat', 7, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_sub', 'the difference of constants', 'c0 - c1 -> fold(out)', 'rules/symbolic.upat', 8, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_mul', 'the product of constants', 'c0 * c1 -> fold(out)', 'rules/symbolic.upat', 9, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_div', 'the quotient of constants', 'c0 / c1 -> fold(out)', 'rules/symbolic.upat', 10, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_floordiv', 'the floored quotient of constants', 'c0 // c1 -> fold(out)', 'rules/symbolic.upat', 11, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_mod', 'the remainder of constants', 'c0 % c1 -> fold(out)', 'rules/symbolic.upat', 12, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_max', 'the greater of constants', 'max(c0, c1) -> fold(out)', 'rules/symbolic.upat', 13, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_min', 'the smaller of constants', 'min(c0, c1) -> fold(out)', 'rules/symbolic.upat', 14, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_lt', 'constants compare once and for all', 'c0 < c1 -> fold(out)', 'rules/symbolic.upat', 15, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_eq', 'constants compare once and for all', 'c0 == c1 -> fold(out)', 'rules/symbolic.upat', 16, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_ne', 'constants compare once and for all', 'c0 != c1 -> fold(out)', 'rules/symbolic.upat', 17, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_and', 'bits of constants', 'c0 & c1 -> fold(out)', 'rules/symbolic.upat', 18, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_or', 'bits of constants', 'c0 | c1 -> fold(out)', 'rules/symbolic.upat', 19, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_xor', 'bits of constants', 'c0 ^ c1 -> fold(out)', 'rules/symbolic.upat', 20, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_shl', 'bits of constants', 'c0 << c1 -> fold(out)', 'rules/symbolic.upat', 21, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_shr', 'bits of constants', 'c0 >> c1 -> fold(out)', 'rules/symbolic.upat', 22, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_not', 'bits of a constant', '~c -> fold(out)', 'rules/symbolic.upat', 23, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_abs', 'the magnitude of a constant', 'abs(c) -> fold(out)', 'rules/symbolic.upat', 24, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_sqrt', 'sqrt is correctly rounded everywhere', 'sqrt(c) -> fold(out)', 'rules/symbolic.upat', 25, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_floor', 'exact', 'floor(c) -> fold(out)', 'rules/symbolic.upat', 26, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_round', 'exact', 'round(c) -> fold(out)', 'rules/symbolic.upat', 27, 'any', ('anneal.rules.symbolic',)),
        Rule('fold_cast', 'a constant converted', 'cast(c) -> fold(out)', 'rules/symbolic.upat', 28, 'any', ('anneal.rules.symbolic',)),
        Rule('mul_one', 'multiplicative identity; exact for floats', 'x * 1 -> x', 'rules/symbolic.upat', 31, 'any', ('anneal.rules.symbolic',)),
        Rule('neg_neg', 'exact for floats: only the sign bit moves', '-(-x) -> x', 'rules/symbolic.upat', 32, 'any', ('anneal.rules.symbolic',)),
        Rule('where_const_true', 'the condition is known', 'where(true, x, y) -> x', 'rules/symbolic.upat', 33, 'any', ('anneal.rules.symbolic',)),
        Rule('where_const_false', 'the condition is known', 'where(false, x, y) -> y', 'rules/symbolic.upat', 34, 'any', ('anneal.rules.symbolic',)),
        Rule('where_same', 'both branches are one', 'where(p, x, x) -> x', 'rules/symbolic.upat', 35, 'any', ('anneal.rules.symbolic',)),
        Rule('add_neg_zero', 'exact for floats, also for x = -0.0', 'x + -0.0 -> x', 'rules/symbolic.upat', 38, 'float', ('anneal.rules.symbolic',)),
        Rule('sub_zero', 'exact for floats, also for x = -0.0', 'x - 0.0 -> x', 'rules/symbolic.upat', 39, 'float', ('anneal.rules.symbolic',)),
        Rule('div_one', 'exact', 'x / 1 -> x', 'rules/symbolic.upat', 40, 'float', ('anneal.rules.symbolic',)),
        Rule('add_zero', 'additive identity', 'x + 0 -> x', 'rules/symbolic.upat', 43, 'int', ('anneal.rules.symbolic',)),
        Rule('sub_zero_int', 'additive identity', 'x - 0 -> x', 'rules/symbolic.upat', 44, 'int', ('anneal.rules.symbolic',)),
        Rule('sub_self', 'x - x; of ints only: inf - inf is NaN', 'x - x -> 0', 'rules/symbolic.upat', 45, 'int', ('anneal.rules.symbolic',)),
        Rule('mul_zero', 'of ints only: NaN * 0 is NaN', 'x * 0 -> 0', 'rules/symbolic.upat', 46, 'int', ('anneal.rules.symbolic',)),
        Rule('floordiv_one', 'division by one', 'x // 1 -> x', 'rules/symbolic.upat', 47, 'int', ('anneal.rules.symbolic',)),
        Rule('mod_one', 'no remainder by one', 'x % 1 -> 0', 'rules/symbolic.upat', 48, 'int', ('anneal.rules.symbolic',)),
        Rule('add_const', 'constants gather; wrapping is associative', '(x + c0) + c1 -> x + (c0 + c1)', 'rules/symbolic.upat', 49, 'int', ('anneal.rules.symbolic',)),
        Rule('mul_const', 'constants gather; wrapping is associative', '(x * c0) * c1 -> x * (c0 * c1)', 'rules/symbolic.upat', 50, 'int', ('anneal.rules.symbolic',)),
        Rule('sub_as_add', 'differences are sums', 'x - y -> x + y * -1', 'rules/symbolic.upat', 53, 'index', ('anneal.rules.symbolic',)),
        Rule('neg_as_mul', 'negation is a coefficient', '-x -> x * -1', 'rules/symbolic.upat', 54, 'index', ('anneal.rules.symbolic',)),
        Rule('mul_order', 'factors in order, constant last', 'x * y -> y * x if not in_order(out)', 'rules/symbolic.upat', 55, 'index', ('anneal.rules.symbolic',)),
        Rule('mul_const_last', 'the constant factor outermost', '(x * c) * y -> (x * y) * c', 'rules/symbolic.upat', 56, 'index', ('anneal.rules.symbolic',)),
        Rule('distribute', 'a sum of terms with coefficients', '(x + y) * c -> x * c + y * c', 'rules/symbolic.upat', 57, 'index', ('anneal.rules.symbolic',)),
        Rule('sum_form', 'terms in order, equal ones gathered, constant last', 'x + y -> sum_form(out)', 'rules/symbolic.upat', 58, 'index', ('anneal.rules.symbolic',)),
        Rule('div_by_bounds', 'smaller than the divisor', 'x // y -> 0 if lo(y) > hi(x) and lo(x) >= 0', 'rules/symbolic.upat', 59, 'index', ('anneal.rules.symbolic',)),
    ),
    {ops.NEG: _neg, ops.ADD: _add, ops.SUB: _sub, ops.MUL: _mul, ops.DIV: _div, ops.FLOORDIV: _floordiv, ops.MOD: _mod, ops.MAX: _max, ops.MIN: _min, ops.LT: _lt, ops.EQ: _eq, ops.NE: _ne, ops.AND: _and, ops.OR: _or, ops.XOR: _xor, ops.SHL: _shl, ops.SHR: _shr, ops.NOT: _not, ops.ABS: _abs, ops.SQRT: _sqrt, ops.FLOOR: _floor, ops.ROUND: _round, ops.CAST: _cast, ops.WHERE: _where},
)
