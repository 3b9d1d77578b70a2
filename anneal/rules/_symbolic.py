"""Generated from rules/symbolic.upat by `python -m anneal.uop.upat`: not to be edited."""

# ruff: noqa
# mypy: ignore-errors
from __future__ import annotations

import math

from anneal.uop import dtypes, ops
from anneal.uop.rewrite import Rule, RuleSet, build
from anneal.uop.uop import UOp
from anneal.uop.symbolic import hi, lo
from anneal.rules.symbolic import all_ones, cast_passes, expanded, flipped, fold, known_dims, multiply_by_inverse, not_empty, padded, permuted, reshaped, same_shape, shrunk, sum_of_copies, unpadded
from anneal.rules.sums import and_form, eq_form, implies, is_dim, lt_form, product_form, sum_form
from anneal.rules.quotients import below, coarser_quotient, coarser_remainder, negative_quotient, negative_remainder, quotient_by_bounds, quotient_of_quotients, remainder_by_bounds, split_quotient, split_remainder


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
        return x * -1, 107
    # neg_scalar: -expand(x) -> -x if x.shape == ()
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        if x.shape == ():
            return -x, 163
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
            return x, 42
        if s0.op is ops.CONST and str(s0.arg) == "-0.0":
            x = s1
            return x, 42
        # add_neg: x + (-y) -> x - y
        if s1.op is ops.NEG:
            s10 = s1.src[0]
            x = s0
            y = s10
            return x - y, 45
        if s0.op is ops.NEG:
            s00 = s0.src[0]
            y = s00
            x = s1
            return x - y, 45
    if out.dtype.kind == "b":
        # bool_add: p + q -> p | q
        p = s0
        q = s1
        return p | q, 63
    if out.dtype.kind in "iu":
        # add_zero: x + 0 -> x
        if s1.op is ops.CONST and s1.arg == 0 and str(s1.arg) != "-0.0":
            x = s0
            return x, 81
        if s0.op is ops.CONST and s0.arg == 0 and str(s0.arg) != "-0.0":
            x = s1
            return x, 81
        # add_const: (x + c0) + c1 -> x + (c0 + c1)
        if s0.op is ops.ADD:
            s00, s01 = s0.src
            if s01.op is ops.CONST and s1.op is ops.CONST:
                x = s00
                c0 = s01
                c1 = s1
                return x + (c0 + c1), 95
        if s0.op is ops.ADD:
            s00, s01 = s0.src
            if s00.op is ops.CONST and s1.op is ops.CONST:
                c0 = s00
                x = s01
                c1 = s1
                return x + (c0 + c1), 95
        if s0.op is ops.CONST and s1.op is ops.ADD:
            s10, s11 = s1.src
            if s11.op is ops.CONST:
                c1 = s0
                x = s10
                c0 = s11
                return x + (c0 + c1), 95
        if s0.op is ops.CONST and s1.op is ops.ADD:
            s10, s11 = s1.src
            if s10.op is ops.CONST:
                c1 = s0
                c0 = s10
                x = s11
                return x + (c0 + c1), 95
        # const_last_add: c + x -> x + c if out.src[0] is c and x.op is not ops.CONST
        if s0.op is ops.CONST:
            c = s0
            x = s1
            if out.src[0] is c and x.op is not ops.CONST:
                return x + c, 97
        if s1.op is ops.CONST:
            x = s0
            c = s1
            if out.src[0] is c and x.op is not ops.CONST:
                return x + c, 97
    if out.dtype is dtypes.index:
        # sum_form: x + y -> sum_form(out)
        x = s0
        y = s1
        new = sum_form(out)
        if new is not None:
            return new, 110
    # add_scalar: expand(x) + y -> x + y if x.shape == ()
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        y = s1
        if x.shape == ():
            return x + y, 147
    if s1.op is ops.EXPAND:
        s10 = s1.src[0]
        y = s0
        x = s10
        if x.shape == ():
            return x + y, 147
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
        # sub_zero: x - 0 -> x
        if s1.op is ops.CONST and s1.arg == 0 and str(s1.arg) != "-0.0":
            x = s0
            return x, 43
        # sub_neg: x - (-y) -> x + y
        if s1.op is ops.NEG:
            s10 = s1.src[0]
            x = s0
            y = s10
            return x + y, 44
    if out.dtype.kind in "iu":
        # sub_zero_int: x - 0 -> x
        if s1.op is ops.CONST and s1.arg == 0 and str(s1.arg) != "-0.0":
            x = s0
            return x, 82
        # sub_self: x - x -> 0
        if s1 is s0:
            x = s0
            return out.const_like(0), 83
    if out.dtype is dtypes.index:
        # sub_as_add: x - y -> x + y * -1
        x = s0
        y = s1
        return x + y * -1, 106
    # sub_scalar: expand(x) - y -> x - y if x.shape == ()
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        y = s1
        if x.shape == ():
            return x - y, 148
    # sub_scalar_right: x - expand(y) -> x - y if y.shape == ()
    if s1.op is ops.EXPAND:
        s10 = s1.src[0]
        x = s0
        y = s10
        if y.shape == ():
            return x - y, 149
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
    if out.dtype.kind == "f":
        # mul_neg_one: x * -1 -> -x
        if s1.op is ops.CONST and s1.arg == -1:
            x = s0
            return -x, 46
        if s0.op is ops.CONST and s0.arg == -1:
            x = s1
            return -x, 46
        # mul_neg_neg: (-x) * (-y) -> x * y
        if s0.op is ops.NEG:
            s00 = s0.src[0]
            if s1.op is ops.NEG:
                s10 = s1.src[0]
                x = s00
                y = s10
                return x * y, 47
        if s0.op is ops.NEG:
            s00 = s0.src[0]
            if s1.op is ops.NEG:
                s10 = s1.src[0]
                y = s00
                x = s10
                return x * y, 47
    if out.dtype.kind == "b":
        # bool_mul: p * q -> p & q
        p = s0
        q = s1
        return p & q, 64
    if out.dtype.kind in "iu":
        # mul_zero: x * 0 -> 0
        if s1.op is ops.CONST and s1.arg == 0 and str(s1.arg) != "-0.0":
            x = s0
            return out.const_like(0), 84
        if s0.op is ops.CONST and s0.arg == 0 and str(s0.arg) != "-0.0":
            x = s1
            return out.const_like(0), 84
        # mul_const: (x * c0) * c1 -> x * (c0 * c1)
        if s0.op is ops.MUL:
            s00, s01 = s0.src
            if s01.op is ops.CONST and s1.op is ops.CONST:
                x = s00
                c0 = s01
                c1 = s1
                return x * (c0 * c1), 96
        if s0.op is ops.MUL:
            s00, s01 = s0.src
            if s00.op is ops.CONST and s1.op is ops.CONST:
                c0 = s00
                x = s01
                c1 = s1
                return x * (c0 * c1), 96
        if s0.op is ops.CONST and s1.op is ops.MUL:
            s10, s11 = s1.src
            if s11.op is ops.CONST:
                c1 = s0
                x = s10
                c0 = s11
                return x * (c0 * c1), 96
        if s0.op is ops.CONST and s1.op is ops.MUL:
            s10, s11 = s1.src
            if s10.op is ops.CONST:
                c1 = s0
                c0 = s10
                x = s11
                return x * (c0 * c1), 96
        # const_last_mul: c * x -> x * c if out.src[0] is c and x.op is not ops.CONST
        if s0.op is ops.CONST:
            c = s0
            x = s1
            if out.src[0] is c and x.op is not ops.CONST:
                return x * c, 98
        if s1.op is ops.CONST:
            x = s0
            c = s1
            if out.src[0] is c and x.op is not ops.CONST:
                return x * c, 98
    if out.dtype is dtypes.index:
        # product_form: x * y -> product_form(out)
        x = s0
        y = s1
        new = product_form(out)
        if new is not None:
            return new, 108
        # distribute: (x + y) * z -> x * z + y * z if is_dim(z) and (z.op is not ops.ADD or is_dim(x, y))
        if s0.op is ops.ADD:
            s00, s01 = s0.src
            x = s00
            y = s01
            z = s1
            if (is_dim(z) and (z.op is not ops.ADD or is_dim(x, y))):
                return x * z + y * z, 109
        if s0.op is ops.ADD:
            s00, s01 = s0.src
            y = s00
            x = s01
            z = s1
            if (is_dim(z) and (z.op is not ops.ADD or is_dim(x, y))):
                return x * z + y * z, 109
        if s1.op is ops.ADD:
            s10, s11 = s1.src
            z = s0
            x = s10
            y = s11
            if (is_dim(z) and (z.op is not ops.ADD or is_dim(x, y))):
                return x * z + y * z, 109
        if s1.op is ops.ADD:
            s10, s11 = s1.src
            z = s0
            y = s10
            x = s11
            if (is_dim(z) and (z.op is not ops.ADD or is_dim(x, y))):
                return x * z + y * z, 109
    # mul_scalar: expand(x) * y -> x * y if x.shape == ()
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        y = s1
        if x.shape == ():
            return x * y, 150
    if s1.op is ops.EXPAND:
        s10 = s1.src[0]
        y = s0
        x = s10
        if x.shape == ():
            return x * y, 150
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
            return x, 48
        # div_neg_neg: (-x) / (-y) -> x / y
        if s0.op is ops.NEG:
            s00 = s0.src[0]
            if s1.op is ops.NEG:
                s10 = s1.src[0]
                x = s00
                y = s10
                return x / y, 49
        # div_power_of_two: x / c -> multiply_by_inverse(x, c)
        if s1.op is ops.CONST:
            x = s0
            c = s1
            new = multiply_by_inverse(x, c)
            if new is not None:
                return new, 50
    # div_scalar: expand(x) / y -> x / y if x.shape == ()
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        y = s1
        if x.shape == ():
            return x / y, 151
    # div_scalar_right: x / expand(y) -> x / y if y.shape == ()
    if s1.op is ops.EXPAND:
        s10 = s1.src[0]
        x = s0
        y = s10
        if y.shape == ():
            return x / y, 152
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
            return x, 85
        # div_by_bounds: x // y -> quotient_by_bounds(x, y)
        x = s0
        y = s1
        new = quotient_by_bounds(x, y)
        if new is not None:
            return new, 103
    if out.dtype is dtypes.index:
        # div_below: x // y -> 0 if below(x, y)
        x = s0
        y = s1
        if below(x, y):
            return out.const_like(0), 111
        # div_negative: x // c -> (x * -1) // (c * -1) if c.arg < 0
        if s1.op is ops.CONST:
            x = s0
            c = s1
            if c.arg < 0:
                return x * -1 // (c * -1), 113
        # mod_of_multiple: (x % c0) // c1 -> (x // c1) % (c0 // c1) if c1.arg > 0 and c0.arg > 0 and c0.arg % c1.arg == 0
        if s0.op is ops.MOD:
            s00, s01 = s0.src
            if s01.op is ops.CONST and s1.op is ops.CONST:
                x = s00
                c0 = s01
                c1 = s1
                if c1.arg > 0 and c0.arg > 0 and c0.arg % c1.arg == 0:
                    return x // c1 % (c0 // c1), 114
        # split_quotient: x // y -> split_quotient(x, y) if lo(y) > 0
        x = s0
        y = s1
        if lo(y) > 0:
            new = split_quotient(x, y)
            if new is not None:
                return new, 115
        # coarser_quotient: x // c -> coarser_quotient(x, c) if c.arg > 0
        if s1.op is ops.CONST:
            x = s0
            c = s1
            if c.arg > 0:
                new = coarser_quotient(x, c)
                if new is not None:
                    return new, 117
        # negative_quotient: x // c -> negative_quotient(x, c) if c.arg > 0
        if s1.op is ops.CONST:
            x = s0
            c = s1
            if c.arg > 0:
                new = negative_quotient(x, c)
                if new is not None:
                    return new, 119
        # quotient_of_quotients: x // c -> quotient_of_quotients(x, c) if c.arg > 0
        if s1.op is ops.CONST:
            x = s0
            c = s1
            if c.arg > 0:
                new = quotient_of_quotients(x, c)
                if new is not None:
                    return new, 121
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
            return out.const_like(0), 86
        # mod_by_bounds: x % y -> remainder_by_bounds(x, y)
        x = s0
        y = s1
        new = remainder_by_bounds(x, y)
        if new is not None:
            return new, 104
    if out.dtype is dtypes.index:
        # mod_below: x % y -> x if below(x, y)
        x = s0
        y = s1
        if below(x, y):
            return x, 112
        # split_remainder: x % y -> split_remainder(x, y) if lo(y) > 0
        x = s0
        y = s1
        if lo(y) > 0:
            new = split_remainder(x, y)
            if new is not None:
                return new, 116
        # coarser_remainder: x % c -> coarser_remainder(x, c) if c.arg > 0
        if s1.op is ops.CONST:
            x = s0
            c = s1
            if c.arg > 0:
                new = coarser_remainder(x, c)
                if new is not None:
                    return new, 118
        # negative_remainder: x % c -> negative_remainder(x, c) if c.arg > 0
        if s1.op is ops.CONST:
            x = s0
            c = s1
            if c.arg > 0:
                new = negative_remainder(x, c)
                if new is not None:
                    return new, 120
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
    # max_self: max(x, x) -> x
    if s1 is s0:
        x = s0
        return x, 26
    if out.dtype.kind == "b":
        # bool_max: max(p, q) -> p | q
        p = s0
        q = s1
        return p | q, 65
    if out.dtype.kind in "iu":
        # max_by_bounds: max(x, y) -> x if lo(x) >= hi(y)
        x = s0
        y = s1
        if lo(x) >= hi(y):
            return x, 101
        y = s0
        x = s1
        if lo(x) >= hi(y):
            return x, 101
    # max_scalar: max(expand(x), y) -> max(x, y) if x.shape == ()
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        y = s1
        if x.shape == ():
            return build(ops.MAX, x, y), 153
    if s1.op is ops.EXPAND:
        s10 = s1.src[0]
        y = s0
        x = s10
        if x.shape == ():
            return build(ops.MAX, x, y), 153
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
    # min_self: min(x, x) -> x
    if s1 is s0:
        x = s0
        return x, 27
    if out.dtype.kind == "b":
        # bool_min: min(p, q) -> p & q
        p = s0
        q = s1
        return p & q, 66
    if out.dtype.kind in "iu":
        # min_by_bounds: min(x, y) -> x if hi(x) <= lo(y)
        x = s0
        y = s1
        if hi(x) <= lo(y):
            return x, 102
        y = s0
        x = s1
        if hi(x) <= lo(y):
            return x, 102
    # min_scalar: min(expand(x), y) -> min(x, y) if x.shape == ()
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        y = s1
        if x.shape == ():
            return build(ops.MIN, x, y), 154
    if s1.op is ops.EXPAND:
        s10 = s1.src[0]
        y = s0
        x = s10
        if x.shape == ():
            return build(ops.MIN, x, y), 154
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
    # lt_self: x < x -> false
    if s1 is s0:
        x = s0
        return out.const_like(False), 28
    if out.src[0].dtype.kind in "iu":
        # lt_true: x < y -> true if hi(x) < lo(y)
        x = s0
        y = s1
        if hi(x) < lo(y):
            return out.const_like(True), 99
        # lt_false: x < y -> false if lo(x) >= hi(y)
        x = s0
        y = s1
        if lo(x) >= hi(y):
            return out.const_like(False), 100
    if out.src[0].dtype is dtypes.index:
        # lt_form: x < y -> lt_form(out)
        x = s0
        y = s1
        new = lt_form(out)
        if new is not None:
            return new, 122
    # lt_scalar: expand(x) < y -> x < y if x.shape == ()
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        y = s1
        if x.shape == ():
            return x < y, 155
    # lt_scalar_right: x < expand(y) -> x < y if y.shape == ()
    if s1.op is ops.EXPAND:
        s10 = s1.src[0]
        x = s0
        y = s10
        if y.shape == ():
            return x < y, 156
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
    if out.src[0].dtype.kind == "b":
        # eq_true: p == true -> p
        if s1.op is ops.CONST and s1.dtype.kind == "b" and s1.arg:
            p = s0
            return p, 67
        if s0.op is ops.CONST and s0.dtype.kind == "b" and s0.arg:
            p = s1
            return p, 67
        # eq_false: p == false -> ~p
        if s1.op is ops.CONST and s1.dtype.kind == "b" and not s1.arg:
            p = s0
            return p.logical_not(), 68
        if s0.op is ops.CONST and s0.dtype.kind == "b" and not s0.arg:
            p = s1
            return p.logical_not(), 68
    if out.src[0].dtype.kind in "iu":
        # eq_self: x == x -> true
        if s1 is s0:
            x = s0
            return out.const_like(True), 93
    if out.src[0].dtype is dtypes.index:
        # eq_form: x == y -> eq_form(out)
        x = s0
        y = s1
        new = eq_form(out)
        if new is not None:
            return new, 123
    # eq_scalar: expand(x) == y -> x == y if x.shape == ()
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        y = s1
        if x.shape == ():
            return build(ops.EQ, x, y), 157
    if s1.op is ops.EXPAND:
        s10 = s1.src[0]
        y = s0
        x = s10
        if x.shape == ():
            return build(ops.EQ, x, y), 157
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
    if out.src[0].dtype.kind == "b":
        # ne_bool: p != q -> p ^ q
        p = s0
        q = s1
        return p ^ q, 69
    if out.src[0].dtype.kind in "iu":
        # ne_self: x != x -> false
        if s1 is s0:
            x = s0
            return out.const_like(False), 94
    if out.src[0].dtype is dtypes.index:
        # ne_as_eq: x != y -> ~(x == y)
        x = s0
        y = s1
        return build(ops.EQ, x, y).logical_not(), 124
    # ne_scalar: expand(x) != y -> x != y if x.shape == ()
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        y = s1
        if x.shape == ():
            return build(ops.NE, x, y), 158
    if s1.op is ops.EXPAND:
        s10 = s1.src[0]
        y = s0
        x = s10
        if x.shape == ():
            return build(ops.NE, x, y), 158
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
    if out.dtype.kind == "b":
        # and_true: p & true -> p
        if s1.op is ops.CONST and s1.dtype.kind == "b" and s1.arg:
            p = s0
            return p, 55
        if s0.op is ops.CONST and s0.dtype.kind == "b" and s0.arg:
            p = s1
            return p, 55
        # and_false: p & false -> false
        if s1.op is ops.CONST and s1.dtype.kind == "b" and not s1.arg:
            p = s0
            return out.const_like(False), 56
        if s0.op is ops.CONST and s0.dtype.kind == "b" and not s0.arg:
            p = s1
            return out.const_like(False), 56
        # and_not_self: p & ~p -> false
        if s1.op is ops.NOT:
            s10 = s1.src[0]
            if s10 is s0:
                p = s0
                return out.const_like(False), 61
        if s0.op is ops.NOT:
            s00 = s0.src[0]
            if s1 is s00:
                p = s00
                return out.const_like(False), 61
        # and_form: p & q -> and_form(out)
        p = s0
        q = s1
        new = and_form(out)
        if new is not None:
            return new, 76
    # and_self: x & x -> x
    if s1 is s0:
        x = s0
        return x, 79
    if out.dtype.kind in "iu":
        # and_zero: x & 0 -> 0
        if s1.op is ops.CONST and s1.arg == 0 and str(s1.arg) != "-0.0":
            x = s0
            return out.const_like(0), 87
        if s0.op is ops.CONST and s0.arg == 0 and str(s0.arg) != "-0.0":
            x = s1
            return out.const_like(0), 87
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
    if out.dtype.kind == "b":
        # or_false: p | false -> p
        if s1.op is ops.CONST and s1.dtype.kind == "b" and not s1.arg:
            p = s0
            return p, 57
        if s0.op is ops.CONST and s0.dtype.kind == "b" and not s0.arg:
            p = s1
            return p, 57
        # or_true: p | true -> true
        if s1.op is ops.CONST and s1.dtype.kind == "b" and s1.arg:
            p = s0
            return out.const_like(True), 58
        if s0.op is ops.CONST and s0.dtype.kind == "b" and s0.arg:
            p = s1
            return out.const_like(True), 58
        # or_not_self: p | ~p -> true
        if s1.op is ops.NOT:
            s10 = s1.src[0]
            if s10 is s0:
                p = s0
                return out.const_like(True), 62
        if s0.op is ops.NOT:
            s00 = s0.src[0]
            if s1 is s00:
                p = s00
                return out.const_like(True), 62
        # or_absorbs: p | (p | q) -> p | q
        if s1.op is ops.OR:
            s10, s11 = s1.src
            if s10 is s0:
                p = s0
                q = s11
                return p | q, 77
        if s1.op is ops.OR:
            s10, s11 = s1.src
            if s11 is s0:
                p = s0
                q = s10
                return p | q, 77
        if s0.op is ops.OR:
            s00, s01 = s0.src
            if s1 is s00:
                p = s00
                q = s01
                return p | q, 77
        if s0.op is ops.OR:
            s00, s01 = s0.src
            if s1 is s01:
                q = s00
                p = s01
                return p | q, 77
        # or_lt_lt: (x < c0) | (x < c1) -> x < max(c0, c1) if x.dtype.kind in "iu"
        if s0.op is ops.LT:
            s00, s01 = s0.src
            if s01.op is ops.CONST and s1.op is ops.LT:
                s10, s11 = s1.src
                if s10 is s00 and s11.op is ops.CONST:
                    x = s00
                    c0 = s01
                    c1 = s11
                    if x.dtype.kind in "iu":
                        return x < build(ops.MAX, c0, c1), 78
        if s0.op is ops.LT:
            s00, s01 = s0.src
            if s01.op is ops.CONST and s1.op is ops.LT:
                s10, s11 = s1.src
                if s10 is s00 and s11.op is ops.CONST:
                    x = s00
                    c1 = s01
                    c0 = s11
                    if x.dtype.kind in "iu":
                        return x < build(ops.MAX, c0, c1), 78
    # or_self: x | x -> x
    if s1 is s0:
        x = s0
        return x, 80
    if out.dtype.kind in "iu":
        # or_zero: x | 0 -> x
        if s1.op is ops.CONST and s1.arg == 0 and str(s1.arg) != "-0.0":
            x = s0
            return x, 88
        if s0.op is ops.CONST and s0.arg == 0 and str(s0.arg) != "-0.0":
            x = s1
            return x, 88
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
    if out.dtype.kind == "b":
        # xor_false: p ^ false -> p
        if s1.op is ops.CONST and s1.dtype.kind == "b" and not s1.arg:
            p = s0
            return p, 59
        if s0.op is ops.CONST and s0.dtype.kind == "b" and not s0.arg:
            p = s1
            return p, 59
        # xor_true: p ^ true -> ~p
        if s1.op is ops.CONST and s1.dtype.kind == "b" and s1.arg:
            p = s0
            return p.logical_not(), 60
        if s0.op is ops.CONST and s0.dtype.kind == "b" and s0.arg:
            p = s1
            return p.logical_not(), 60
    if out.dtype.kind in "iu":
        # xor_zero: x ^ 0 -> x
        if s1.op is ops.CONST and s1.arg == 0 and str(s1.arg) != "-0.0":
            x = s0
            return x, 89
        if s0.op is ops.CONST and s0.arg == 0 and str(s0.arg) != "-0.0":
            x = s1
            return x, 89
        # xor_self: x ^ x -> 0
        if s1 is s0:
            x = s0
            return out.const_like(0), 90
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
    if out.dtype.kind in "iu":
        # shl_zero: x << 0 -> x
        if s1.op is ops.CONST and s1.arg == 0 and str(s1.arg) != "-0.0":
            x = s0
            return x, 91
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
    if out.dtype.kind in "iu":
        # shr_zero: x >> 0 -> x
        if s1.op is ops.CONST and s1.arg == 0 and str(s1.arg) != "-0.0":
            x = s0
            return x, 92
    return None


