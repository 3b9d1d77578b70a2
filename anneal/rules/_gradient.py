"""Generated from rules/gradient.upat by `python -m anneal.uop.upat`: not to be edited."""

# ruff: noqa
# mypy: ignore-errors
from __future__ import annotations

import math

from anneal.uop import dtypes, ops
from anneal.uop.rewrite import Rule, GradientSet, build
from anneal.uop.uop import UOp
from anneal.rules.gradient import base_of_slope, bell, inverse, product_of_others, product_of_others_named, repeated, scattered, to_extremes, to_named_extremes, uncast, unexpanded, unpadded, unsheared, unshrunk


def _add(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, s1 = out.src
    # add: x + y -> g, g
    x = s0
    y = s1
    return (g, g, ), 0
    return None


def _sub(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, s1 = out.src
    # sub: x - y -> g, -g
    x = s0
    y = s1
    return (g, -g, ), 1
    return None


def _neg(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # neg: -x -> -g
    x = s0
    return (-g, ), 2
    return None


def _mul(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, s1 = out.src
    # mul: x * y -> g * y, g * x
    x = s0
    y = s1
    return (g * y, g * x, ), 3
    return None


def _div(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, s1 = out.src
    # div: x / y -> g / y, -((g * out) / y)
    x = s0
    y = s1
    return (g / y, -(g * out / y), ), 4
    return None


def _pow(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, s1 = out.src
    # pow: x ** y -> g * (y * base_of_slope(x, y) ** (y - 1)), g * (out * log(where(x == 0, 1, x)))
    x = s0
    y = s1
    return (g * (y * base_of_slope(x, y) ** (y - 1)), g * (out * build(ops.LOG, build(ops.WHERE, build(ops.EQ, x, 0), 1, x))), ), 5
    return None


def _mod(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, s1 = out.src
    # mod: x % y -> g, -(g * round((x - out) / y))
    x = s0
    y = s1
    return (g, -(g * build(ops.ROUND, (x - out) / y)), ), 6
    return None


def _max(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, s1 = out.src
    # max: max(x, y) -> where(x == y, g * 0.5, where(y < x, g, 0)), where(x == y, g * 0.5, where(x < y, g, 0))
    x = s0
    y = s1
    return (build(ops.WHERE, build(ops.EQ, x, y), g * 0.5, build(ops.WHERE, y < x, g, 0)), build(ops.WHERE, build(ops.EQ, x, y), g * 0.5, build(ops.WHERE, x < y, g, 0)), ), 7
    return None


def _min(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, s1 = out.src
    # min: min(x, y) -> where(x == y, g * 0.5, where(x < y, g, 0)), where(x == y, g * 0.5, where(y < x, g, 0))
    x = s0
    y = s1
    return (build(ops.WHERE, build(ops.EQ, x, y), g * 0.5, build(ops.WHERE, x < y, g, 0)), build(ops.WHERE, build(ops.EQ, x, y), g * 0.5, build(ops.WHERE, y < x, g, 0)), ), 8
    return None


def _where(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, s1, s2 = out.src
    # where: where(p, x, y) -> none, where(p, g, 0), where(p, 0, g)
    p = s0
    x = s1
    y = s2
    return (None, build(ops.WHERE, p, g, 0), build(ops.WHERE, p, 0, g), ), 9
    return None


def _exp(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # exp: exp(x) -> g * out
    x = s0
    return (g * out, ), 10
    return None


def _expm1(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # expm1: expm1(x) -> g * exp(x)
    x = s0
    return (g * build(ops.EXP, x), ), 11
    return None


def _log(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # log: log(x) -> g / x
    x = s0
    return (g / x, ), 12
    return None


def _log1p(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # log1p: log1p(x) -> g / (x + 1)
    x = s0
    return (g / (x + 1), ), 13
    return None


def _sin(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # sin: sin(x) -> g * cos(x)
    x = s0
    return (g * build(ops.COS, x), ), 14
    return None


def _cos(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # cos: cos(x) -> -(g * sin(x))
    x = s0
    return (-(g * build(ops.SIN, x)), ), 15
    return None


def _sinh(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # sinh: sinh(x) -> g * cosh(x)
    x = s0
    return (g * build(ops.COSH, x), ), 16
    return None


def _cosh(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # cosh: cosh(x) -> g * sinh(x)
    x = s0
    return (g * build(ops.SINH, x), ), 17
    return None


def _tanh(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # tanh: tanh(x) -> g * (1 - out * out)
    x = s0
    return (g * (1 - out * out), ), 18
    return None


def _erf(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # erf: erf(x) -> g * bell(x)
    x = s0
    return (g * bell(x), ), 19
    return None


def _sqrt(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # sqrt: sqrt(x) -> g / (out * 2)
    x = s0
    return (g / (out * 2), ), 20
    return None


def _abs(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # abs: abs(x) -> where(x < 0, -g, where(x > 0, g, 0))
    x = s0
    return (build(ops.WHERE, x < 0, -g, build(ops.WHERE, x > 0, g, 0)), ), 21
    return None


def _floor(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # floor: floor(x) -> none
    x = s0
    return (None, ), 22
    return None


def _round(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # round: round(x) -> none
    x = s0
    return (None, ), 23
    return None


def _cast(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # cast: cast(x) -> uncast(x, g)
    x = s0
    return (uncast(x, g), ), 24
    return None


def _stop_gradient(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # stop_gradient: stop_gradient(x) -> none
    x = s0
    return (None, ), 25
    return None


def _contiguous(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # contiguous: contiguous(x) -> g
    x = s0
    return (g, ), 26
    return None


def _after(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    # after: after(x) -> g
    s0 = out.src[0]
    x = s0
    return (g, ), 27
    return None


def _reshape(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    # reshape: reshape[a](x) -> g.reshape(x.shape)
    a = out.arg
    s0 = out.src[0]
    x = s0
    return (g.reshape(x.shape), ), 28
    return None


def _permute(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # permute: permute[a](x) -> g.permute(inverse(a))
    a = out.arg
    x = s0
    return (g.permute(inverse(a)), ), 29
    return None


def _expand(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    # expand: expand[a](x) -> unexpanded(x, g)
    a = out.arg
    s0 = out.src[0]
    x = s0
    return (unexpanded(x, g), ), 30
    return None


def _pad(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    # pad: pad[a](x) -> unpadded(out, g)
    a = out.arg
    s0 = out.src[0]
    x = s0
    return (unpadded(out, g), ), 31
    return None


def _shrink(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    # shrink: shrink[a](x) -> unshrunk(out, g)
    a = out.arg
    s0 = out.src[0]
    x = s0
    return (unshrunk(out, g), ), 32
    return None


def _flip(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # flip: flip[a](x) -> g.flip(a)
    a = out.arg
    x = s0
    return (g.flip(a), ), 33
    return None


def _shear(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, = out.src
    # shear: shear[a](x) -> unsheared(a, x, g)
    a = out.arg
    x = s0
    return (unsheared(a, x, g), ), 34
    return None


def _reduce(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    # reduce_add: reduce[a](x) -> repeated(out, g) if a[0] == "add"
    a = out.arg
    s0 = out.src[0]
    x = s0
    if a[0] == "add":
        return (repeated(out, g), ), 35
    # reduce_max: reduce[a](x) -> to_extremes(out, g) if a[0] == "max"
    a = out.arg
    s0 = out.src[0]
    x = s0
    if a[0] == "max":
        return (to_extremes(out, g), ), 36
    # reduce_min: reduce[a](x) -> to_extremes(out, g) if a[0] == "min"
    a = out.arg
    s0 = out.src[0]
    x = s0
    if a[0] == "min":
        return (to_extremes(out, g), ), 37
    # reduce_mul: reduce[a](x) -> repeated(out, g) * product_of_others(out) if a[0] == "mul"
    a = out.arg
    s0 = out.src[0]
    x = s0
    if a[0] == "mul":
        return (repeated(out, g) * product_of_others(out), ), 38
    return None


def _gather(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    s0, s1 = out.src
    # gather: gather[a](x, i) -> scattered(a, x, i, g), none
    a = out.arg
    x = s0
    i = s1
    return (scattered(a, x, i, g), None, ), 39
    return None


def _scatter(out: UOp, g: UOp) -> tuple[tuple[UOp | None, ...], int] | None:
    # scatter_add: scatter[a](i, x) -> none, g.gather(i, a[1]) if a[0] == "add"
    a = out.arg
    if len(out.src) >= 2:
        s0 = out.src[0]
        s1 = out.src[1]
        i = s0
        x = s1
        if a[0] == "add":
            return (None, g.gather(i, a[1]), ), 40
    # scatter_max: scatter[a](i, x) -> none, to_named_extremes(a, i, x, out, g) if a[0] == "max"
    a = out.arg
    if len(out.src) >= 2:
        s0 = out.src[0]
        s1 = out.src[1]
        i = s0
        x = s1
        if a[0] == "max":
            return (None, to_named_extremes(a, i, x, out, g), ), 41
    # scatter_min: scatter[a](i, x) -> none, to_named_extremes(a, i, x, out, g) if a[0] == "min"
    a = out.arg
    if len(out.src) >= 2:
        s0 = out.src[0]
        s1 = out.src[1]
        i = s0
        x = s1
        if a[0] == "min":
            return (None, to_named_extremes(a, i, x, out, g), ), 42
    # scatter_mul: scatter[a](i, x) -> none, g.gather(i, a[1]) * product_of_others_named(a, i, x) if a[0] == "mul"
    a = out.arg
    if len(out.src) >= 2:
        s0 = out.src[0]
        s1 = out.src[1]
        i = s0
        x = s1
        if a[0] == "mul":
            return (None, g.gather(i, a[1]) * product_of_others_named(a, i, x), ), 43
    return None


RULES = GradientSet(
    (
        Rule('add', 'd(x + y) = dx + dy', 'x + y -> g, g', 'rules/gradient.upat', 8, 'any', ('anneal.rules.gradient',)),
        Rule('sub', 'd(x - y) = dx - dy', 'x - y -> g, -g', 'rules/gradient.upat', 9, 'any', ('anneal.rules.gradient',)),
        Rule('neg', 'd(-x) = -dx', '-x -> -g', 'rules/gradient.upat', 10, 'any', ('anneal.rules.gradient',)),
        Rule('mul', 'the product rule', 'x * y -> g * y, g * x', 'rules/gradient.upat', 11, 'any', ('anneal.rules.gradient',)),
        Rule('div', 'the quotient rule', 'x / y -> g / y, -((g * out) / y)', 'rules/gradient.upat', 12, 'any', ('anneal.rules.gradient',)),
        Rule('pow', 'd(x**y) = y x**(y-1) dx + log(x) x**y dy; 0 for y = 0, and for x = 0', 'x ** y -> g * (y * base_of_slope(x, y) ** (y - 1)), g * (out * log(where(x == 0, 1, x)))', 'rules/gradient.upat', 13, 'any', ('anneal.rules.gradient',)),
        Rule('mod', 'x - n*y for a whole n, constant between its steps', 'x % y -> g, -(g * round((x - out) / y))', 'rules/gradient.upat', 16, 'any', ('anneal.rules.gradient',)),
        Rule('max', 'the greater gets it; ties share equally', 'max(x, y) -> where(x == y, g * 0.5, where(y < x, g, 0)), where(x == y, g * 0.5, where(x < y, g, 0))', 'rules/gradient.upat', 17, 'any', ('anneal.rules.gradient',)),
        Rule('min', 'the smaller gets it; ties share equally', 'min(x, y) -> where(x == y, g * 0.5, where(x < y, g, 0)), where(x == y, g * 0.5, where(y < x, g, 0))', 'rules/gradient.upat', 20, 'any', ('anneal.rules.gradient',)),
        Rule('where', 'the chosen one gets it', 'where(p, x, y) -> none, where(p, g, 0), where(p, 0, g)', 'rules/gradient.upat', 23, 'any', ('anneal.rules.gradient',)),
        Rule('exp', "exp' = exp", 'exp(x) -> g * out', 'rules/gradient.upat', 26, 'any', ('anneal.rules.gradient',)),
        Rule('expm1', "expm1' = exp", 'expm1(x) -> g * exp(x)', 'rules/gradient.upat', 27, 'any', ('anneal.rules.gradient',)),
        Rule('log', "log' = 1/x", 'log(x) -> g / x', 'rules/gradient.upat', 28, 'any', ('anneal.rules.gradient',)),
        Rule('log1p', "log1p' = 1/(1 + x)", 'log1p(x) -> g / (x + 1)', 'rules/gradient.upat', 29, 'any', ('anneal.rules.gradient',)),
        Rule('sin', "sin' = cos", 'sin(x) -> g * cos(x)', 'rules/gradient.upat', 30, 'any', ('anneal.rules.gradient',)),
        Rule('cos', "cos' = -sin", 'cos(x) -> -(g * sin(x))', 'rules/gradient.upat', 31, 'any', ('anneal.rules.gradient',)),
        Rule('sinh', "sinh' = cosh", 'sinh(x) -> g * cosh(x)', 'rules/gradient.upat', 32, 'any', ('anneal.rules.gradient',)),
        Rule('cosh', "cosh' = sinh", 'cosh(x) -> g * sinh(x)', 'rules/gradient.upat', 33, 'any', ('anneal.rules.gradient',)),
        Rule('tanh', "tanh' = 1 - tanh**2", 'tanh(x) -> g * (1 - out * out)', 'rules/gradient.upat', 34, 'any', ('anneal.rules.gradient',)),
        Rule('erf', "erf' = 2 / sqrt(pi) * exp(-x**2)", 'erf(x) -> g * bell(x)', 'rules/gradient.upat', 35, 'any', ('anneal.rules.gradient',)),
        Rule('sqrt', "sqrt' = 1 / (2 sqrt)", 'sqrt(x) -> g / (out * 2)', 'rules/gradient.upat', 36, 'any', ('anneal.rules.gradient',)),
        Rule('abs', "|x|' = sign(x), 0 at 0", 'abs(x) -> where(x < 0, -g, where(x > 0, g, 0))', 'rules/gradient.upat', 37, 'any', ('anneal.rules.gradient',)),
        Rule('floor', 'constant between its steps', 'floor(x) -> none', 'rules/gradient.upat', 38, 'any', ('anneal.rules.gradient',)),
        Rule('round', 'constant between its steps', 'round(x) -> none', 'rules/gradient.upat', 39, 'any', ('anneal.rules.gradient',)),
        Rule('cast', 'in the wider of the two types; 0 for integers', 'cast(x) -> uncast(x, g)', 'rules/gradient.upat', 42, 'any', ('anneal.rules.gradient',)),
        Rule('stop_gradient', 'what it is for', 'stop_gradient(x) -> none', 'rules/gradient.upat', 43, 'any', ('anneal.rules.gradient',)),
        Rule('contiguous', 'the same values', 'contiguous(x) -> g', 'rules/gradient.upat', 44, 'any', ('anneal.rules.gradient',)),
        Rule('after', 'the same values', 'after(x) -> g', 'rules/gradient.upat', 45, 'any', ('anneal.rules.gradient',)),
        Rule('reshape', 'the old shape again', 'reshape[a](x) -> g.reshape(x.shape)', 'rules/gradient.upat', 48, 'any', ('anneal.rules.gradient',)),
        Rule('permute', 'the inverse permutation', 'permute[a](x) -> g.permute(inverse(a))', 'rules/gradient.upat', 49, 'any', ('anneal.rules.gradient',)),
        Rule('expand', 'the sum over the copies', 'expand[a](x) -> unexpanded(x, g)', 'rules/gradient.upat', 50, 'any', ('anneal.rules.gradient',)),
        Rule('pad', 'without the padding', 'pad[a](x) -> unpadded(out, g)', 'rules/gradient.upat', 51, 'any', ('anneal.rules.gradient',)),
        Rule('shrink', 'zeros where nothing was taken', 'shrink[a](x) -> unshrunk(out, g)', 'rules/gradient.upat', 52, 'any', ('anneal.rules.gradient',)),
        Rule('flip', 'its own inverse', 'flip[a](x) -> g.flip(a)', 'rules/gradient.upat', 53, 'any', ('anneal.rules.gradient',)),
        Rule('shear', 'sheared the other way', 'shear[a](x) -> unsheared(a, x, g)', 'rules/gradient.upat', 54, 'any', ('anneal.rules.gradient',)),
        Rule('reduce_add', 'every summand gets it', 'reduce[a](x) -> repeated(out, g) if a[0] == "add"', 'rules/gradient.upat', 57, 'any', ('anneal.rules.gradient',)),
        Rule('reduce_max', 'the greatest get it; ties share equally', 'reduce[a](x) -> to_extremes(out, g) if a[0] == "max"', 'rules/gradient.upat', 59, 'any', ('anneal.rules.gradient',)),
        Rule('reduce_min', 'the smallest get it; ties share equally', 'reduce[a](x) -> to_extremes(out, g) if a[0] == "min"', 'rules/gradient.upat', 61, 'any', ('anneal.rules.gradient',)),
        Rule('reduce_mul', 'the product rule; right with zeros among the factors', 'reduce[a](x) -> repeated(out, g) * product_of_others(out) if a[0] == "mul"', 'rules/gradient.upat', 63, 'any', ('anneal.rules.gradient',)),
        Rule('gather', 'what was read gets it, as often as it was', 'gather[a](x, i) -> scattered(a, x, i, g), none', 'rules/gradient.upat', 65, 'any', ('anneal.rules.gradient',)),
        Rule('scatter_add', 'the adjoint of the adjoint', 'scatter[a](i, x) -> none, g.gather(i, a[1]) if a[0] == "add"', 'rules/gradient.upat', 66, 'any', ('anneal.rules.gradient',)),
        Rule('scatter_max', 'of those that name an element, the greatest get it; ties share equally', 'scatter[a](i, x) -> none, to_named_extremes(a, i, x, out, g) if a[0] == "max"', 'rules/gradient.upat', 68, 'any', ('anneal.rules.gradient',)),
        Rule('scatter_min', 'the smallest, alike', 'scatter[a](i, x) -> none, to_named_extremes(a, i, x, out, g) if a[0] == "min"', 'rules/gradient.upat', 70, 'any', ('anneal.rules.gradient',)),
        Rule('scatter_mul', 'the product rule; right with zeros among the factors', 'scatter[a](i, x) -> none, g.gather(i, a[1]) * product_of_others_named(a, i, x) if a[0] == "mul"', 'rules/gradient.upat', 72, 'any', ('anneal.rules.gradient',)),
    ),
    {ops.ADD: _add, ops.SUB: _sub, ops.NEG: _neg, ops.MUL: _mul, ops.DIV: _div, ops.POW: _pow, ops.MOD: _mod, ops.MAX: _max, ops.MIN: _min, ops.WHERE: _where, ops.EXP: _exp, ops.EXPM1: _expm1, ops.LOG: _log, ops.LOG1P: _log1p, ops.SIN: _sin, ops.COS: _cos, ops.SINH: _sinh, ops.COSH: _cosh, ops.TANH: _tanh, ops.ERF: _erf, ops.SQRT: _sqrt, ops.ABS: _abs, ops.FLOOR: _floor, ops.ROUND: _round, ops.CAST: _cast, ops.STOP_GRADIENT: _stop_gradient, ops.CONTIGUOUS: _contiguous, ops.AFTER: _after, ops.RESHAPE: _reshape, ops.PERMUTE: _permute, ops.EXPAND: _expand, ops.PAD: _pad, ops.SHRINK: _shrink, ops.FLIP: _flip, ops.SHEAR: _shear, ops.REDUCE: _reduce, ops.GATHER: _gather, ops.SCATTER: _scatter},
)
