"""Generated from rules/kernel.upat by `python -m anneal.uop.upat`: not to be edited."""

# ruff: noqa
# mypy: ignore-errors
from __future__ import annotations

import math

from anneal.uop import dtypes, ops
from anneal.uop.rewrite import Rule, RuleSet, build
from anneal.uop.uop import UOp
from anneal.rules.functions import cosine, error_function, exponential, exponential_less_one, hyperbolic_cosine, hyperbolic_sine, hyperbolic_tangent, logarithm, logarithm1p, power, power_of_two, sine
from anneal.rules.division import floored_quotient, floored_remainder


def _exp(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    if out.dtype.kind == "f":
        # exp: exp(x) -> exponential(x)
        x = s0
        new = exponential(x)
        if new is not None:
            return new, 0
    return None


def _log(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    if out.dtype.kind == "f":
        # log: log(x) -> logarithm(x)
        x = s0
        new = logarithm(x)
        if new is not None:
            return new, 1
    return None


def _log1p(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    if out.dtype.kind == "f":
        # log1p: log1p(x) -> logarithm1p(x)
        x = s0
        new = logarithm1p(x)
        if new is not None:
            return new, 2
    return None


def _sin(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    if out.dtype.kind == "f":
        # sin: sin(x) -> sine(x)
        x = s0
        new = sine(x)
        if new is not None:
            return new, 3
    return None


def _cos(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    if out.dtype.kind == "f":
        # cos: cos(x) -> cosine(x)
        x = s0
        new = cosine(x)
        if new is not None:
            return new, 4
    return None


def _expm1(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    if out.dtype.kind == "f":
        # expm1: expm1(x) -> exponential_less_one(x)
        x = s0
        new = exponential_less_one(x)
        if new is not None:
            return new, 5
    return None


def _sinh(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    if out.dtype.kind == "f":
        # sinh: sinh(x) -> hyperbolic_sine(x)
        x = s0
        new = hyperbolic_sine(x)
        if new is not None:
            return new, 6
    return None


def _cosh(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    if out.dtype.kind == "f":
        # cosh: cosh(x) -> hyperbolic_cosine(x)
        x = s0
        new = hyperbolic_cosine(x)
        if new is not None:
            return new, 7
    return None


def _tanh(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    if out.dtype.kind == "f":
        # tanh: tanh(x) -> hyperbolic_tangent(x)
        x = s0
        new = hyperbolic_tangent(x)
        if new is not None:
            return new, 8
    return None


def _erf(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    if out.dtype.kind == "f":
        # erf: erf(x) -> error_function(x)
        x = s0
        new = error_function(x)
        if new is not None:
            return new, 9
    return None


def _pow(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    if out.dtype.kind == "f":
        # exp2: 2 ** x -> power_of_two(x)
        if s0.op is ops.CONST and s0.arg == 2:
            x = s1
            new = power_of_two(x)
            if new is not None:
                return new, 10
        # pow: x ** y -> power(x, y)
        x = s0
        y = s1
        new = power(x, y)
        if new is not None:
            return new, 11
    return None


def _max(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    if out.dtype.kind == "f":
        # max_number: max(x, c) -> where(x < c, c, x) if c.arg == c.arg
        if s1.op is ops.CONST:
            x = s0
            c = s1
            if c.arg == c.arg:
                return build(ops.WHERE, x < c, c, x), 12
        if s0.op is ops.CONST:
            c = s0
            x = s1
            if c.arg == c.arg:
                return build(ops.WHERE, x < c, c, x), 12
    return None


def _min(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    if out.dtype.kind == "f":
        # min_number: min(x, c) -> where(c < x, c, x) if c.arg == c.arg
        if s1.op is ops.CONST:
            x = s0
            c = s1
            if c.arg == c.arg:
                return build(ops.WHERE, c < x, c, x), 13
        if s0.op is ops.CONST:
            c = s0
            x = s1
            if c.arg == c.arg:
                return build(ops.WHERE, c < x, c, x), 13
    return None


def _floordiv(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    if out.dtype.kind in "iu":
        # floordiv: x // y -> floored_quotient(x, y)
        x = s0
        y = s1
        new = floored_quotient(x, y)
        if new is not None:
            return new, 14
    return None


def _mod(out: UOp) -> tuple[UOp, int] | None:
    s0, s1 = out.src
    if out.dtype.kind in "iu":
        # mod: x % y -> floored_remainder(x, y)
        x = s0
        y = s1
        new = floored_remainder(x, y)
        if new is not None:
            return new, 15
    return None


RULES = RuleSet(
    (
        Rule('exp', 'whole powers of 2, and a polynomial between them', 'exp(x) -> exponential(x)', 'rules/kernel.upat', 8, 'float', ('anneal.rules.functions', 'anneal.rules.division')),
        Rule('log', 'the exponent, and a polynomial of the fraction', 'log(x) -> logarithm(x)', 'rules/kernel.upat', 9, 'float', ('anneal.rules.functions', 'anneal.rules.division')),
        Rule('log1p', 'the exponent and fraction of 1 + x, from x itself', 'log1p(x) -> logarithm1p(x)', 'rules/kernel.upat', 10, 'float', ('anneal.rules.functions', 'anneal.rules.division')),
        Rule('sin', 'quarter turns by 2/pi to 224 bits, and a polynomial', 'sin(x) -> sine(x)', 'rules/kernel.upat', 11, 'float', ('anneal.rules.functions', 'anneal.rules.division')),
        Rule('cos', 'quarter turns by 2/pi to 224 bits, and a polynomial', 'cos(x) -> cosine(x)', 'rules/kernel.upat', 12, 'float', ('anneal.rules.functions', 'anneal.rules.division')),
        Rule('expm1', 'as exp; the powers of 2 less one', 'expm1(x) -> exponential_less_one(x)', 'rules/kernel.upat', 13, 'float', ('anneal.rules.functions', 'anneal.rules.division')),
        Rule('sinh', '(t + t / (t + 1)) / 2, of t = expm1(|x|)', 'sinh(x) -> hyperbolic_sine(x)', 'rules/kernel.upat', 14, 'float', ('anneal.rules.functions', 'anneal.rules.division')),
        Rule('cosh', 'exp, and its inverse, halved before they overflow', 'cosh(x) -> hyperbolic_cosine(x)', 'rules/kernel.upat', 15, 'float', ('anneal.rules.functions', 'anneal.rules.division')),
        Rule('tanh', 't / (t + 2), of t = expm1(2 x)', 'tanh(x) -> hyperbolic_tangent(x)', 'rules/kernel.upat', 16, 'float', ('anneal.rules.functions', 'anneal.rules.division')),
        Rule('erf', '-expm1(log(1 - erf(x))), the logarithm a polynomial', 'erf(x) -> error_function(x)', 'rules/kernel.upat', 17, 'float', ('anneal.rules.functions', 'anneal.rules.division')),
        Rule('exp2', 'as exp, without a product to find the whole power', '2 ** x -> power_of_two(x)', 'rules/kernel.upat', 18, 'float', ('anneal.rules.functions', 'anneal.rules.division')),
        Rule('pow', 'exp(y * log(x)) in pairs of floats', 'x ** y -> power(x, y)', 'rules/kernel.upat', 19, 'float', ('anneal.rules.functions', 'anneal.rules.division')),
        Rule('max_number', 'NaN is not less', 'max(x, c) -> where(x < c, c, x) if c.arg == c.arg', 'rules/kernel.upat', 22, 'float', ('anneal.rules.functions', 'anneal.rules.division')),
        Rule('min_number', 'NaN is not greater', 'min(x, c) -> where(c < x, c, x) if c.arg == c.arg', 'rules/kernel.upat', 23, 'float', ('anneal.rules.functions', 'anneal.rules.division')),
        Rule('floordiv', 'by the quotient of magnitudes; 0 for y = 0', 'x // y -> floored_quotient(x, y)', 'rules/kernel.upat', 27, 'int', ('anneal.rules.functions', 'anneal.rules.division')),
        Rule('mod', 'by the quotient of magnitudes; 0 for y = 0', 'x % y -> floored_remainder(x, y)', 'rules/kernel.upat', 28, 'int', ('anneal.rules.functions', 'anneal.rules.division')),
    ),
    {ops.EXP: _exp, ops.LOG: _log, ops.LOG1P: _log1p, ops.SIN: _sin, ops.COS: _cos, ops.EXPM1: _expm1, ops.SINH: _sinh, ops.COSH: _cosh, ops.TANH: _tanh, ops.ERF: _erf, ops.POW: _pow, ops.MAX: _max, ops.MIN: _min, ops.FLOORDIV: _floordiv, ops.MOD: _mod},
)