def _not(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    # fold_not: ~c -> fold(out)
    if s0.op is ops.CONST:
        c = s0
        new = fold(out)
        if new is not None:
            return new, 17
    # not_not: ~(~x) -> x
    if s0.op is ops.NOT:
        s00 = s0.src[0]
        x = s00
        return x, 25
    if out.dtype.kind == "b":
        # ne_not: ~(x == y) -> x != y if x.dtype is not dtypes.index
        if s0.op is ops.EQ:
            s00, s01 = s0.src
            x = s00
            y = s01
            if x.dtype is not dtypes.index:
                return build(ops.NE, x, y), 70
        if s0.op is ops.EQ:
            s00, s01 = s0.src
            y = s00
            x = s01
            if x.dtype is not dtypes.index:
                return build(ops.NE, x, y), 70
        # eq_not: ~(x != y) -> x == y
        if s0.op is ops.NE:
            s00, s01 = s0.src
            x = s00
            y = s01
            return build(ops.EQ, x, y), 71
        if s0.op is ops.NE:
            s00, s01 = s0.src
            y = s00
            x = s01
            return build(ops.EQ, x, y), 71
    return None


def _abs(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    # fold_abs: abs(c) -> fold(out)
    if s0.op is ops.CONST:
        c = s0
        new = fold(out)
        if new is not None:
            return new, 18
    # abs_neg: abs(-x) -> abs(x) if x.dtype.kind != "u"
    if s0.op is ops.NEG:
        s00 = s0.src[0]
        x = s00
        if x.dtype.kind != "u":
            return build(ops.ABS, x), 29
    # abs_abs: abs(abs(x)) -> abs(x)
    if s0.op is ops.ABS:
        s00 = s0.src[0]
        x = s00
        return build(ops.ABS, x), 30
    if out.dtype.kind in "iu":
        # abs_by_bounds: abs(x) -> x if lo(x) >= 0
        x = s0
        if lo(x) >= 0:
            return x, 105
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
    if out.dtype.kind == "f":
        # floor_floor: floor(floor(x)) -> floor(x)
        if s0.op is ops.FLOOR:
            s00 = s0.src[0]
            x = s00
            return build(ops.FLOOR, x), 51
        # floor_round: floor(round(x)) -> round(x)
        if s0.op is ops.ROUND:
            s00 = s0.src[0]
            x = s00
            return build(ops.ROUND, x), 53
    return None


def _round(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    # fold_round: round(c) -> fold(out)
    if s0.op is ops.CONST:
        c = s0
        new = fold(out)
        if new is not None:
            return new, 21
    if out.dtype.kind == "f":
        # round_round: round(round(x)) -> round(x)
        if s0.op is ops.ROUND:
            s00 = s0.src[0]
            x = s00
            return build(ops.ROUND, x), 52
        # round_floor: round(floor(x)) -> floor(x)
        if s0.op is ops.FLOOR:
            s00 = s0.src[0]
            x = s00
            return build(ops.FLOOR, x), 54
    return None


def _cast(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    # fold_cast: cast(c) -> fold(out)
    if s0.op is ops.CONST:
        c = s0
        new = fold(out)
        if new is not None:
            return new, 22
    # cast_same: cast(x) -> x if x.dtype is out.dtype
    x = s0
    if x.dtype is out.dtype:
        return x, 40
    # cast_cast: cast(cast(x)) -> cast(x) if cast_passes(x, out.src[0])
    if s0.op is ops.CAST:
        s00 = s0.src[0]
        x = s00
        if cast_passes(x, out.src[0]):
            return x.cast(out.dtype), 41
    # cast_scalar_copies: cast(expand(x)) -> cast(x) if x.shape == ()
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        if x.shape == ():
            return x.cast(out.dtype), 162
    return None


def _where(out: UOp) -> tuple[UOp, int] | None:
    s0, s1, s2 = out.src
    # where_true: where(true, x, y) -> x
    if s0.op is ops.CONST and s0.dtype.kind == "b" and s0.arg:
        x = s1
        y = s2
        return x, 31
    # where_false: where(false, x, y) -> y
    if s0.op is ops.CONST and s0.dtype.kind == "b" and not s0.arg:
        x = s1
        y = s2
        return y, 32
    # where_same: where(p, x, x) -> x
    if s2 is s1:
        p = s0
        x = s1
        return x, 33
    # where_not: where(~p, x, y) -> where(p, y, x)
    if s0.op is ops.NOT:
        s00 = s0.src[0]
        p = s00
        x = s1
        y = s2
        return build(ops.WHERE, p, y, x), 34
    # where_where_yes: where(p, where(p, x, y), z) -> where(p, x, z)
    if s1.op is ops.WHERE:
        s10, s11, s12 = s1.src
        if s10 is s0:
            p = s0
            x = s11
            y = s12
            z = s2
            return build(ops.WHERE, p, x, z), 35
    # where_where_no: where(p, x, where(p, y, z)) -> where(p, x, z)
    if s2.op is ops.WHERE:
        s20, s21, s22 = s2.src
        if s20 is s0:
            p = s0
            x = s1
            y = s21
            z = s22
            return build(ops.WHERE, p, x, z), 36
    # where_implied: where(p, where(q, x, y), z) -> where(p, x, z) if implies(p, q)
    if s1.op is ops.WHERE:
        s10, s11, s12 = s1.src
        p = s0
        q = s10
        x = s11
        y = s12
        z = s2
        if implies(p, q):
            return build(ops.WHERE, p, x, z), 37
    # where_and: where(p, where(q, x, y), y) -> where(p & q, x, y)
    if s1.op is ops.WHERE:
        s10, s11, s12 = s1.src
        if s2 is s12:
            p = s0
            q = s10
            x = s11
            y = s12
            return build(ops.WHERE, p & q, x, y), 38
    # where_or: where(p, x, where(q, x, y)) -> where(p | q, x, y)
    if s2.op is ops.WHERE:
        s20, s21, s22 = s2.src
        if s21 is s1:
            p = s0
            x = s1
            q = s20
            y = s22
            return build(ops.WHERE, p | q, x, y), 39
    if out.dtype.kind == "b":
        # where_itself: where(p, true, false) -> p
        if s1.op is ops.CONST and s1.dtype.kind == "b" and s1.arg and s2.op is ops.CONST and s2.dtype.kind == "b" and not s2.arg:
            p = s0
            return p, 72
        # where_negated: where(p, false, true) -> ~p
        if s1.op is ops.CONST and s1.dtype.kind == "b" and not s1.arg and s2.op is ops.CONST and s2.dtype.kind == "b" and s2.arg:
            p = s0
            return p.logical_not(), 73
        # where_or_else: where(p, true, q) -> p | q
        if s1.op is ops.CONST and s1.dtype.kind == "b" and s1.arg:
            p = s0
            q = s2
            return p | q, 74
        # where_and_then: where(p, q, false) -> p & q
        if s2.op is ops.CONST and s2.dtype.kind == "b" and not s2.arg:
            p = s0
            q = s1
            return p & q, 75
    # where_scalar: where(expand(p), x, y) -> where(p, x, y) if p.shape == ()
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        p = s00
        x = s1
        y = s2
        if p.shape == ():
            return build(ops.WHERE, p, x, y), 159
    # where_scalar_yes: where(p, expand(x), y) -> where(p, x, y) if x.shape == ()
    if s1.op is ops.EXPAND:
        s10 = s1.src[0]
        p = s0
        x = s10
        y = s2
        if x.shape == ():
            return build(ops.WHERE, p, x, y), 160
    # where_scalar_no: where(p, x, expand(y)) -> where(p, x, y) if y.shape == ()
    if s2.op is ops.EXPAND:
        s20 = s2.src[0]
        p = s0
        x = s1
        y = s20
        if y.shape == ():
            return build(ops.WHERE, p, x, y), 161
    return None


def _reshape(out: UOp) -> tuple[UOp, int] | None:
    # reshape_known: reshape(x) -> known_dims(x, out)
    s0 = out.src[0]
    x = s0
    new = known_dims(x, out)
    if new is not None:
        return new, 125
    # reshape_same: reshape(x) -> x if same_shape(x, out)
    s0 = out.src[0]
    x = s0
    if same_shape(x, out):
        return x, 129
    # reshape_reshape: reshape(reshape(x)) -> reshaped(x, out)
    s0 = out.src[0]
    if s0.op is ops.RESHAPE:
        s00 = s0.src[0]
        x = s00
        new = reshaped(x, out)
        if new is not None:
            return new, 130
    # reshape_scalar: reshape(expand(x)) -> x if x.shape == ()
    s0 = out.src[0]
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        if x.shape == ():
            return x, 142
    # reshape_of_scalar: reshape(x) -> x if x.shape == ()
    s0 = out.src[0]
    x = s0
    if x.shape == ():
        return x, 143
    return None


def _expand(out: UOp) -> tuple[UOp, int] | None:
    # expand_known: expand(x) -> known_dims(x, out)
    s0 = out.src[0]
    x = s0
    new = known_dims(x, out)
    if new is not None:
        return new, 126
    # expand_same: expand(x) -> x if same_shape(x, out)
    s0 = out.src[0]
    x = s0
    if same_shape(x, out):
        return x, 131
    # expand_expand: expand(expand(x)) -> expanded(x, out)
    s0 = out.src[0]
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        new = expanded(x, out)
        if new is not None:
            return new, 132
    # expand_scalar_expand: expand(expand(x)) -> x if x.shape == ()
    s0 = out.src[0]
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        if x.shape == ():
            return x, 133
    return None


def _pad(out: UOp) -> tuple[UOp, int] | None:
    # pad_known: pad(x) -> known_dims(x, out)
    s0 = out.src[0]
    x = s0
    new = known_dims(x, out)
    if new is not None:
        return new, 127
    # pad_nothing: pad(x) -> x if not any(out.dims)
    s0 = out.src[0]
    x = s0
    if not any(out.dims):
        return x, 136
    # pad_pad: pad(pad(x)) -> padded(x, out)
    s0 = out.src[0]
    if s0.op is ops.PAD:
        s00 = s0.src[0]
        x = s00
        new = padded(x, out)
        if new is not None:
            return new, 137
    return None


def _shrink(out: UOp) -> tuple[UOp, int] | None:
    # shrink_known: shrink(x) -> known_dims(x, out)
    s0 = out.src[0]
    x = s0
    new = known_dims(x, out)
    if new is not None:
        return new, 128
    # shrink_same: shrink(x) -> x if same_shape(x, out)
    s0 = out.src[0]
    x = s0
    if same_shape(x, out):
        return x, 138
    # shrink_shrink: shrink(shrink(x)) -> shrunk(x, out)
    s0 = out.src[0]
    if s0.op is ops.SHRINK:
        s00 = s0.src[0]
        x = s00
        new = shrunk(x, out)
        if new is not None:
            return new, 139
    # shrink_pad: shrink(pad(x)) -> unpadded(x, out)
    s0 = out.src[0]
    if s0.op is ops.PAD:
        s00 = s0.src[0]
        x = s00
        new = unpadded(x, out)
        if new is not None:
            return new, 140
    # shrink_scalar: shrink(expand(x)) -> x if x.shape == ()
    s0 = out.src[0]
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        if x.shape == ():
            return x, 145
    return None


def _permute(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    # permute_same: permute[a](x) -> x if a == tuple(range(x.ndim))
    a = out.arg
    x = s0
    if a == tuple(range(x.ndim)):
        return x, 134
    # permute_permute: permute[b](permute[a](x)) -> permuted(x, a, b)
    b = out.arg
    if s0.op is ops.PERMUTE:
        a = s0.arg
        s00 = s0.src[0]
        x = s00
        new = permuted(x, a, b)
        if new is not None:
            return new, 135
    # permute_scalar: permute(expand(x)) -> x if x.shape == ()
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        if x.shape == ():
            return x, 144
    return None


def _flip(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    # flip_flip: flip[b](flip[a](x)) -> flipped(x, a, b)
    b = out.arg
    if s0.op is ops.FLIP:
        a = s0.arg
        s00 = s0.src[0]
        x = s00
        new = flipped(x, a, b)
        if new is not None:
            return new, 141
    # flip_scalar: flip(expand(x)) -> x if x.shape == ()
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        if x.shape == ():
            return x, 146
    return None


def _reduce(out: UOp) -> tuple[UOp, int] | None:
    # reduce_ones: reduce(x) -> all_ones(x, out)
    s0 = out.src[0]
    x = s0
    new = all_ones(x, out)
    if new is not None:
        return new, 164
    # sum_of_copies: reduce[a](expand(x)) -> sum_of_copies(x, out) if a[0] == "add" and x.shape == ()
    a = out.arg
    s0 = out.src[0]
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        if a[0] == "add" and x.shape == ():
            new = sum_of_copies(x, out)
            if new is not None:
                return new, 165
    # max_of_copies: reduce[a](expand(x)) -> x if a[0] in ("max", "min") and x.shape == () and not_empty(out)
    a = out.arg
    s0 = out.src[0]
    if s0.op is ops.EXPAND:
        s00 = s0.src[0]
        x = s00
        if a[0] in ("max", "min") and x.shape == () and not_empty(out):
            return x, 166
    return None


RULES = RuleSet(
    (
        Rule('fold_neg', "a constant's negation is a constant", '-c -> fold(out)', 'rules/symbolic.upat', 9, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_add', 'the sum of constants, rounded to the dtype', 'c0 + c1 -> fold(out)', 'rules/symbolic.upat', 10, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_sub', 'the difference of constants', 'c0 - c1 -> fold(out)', 'rules/symbolic.upat', 11, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_mul', 'the product of constants', 'c0 * c1 -> fold(out)', 'rules/symbolic.upat', 12, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_div', 'the quotient of constants', 'c0 / c1 -> fold(out)', 'rules/symbolic.upat', 13, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_floordiv', 'the floored quotient of constants', 'c0 // c1 -> fold(out)', 'rules/symbolic.upat', 14, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_mod', 'the remainder of constants', 'c0 % c1 -> fold(out)', 'rules/symbolic.upat', 15, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_max', 'the greater of constants', 'max(c0, c1) -> fold(out)', 'rules/symbolic.upat', 16, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_min', 'the smaller of constants', 'min(c0, c1) -> fold(out)', 'rules/symbolic.upat', 17, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_lt', 'constants compare once and for all', 'c0 < c1 -> fold(out)', 'rules/symbolic.upat', 18, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_eq', 'constants compare once and for all', 'c0 == c1 -> fold(out)', 'rules/symbolic.upat', 19, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_ne', 'constants compare once and for all', 'c0 != c1 -> fold(out)', 'rules/symbolic.upat', 20, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_and', 'bits of constants', 'c0 & c1 -> fold(out)', 'rules/symbolic.upat', 21, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_or', 'bits of constants', 'c0 | c1 -> fold(out)', 'rules/symbolic.upat', 22, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_xor', 'bits of constants', 'c0 ^ c1 -> fold(out)', 'rules/symbolic.upat', 23, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_shl', 'bits of constants', 'c0 << c1 -> fold(out)', 'rules/symbolic.upat', 24, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_shr', 'bits of constants', 'c0 >> c1 -> fold(out)', 'rules/symbolic.upat', 25, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_not', 'bits of a constant', '~c -> fold(out)', 'rules/symbolic.upat', 26, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_abs', 'the magnitude of a constant', 'abs(c) -> fold(out)', 'rules/symbolic.upat', 27, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_sqrt', 'sqrt is correctly rounded everywhere', 'sqrt(c) -> fold(out)', 'rules/symbolic.upat', 28, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_floor', 'exact', 'floor(c) -> fold(out)', 'rules/symbolic.upat', 29, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_round', 'exact', 'round(c) -> fold(out)', 'rules/symbolic.upat', 30, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('fold_cast', 'a constant converted', 'cast(c) -> fold(out)', 'rules/symbolic.upat', 31, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('mul_one', 'multiplicative identity; exact for floats', 'x * 1 -> x', 'rules/symbolic.upat', 34, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('neg_neg', 'exact for floats: only the sign bit moves', '-(-x) -> x', 'rules/symbolic.upat', 35, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('not_not', 'twice the other way', '~(~x) -> x', 'rules/symbolic.upat', 36, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('max_self', 'idempotent, NaN included', 'max(x, x) -> x', 'rules/symbolic.upat', 37, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('min_self', 'idempotent, NaN included', 'min(x, x) -> x', 'rules/symbolic.upat', 38, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('lt_self', 'nothing is less than itself, NaN included', 'x < x -> false', 'rules/symbolic.upat', 39, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('abs_neg', 'the sign is dropped anyway; unsigned -x is 2**bits - x', 'abs(-x) -> abs(x) if x.dtype.kind != "u"', 'rules/symbolic.upat', 40, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('abs_abs', 'idempotent', 'abs(abs(x)) -> abs(x)', 'rules/symbolic.upat', 41, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('where_true', 'the condition is known', 'where(true, x, y) -> x', 'rules/symbolic.upat', 42, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('where_false', 'the condition is known', 'where(false, x, y) -> y', 'rules/symbolic.upat', 43, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('where_same', 'both branches are one', 'where(p, x, x) -> x', 'rules/symbolic.upat', 44, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('where_not', 'the condition the right way up', 'where(~p, x, y) -> where(p, y, x)', 'rules/symbolic.upat', 45, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('where_where_yes', 'the inner condition is known there', 'where(p, where(p, x, y), z) -> where(p, x, z)', 'rules/symbolic.upat', 46, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('where_where_no', 'the inner condition is known there', 'where(p, x, where(p, y, z)) -> where(p, x, z)', 'rules/symbolic.upat', 47, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('where_implied', 'the inner condition is among the outer', 'where(p, where(q, x, y), z) -> where(p, x, z) if implies(p, q)', 'rules/symbolic.upat', 48, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('where_and', 'one choice under two conditions', 'where(p, where(q, x, y), y) -> where(p & q, x, y)', 'rules/symbolic.upat', 49, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('where_or', 'one choice under either condition', 'where(p, x, where(q, x, y)) -> where(p | q, x, y)', 'rules/symbolic.upat', 50, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('cast_same', 'already of the dtype', 'cast(x) -> x if x.dtype is out.dtype', 'rules/symbolic.upat', 51, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('cast_cast', 'the first cast loses nothing', 'cast(cast(x)) -> cast(x) if cast_passes(x, out.src[0])', 'rules/symbolic.upat', 52, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('add_neg_zero', 'exact, also for x = -0.0; x + 0.0 is not', 'x + -0.0 -> x', 'rules/symbolic.upat', 55, 'float', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('sub_zero', 'exact, also for x = -0.0', 'x - 0 -> x', 'rules/symbolic.upat', 56, 'float', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('sub_neg', 'exact', 'x - (-y) -> x + y', 'rules/symbolic.upat', 57, 'float', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('add_neg', 'exact', 'x + (-y) -> x - y', 'rules/symbolic.upat', 58, 'float', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('mul_neg_one', 'exact: only the sign bit moves', 'x * -1 -> -x', 'rules/symbolic.upat', 59, 'float', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('mul_neg_neg', 'exact', '(-x) * (-y) -> x * y', 'rules/symbolic.upat', 60, 'float', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('div_one', 'exact', 'x / 1 -> x', 'rules/symbolic.upat', 61, 'float', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('div_neg_neg', 'exact', '(-x) / (-y) -> x / y', 'rules/symbolic.upat', 62, 'float', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('div_power_of_two', 'exact where 1/c is a normal number', 'x / c -> multiply_by_inverse(x, c)', 'rules/symbolic.upat', 63, 'float', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('floor_floor', 'already whole', 'floor(floor(x)) -> floor(x)', 'rules/symbolic.upat', 64, 'float', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('round_round', 'already whole', 'round(round(x)) -> round(x)', 'rules/symbolic.upat', 65, 'float', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('floor_round', 'already whole', 'floor(round(x)) -> round(x)', 'rules/symbolic.upat', 66, 'float', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('round_floor', 'already whole', 'round(floor(x)) -> floor(x)', 'rules/symbolic.upat', 67, 'float', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('and_true', 'identity of and', 'p & true -> p', 'rules/symbolic.upat', 70, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('and_false', 'and with false', 'p & false -> false', 'rules/symbolic.upat', 71, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('or_false', 'identity of or', 'p | false -> p', 'rules/symbolic.upat', 72, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('or_true', 'or with true', 'p | true -> true', 'rules/symbolic.upat', 73, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('xor_false', 'identity of exclusive or', 'p ^ false -> p', 'rules/symbolic.upat', 74, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('xor_true', 'exclusive or with true', 'p ^ true -> ~p', 'rules/symbolic.upat', 75, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('and_not_self', 'never both', 'p & ~p -> false', 'rules/symbolic.upat', 76, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('or_not_self', 'always one', 'p | ~p -> true', 'rules/symbolic.upat', 77, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('bool_add', 'the sum of bools is or', 'p + q -> p | q', 'rules/symbolic.upat', 78, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('bool_mul', 'the product of bools is and', 'p * q -> p & q', 'rules/symbolic.upat', 79, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('bool_max', 'the greater of bools is or', 'max(p, q) -> p | q', 'rules/symbolic.upat', 80, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('bool_min', 'the smaller of bools is and', 'min(p, q) -> p & q', 'rules/symbolic.upat', 81, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('eq_true', 'compared with true', 'p == true -> p', 'rules/symbolic.upat', 82, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('eq_false', 'compared with false', 'p == false -> ~p', 'rules/symbolic.upat', 83, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('ne_bool', 'bools that differ', 'p != q -> p ^ q', 'rules/symbolic.upat', 84, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('ne_not', 'exact: NaN differs from all', '~(x == y) -> x != y if x.dtype is not dtypes.index', 'rules/symbolic.upat', 85, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('eq_not', 'exact: NaN differs from all', '~(x != y) -> x == y', 'rules/symbolic.upat', 86, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('where_itself', 'the condition itself', 'where(p, true, false) -> p', 'rules/symbolic.upat', 87, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('where_negated', 'the condition negated', 'where(p, false, true) -> ~p', 'rules/symbolic.upat', 88, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('where_or_else', 'a choice of bools', 'where(p, true, q) -> p | q', 'rules/symbolic.upat', 89, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('where_and_then', 'a choice of bools', 'where(p, q, false) -> p & q', 'rules/symbolic.upat', 90, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('and_form', 'each condition once, limits of one value joined', 'p & q -> and_form(out)', 'rules/symbolic.upat', 91, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('or_absorbs', 'idempotent', 'p | (p | q) -> p | q', 'rules/symbolic.upat', 92, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('or_lt_lt', 'under either limit', '(x < c0) | (x < c1) -> x < max(c0, c1) if x.dtype.kind in "iu"', 'rules/symbolic.upat', 93, 'bool', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('and_self', 'idempotent', 'x & x -> x', 'rules/symbolic.upat', 96, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('or_self', 'idempotent', 'x | x -> x', 'rules/symbolic.upat', 97, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('add_zero', 'additive identity', 'x + 0 -> x', 'rules/symbolic.upat', 100, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('sub_zero_int', 'additive identity', 'x - 0 -> x', 'rules/symbolic.upat', 101, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('sub_self', 'of ints only: inf - inf is NaN', 'x - x -> 0', 'rules/symbolic.upat', 102, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('mul_zero', 'of ints only: NaN * 0 is NaN', 'x * 0 -> 0', 'rules/symbolic.upat', 103, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('floordiv_one', 'division by one', 'x // 1 -> x', 'rules/symbolic.upat', 104, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('mod_one', 'no remainder by one', 'x % 1 -> 0', 'rules/symbolic.upat', 105, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('and_zero', 'no bits', 'x & 0 -> 0', 'rules/symbolic.upat', 106, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('or_zero', 'no more bits', 'x | 0 -> x', 'rules/symbolic.upat', 107, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('xor_zero', 'no bit turned', 'x ^ 0 -> x', 'rules/symbolic.upat', 108, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('xor_self', 'every bit turned back', 'x ^ x -> 0', 'rules/symbolic.upat', 109, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('shl_zero', 'not moved', 'x << 0 -> x', 'rules/symbolic.upat', 110, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('shr_zero', 'not moved', 'x >> 0 -> x', 'rules/symbolic.upat', 111, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('eq_self', 'of ints only: NaN differs from itself', 'x == x -> true', 'rules/symbolic.upat', 112, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('ne_self', 'of ints only: NaN differs from itself', 'x != x -> false', 'rules/symbolic.upat', 113, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('add_const', 'constants gather; wrapping is associative', '(x + c0) + c1 -> x + (c0 + c1)', 'rules/symbolic.upat', 114, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('mul_const', 'constants gather; wrapping is associative', '(x * c0) * c1 -> x * (c0 * c1)', 'rules/symbolic.upat', 115, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('const_last_add', 'constants last', 'c + x -> x + c if out.src[0] is c and x.op is not ops.CONST', 'rules/symbolic.upat', 116, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('const_last_mul', 'constants last', 'c * x -> x * c if out.src[0] is c and x.op is not ops.CONST', 'rules/symbolic.upat', 117, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('lt_true', 'by bounds', 'x < y -> true if hi(x) < lo(y)', 'rules/symbolic.upat', 118, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('lt_false', 'by bounds', 'x < y -> false if lo(x) >= hi(y)', 'rules/symbolic.upat', 119, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('max_by_bounds', 'by bounds', 'max(x, y) -> x if lo(x) >= hi(y)', 'rules/symbolic.upat', 120, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('min_by_bounds', 'by bounds', 'min(x, y) -> x if hi(x) <= lo(y)', 'rules/symbolic.upat', 121, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('div_by_bounds', 'one quotient for all values', 'x // y -> quotient_by_bounds(x, y)', 'rules/symbolic.upat', 122, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('mod_by_bounds', 'one quotient for all values', 'x % y -> remainder_by_bounds(x, y)', 'rules/symbolic.upat', 123, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('abs_by_bounds', 'not negative', 'abs(x) -> x if lo(x) >= 0', 'rules/symbolic.upat', 124, 'int', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('sub_as_add', 'differences are sums', 'x - y -> x + y * -1', 'rules/symbolic.upat', 127, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('neg_as_mul', 'negation is a coefficient', '-x -> x * -1', 'rules/symbolic.upat', 128, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('product_form', 'factors in order, the constant last', 'x * y -> product_form(out)', 'rules/symbolic.upat', 129, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('distribute', 'a sum of multiples of constants and dims', '(x + y) * z -> x * z + y * z if is_dim(z) and (z.op is not ops.ADD or is_dim(x, y))', 'rules/symbolic.upat', 130, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('sum_form', 'terms in order, equal ones gathered, x//d*d + x%d -> x', 'x + y -> sum_form(out)', 'rules/symbolic.upat', 131, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('div_below', 'less than the divisor, by symbolic ends', 'x // y -> 0 if below(x, y)', 'rules/symbolic.upat', 132, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('mod_below', 'less than the divisor, by symbolic ends', 'x % y -> x if below(x, y)', 'rules/symbolic.upat', 133, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('div_negative', 'a positive divisor', 'x // c -> (x * -1) // (c * -1) if c.arg < 0', 'rules/symbolic.upat', 134, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('mod_of_multiple', 'quotients inside, remainders outside', '(x % c0) // c1 -> (x // c1) % (c0 // c1) if c1.arg > 0 and c0.arg > 0 and c0.arg % c1.arg == 0', 'rules/symbolic.upat', 135, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('split_quotient', '(a*y + b)//y -> a + b//y', 'x // y -> split_quotient(x, y) if lo(y) > 0', 'rules/symbolic.upat', 136, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('split_remainder', '(a*y + b)%y -> b%y', 'x % y -> split_remainder(x, y) if lo(y) > 0', 'rules/symbolic.upat', 137, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('coarser_quotient', '(4x + y)//8 -> x//2 with 0 <= y < 4', 'x // c -> coarser_quotient(x, c) if c.arg > 0', 'rules/symbolic.upat', 138, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('coarser_remainder', '(4x + y)%8 -> x%2*4 + y with 0 <= y < 4', 'x % c -> coarser_remainder(x, c) if c.arg > 0', 'rules/symbolic.upat', 139, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('negative_quotient', '(c - 1 - x)//c -> -(x//c)', 'x // c -> negative_quotient(x, c) if c.arg > 0', 'rules/symbolic.upat', 140, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('negative_remainder', '(c - 1 - x)%c -> c - 1 - x%c', 'x % c -> negative_remainder(x, c) if c.arg > 0', 'rules/symbolic.upat', 141, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('quotient_of_quotients', '(x//a + s)//b -> (x + s*a)//(a*b)', 'x // c -> quotient_of_quotients(x, c) if c.arg > 0', 'rules/symbolic.upat', 142, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('lt_form', 'terms left, constant right, coprime, the first positive', 'x < y -> lt_form(out)', 'rules/symbolic.upat', 143, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('eq_form', 'terms left, constant right, coprime, the first positive', 'x == y -> eq_form(out)', 'rules/symbolic.upat', 144, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('ne_as_eq', 'one form of comparing', 'x != y -> ~(x == y)', 'rules/symbolic.upat', 145, 'index', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('reshape_known', 'a dim that became a constant is a number', 'reshape(x) -> known_dims(x, out)', 'rules/symbolic.upat', 149, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('expand_known', 'a dim that became a constant is a number', 'expand(x) -> known_dims(x, out)', 'rules/symbolic.upat', 150, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('pad_known', 'an amount that became a constant is a number', 'pad(x) -> known_dims(x, out)', 'rules/symbolic.upat', 151, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('shrink_known', 'a bound that became a constant is a number', 'shrink(x) -> known_dims(x, out)', 'rules/symbolic.upat', 152, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('reshape_same', 'nothing moves', 'reshape(x) -> x if same_shape(x, out)', 'rules/symbolic.upat', 153, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('reshape_reshape', 'the last shape counts', 'reshape(reshape(x)) -> reshaped(x, out)', 'rules/symbolic.upat', 154, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('expand_same', 'nothing moves', 'expand(x) -> x if same_shape(x, out)', 'rules/symbolic.upat', 155, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('expand_expand', 'the last shape counts', 'expand(expand(x)) -> expanded(x, out)', 'rules/symbolic.upat', 156, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('expand_scalar_expand', 'a scalar goes to any shape', 'expand(expand(x)) -> x if x.shape == ()', 'rules/symbolic.upat', 157, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('permute_same', 'nothing moves', 'permute[a](x) -> x if a == tuple(range(x.ndim))', 'rules/symbolic.upat', 158, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('permute_permute', 'one permutation', 'permute[b](permute[a](x)) -> permuted(x, a, b)', 'rules/symbolic.upat', 159, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('pad_nothing', 'nothing is added', 'pad(x) -> x if not any(out.dims)', 'rules/symbolic.upat', 160, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('pad_pad', 'zeros around zeros', 'pad(pad(x)) -> padded(x, out)', 'rules/symbolic.upat', 161, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('shrink_same', 'nothing is left out', 'shrink(x) -> x if same_shape(x, out)', 'rules/symbolic.upat', 162, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('shrink_shrink', 'a part of a part', 'shrink(shrink(x)) -> shrunk(x, out)', 'rules/symbolic.upat', 163, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('shrink_pad', 'the padding is not in the part', 'shrink(pad(x)) -> unpadded(x, out)', 'rules/symbolic.upat', 164, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('flip_flip', 'what is flipped twice is not', 'flip[b](flip[a](x)) -> flipped(x, a, b)', 'rules/symbolic.upat', 165, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('reshape_scalar', 'copies of a scalar', 'reshape(expand(x)) -> x if x.shape == ()', 'rules/symbolic.upat', 166, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('reshape_of_scalar', 'axes of length 1 are copies of a scalar', 'reshape(x) -> x if x.shape == ()', 'rules/symbolic.upat', 167, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('permute_scalar', 'copies of a scalar', 'permute(expand(x)) -> x if x.shape == ()', 'rules/symbolic.upat', 168, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('shrink_scalar', 'copies of a scalar', 'shrink(expand(x)) -> x if x.shape == ()', 'rules/symbolic.upat', 169, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('flip_scalar', 'copies of a scalar', 'flip(expand(x)) -> x if x.shape == ()', 'rules/symbolic.upat', 170, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('add_scalar', 'a scalar broadcasts', 'expand(x) + y -> x + y if x.shape == ()', 'rules/symbolic.upat', 173, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('sub_scalar', 'a scalar broadcasts', 'expand(x) - y -> x - y if x.shape == ()', 'rules/symbolic.upat', 174, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('sub_scalar_right', 'a scalar broadcasts', 'x - expand(y) -> x - y if y.shape == ()', 'rules/symbolic.upat', 175, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('mul_scalar', 'a scalar broadcasts', 'expand(x) * y -> x * y if x.shape == ()', 'rules/symbolic.upat', 176, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('div_scalar', 'a scalar broadcasts', 'expand(x) / y -> x / y if x.shape == ()', 'rules/symbolic.upat', 177, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('div_scalar_right', 'a scalar broadcasts', 'x / expand(y) -> x / y if y.shape == ()', 'rules/symbolic.upat', 178, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('max_scalar', 'a scalar broadcasts', 'max(expand(x), y) -> max(x, y) if x.shape == ()', 'rules/symbolic.upat', 179, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('min_scalar', 'a scalar broadcasts', 'min(expand(x), y) -> min(x, y) if x.shape == ()', 'rules/symbolic.upat', 180, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('lt_scalar', 'a scalar broadcasts', 'expand(x) < y -> x < y if x.shape == ()', 'rules/symbolic.upat', 181, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('lt_scalar_right', 'a scalar broadcasts', 'x < expand(y) -> x < y if y.shape == ()', 'rules/symbolic.upat', 182, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('eq_scalar', 'a scalar broadcasts', 'expand(x) == y -> x == y if x.shape == ()', 'rules/symbolic.upat', 183, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('ne_scalar', 'a scalar broadcasts', 'expand(x) != y -> x != y if x.shape == ()', 'rules/symbolic.upat', 184, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('where_scalar', 'a scalar broadcasts', 'where(expand(p), x, y) -> where(p, x, y) if p.shape == ()', 'rules/symbolic.upat', 185, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('where_scalar_yes', 'a scalar broadcasts', 'where(p, expand(x), y) -> where(p, x, y) if x.shape == ()', 'rules/symbolic.upat', 186, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('where_scalar_no', 'a scalar broadcasts', 'where(p, x, expand(y)) -> where(p, x, y) if y.shape == ()', 'rules/symbolic.upat', 187, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('cast_scalar_copies', 'convert once, then copy', 'cast(expand(x)) -> cast(x) if x.shape == ()', 'rules/symbolic.upat', 188, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('neg_scalar', 'compute once, then copy', '-expand(x) -> -x if x.shape == ()', 'rules/symbolic.upat', 189, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('reduce_ones', 'one element each: only the shape changes', 'reduce(x) -> all_ones(x, out)', 'rules/symbolic.upat', 192, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('sum_of_copies', 'n equal terms, where exact', 'reduce[a](expand(x)) -> sum_of_copies(x, out) if a[0] == "add" and x.shape == ()', 'rules/symbolic.upat', 193, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
        Rule('max_of_copies', 'the same everywhere', 'reduce[a](expand(x)) -> x if a[0] in ("max", "min") and x.shape == () and not_empty(out)', 'rules/symbolic.upat', 194, 'any', ('anneal.uop.symbolic', 'anneal.rules.symbolic', 'anneal.rules.sums', 'anneal.rules.quotients')),
    ),
    {ops.NEG: _neg, ops.ADD: _add, ops.SUB: _sub, ops.MUL: _mul, ops.DIV: _div, ops.FLOORDIV: _floordiv, ops.MOD: _mod, ops.MAX: _max, ops.MIN: _min, ops.LT: _lt, ops.EQ: _eq, ops.NE: _ne, ops.AND: _and, ops.OR: _or, ops.XOR: _xor, ops.SHL: _shl, ops.SHR: _shr, ops.NOT: _not, ops.ABS: _abs, ops.SQRT: _sqrt, ops.FLOOR: _floor, ops.ROUND: _round, ops.CAST: _cast, ops.WHERE: _where, ops.RESHAPE: _reshape, ops.EXPAND: _expand, ops.PAD: _pad, ops.SHRINK: _shrink, ops.PERMUTE: _permute, ops.FLIP: _flip, ops.REDUCE: _reduce},
)
