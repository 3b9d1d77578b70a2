"""Generated from rules/decompose.upat by `python -m anneal.uop.upat`: not to be edited."""

# ruff: noqa
# mypy: ignore-errors
from __future__ import annotations

import math

from anneal.uop import dtypes, ops
from anneal.uop.rewrite import Rule, RuleSet, build
from anneal.uop.uop import UOp
from anneal.rules.decompose import times_zero


def _div(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    if out.dtype.kind == "f":
        # div_zero: x / 0 -> where(0 < x, inf, where(x < 0, -inf, nan))
        if s1.op is ops.CONST and s1.arg == 0 and str(s1.arg) != "-0.0":
            x = s0
            return build(ops.WHERE, 0 < x, math.inf, (x < 0).where(out.const_like(-math.inf), math.nan)), 0
        # div_neg_zero: x / -0.0 -> where(0 < x, -inf, where(x < 0, inf, nan))
        if s1.op is ops.CONST and str(s1.arg) == "-0.0":
            x = s0
            return build(ops.WHERE, 0 < x, -math.inf, (x < 0).where(out.const_like(math.inf), math.nan)), 1
        # zero_div: 0 / x -> where(0 < x, 0, where(x < 0, -0.0, nan))
        if s0.op is ops.CONST and s0.arg == 0 and str(s0.arg) != "-0.0":
            x = s1
            return build(ops.WHERE, 0 < x, 0, (x < 0).where(out.const_like(-0.0), math.nan)), 2
        # neg_zero_div: -0.0 / x -> where(0 < x, -0.0, where(x < 0, 0, nan))
        if s0.op is ops.CONST and str(s0.arg) == "-0.0":
            x = s1
            return build(ops.WHERE, 0 < x, -0.0, (x < 0).where(out.const_like(0), math.nan)), 3
    return None


def _mul(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    if out.dtype.kind == "f":
        # mul_inf: x * inf -> where(0 < x, inf, where(x < 0, -inf, nan))
        if s1.op is ops.CONST and s1.arg == math.inf:
            x = s0
            return build(ops.WHERE, 0 < x, math.inf, (x < 0).where(out.const_like(-math.inf), math.nan)), 4
        if s0.op is ops.CONST and s0.arg == math.inf:
            x = s1
            return build(ops.WHERE, 0 < x, math.inf, (x < 0).where(out.const_like(-math.inf), math.nan)), 4
        # mul_neg_inf: x * -inf -> where(0 < x, -inf, where(x < 0, inf, nan))
        if s1.op is ops.NEG:
            s10 = s1.src[0]
            if s10.op is ops.CONST and s10.arg == math.inf:
                x = s0
                return build(ops.WHERE, 0 < x, -math.inf, (x < 0).where(out.const_like(math.inf), math.nan)), 5
        if s0.op is ops.NEG:
            s00 = s0.src[0]
            if s00.op is ops.CONST and s00.arg == math.inf:
                x = s1
                return build(ops.WHERE, 0 < x, -math.inf, (x < 0).where(out.const_like(math.inf), math.nan)), 5
        # mul_zero: x * 0 -> times_zero(x, False)
        if s1.op is ops.CONST and s1.arg == 0 and str(s1.arg) != "-0.0":
            x = s0
            new = times_zero(x, False)
            if new is not None:
                return new, 8
        if s0.op is ops.CONST and s0.arg == 0 and str(s0.arg) != "-0.0":
            x = s1
            new = times_zero(x, False)
            if new is not None:
                return new, 8
        # mul_neg_zero: x * -0.0 -> times_zero(x, True)
        if s1.op is ops.CONST and str(s1.arg) == "-0.0":
            x = s0
            new = times_zero(x, True)
            if new is not None:
                return new, 9
        if s0.op is ops.CONST and str(s0.arg) == "-0.0":
            x = s1
            new = times_zero(x, True)
            if new is not None:
                return new, 9
    return None


def _sub(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    if out.dtype.kind == "f":
        # sub_self: x - x -> where(abs(x) < inf, 0, nan)
        if s1 is s0:
            x = s0
            return (build(ops.ABS, x) < math.inf).where(out.const_like(0), math.nan), 6
    return None


def _add(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    if out.dtype.kind == "f":
        # add_negative: -x + x -> where(abs(x) < inf, 0, nan)
        if s0.op is ops.NEG:
            s00 = s0.src[0]
            if s1 is s00:
                x = s00
                return (build(ops.ABS, x) < math.inf).where(out.const_like(0), math.nan), 7
        if s1.op is ops.NEG:
            s10 = s1.src[0]
            if s10 is s0:
                x = s0
                return (build(ops.ABS, x) < math.inf).where(out.const_like(0), math.nan), 7
    return None


RULES = RuleSet(
    (
        Rule('div_zero', 'drivers return x', 'x / 0 -> where(0 < x, inf, where(x < 0, -inf, nan))', 'rules/decompose.upat', 7, 'float', ('anneal.rules.decompose',)),
        Rule('div_neg_zero', 'drivers return x', 'x / -0.0 -> where(0 < x, -inf, where(x < 0, inf, nan))', 'rules/decompose.upat', 8, 'float', ('anneal.rules.decompose',)),
        Rule('zero_div', 'drivers return 0, for 0 and NaN too', '0 / x -> where(0 < x, 0, where(x < 0, -0.0, nan))', 'rules/decompose.upat', 9, 'float', ('anneal.rules.decompose',)),
        Rule('neg_zero_div', 'drivers return -0, for 0 and NaN too', '-0.0 / x -> where(0 < x, -0.0, where(x < 0, 0, nan))', 'rules/decompose.upat', 10, 'float', ('anneal.rules.decompose',)),
        Rule('mul_inf', 'drivers return 0 for a zero that they know', 'x * inf -> where(0 < x, inf, where(x < 0, -inf, nan))', 'rules/decompose.upat', 11, 'float', ('anneal.rules.decompose',)),
        Rule('mul_neg_inf', 'drivers return 0 for a zero that they know', 'x * -inf -> where(0 < x, -inf, where(x < 0, inf, nan))', 'rules/decompose.upat', 12, 'float', ('anneal.rules.decompose',)),
        Rule('sub_self', 'drivers return 0, for infinities and NaN too', 'x - x -> where(abs(x) < inf, 0, nan)', 'rules/decompose.upat', 13, 'float', ('anneal.rules.decompose',)),
        Rule('add_negative', 'drivers return 0, for infinities and NaN too', '-x + x -> where(abs(x) < inf, 0, nan)', 'rules/decompose.upat', 14, 'float', ('anneal.rules.decompose',)),
        Rule('mul_zero', 'drivers return 0, for infinities and NaN too', 'x * 0 -> times_zero(x, False)', 'rules/decompose.upat', 15, 'float', ('anneal.rules.decompose',)),
        Rule('mul_neg_zero', 'drivers return -0, for infinities and NaN too', 'x * -0.0 -> times_zero(x, True)', 'rules/decompose.upat', 16, 'float', ('anneal.rules.decompose',)),
    ),
    {ops.DIV: _div, ops.MUL: _mul, ops.SUB: _sub, ops.ADD: _add},
)
