"""The rule language: what a file says, what its compiled form matches and builds."""

from __future__ import annotations

import math

import pytest

from anneal.uop import dtypes, ops
from anneal.uop.rewrite import rewrite
from anneal.uop.uop import UOp, const, param
from anneal.uop.upat import RuleSyntaxError, compile_rules, load, parse

F32, I32 = dtypes.float32, dtypes.int32


def apply(text: str, u: UOp) -> UOp:
    return rewrite([u], load(parse(text, "here.upat")))[0]


def test_parse() -> None:
    text = """
# comment
use anneal.rules.symbolic
dtype float
name  x + y
      -> y   if x is y   "doc"
"""
    (rule,) = parse(text, "here.upat")
    assert rule == ("name", "doc", "x + y -> y if x is y", "here.upat", 5, "float",
                    ("anneal.rules.symbolic",))  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"),
    [("name x + 0", "here.upat:1: expected"), ('a x -> x "d"', "start with an op"),
     ('a x + 0 -> x ""\na x * 1 -> x ""', "here.upat:2: a second rule called a"),
     ('a foo(x) -> x ""', "no op is called foo"), ('a sin(x, y) -> x ""', "sin has 1 sources"),
     ('dtype complex', "dtype must be one of"), ('a x + -> x ""', "here.upat:1: ")],
)  # fmt: skip
def test_mistakes_name_the_line(text: str, message: str) -> None:
    with pytest.raises(RuleSyntaxError, match=message):
        compile_rules(parse(text, "here.upat"), "here")


def test_variables_constants_and_order() -> None:
    x, y = param(F32, (3,)), param(F32, (3,))
    assert apply('a x + x -> x * 2 ""', x + x) is x * 2
    assert apply('a x + x -> x * 2 ""', x + y) is x + y
    assert apply('a x + c -> x ""', const(2.0, F32) + x) is x
    assert apply('a x + 2 -> x ""', x + 2) is x
    assert apply('a sin(x) + y -> y ""', y + x.alu(ops.SIN)) is y


def test_zero_is_not_minus_zero() -> None:
    x = param(F32, ())
    assert apply('a x + 0 -> x ""', x + -0.0) is x + -0.0
    assert apply('a x + -0.0 -> x ""', x + -0.0) is x
    assert apply('a x * nan -> nan ""', x * math.nan) is const(math.nan, F32)


def test_numbers_take_a_dtype() -> None:
    p, x, y = param(dtypes.bool_, ()), param(I32, ()), param(F32, ())
    assert apply('a x < y -> true ""', x < x) is const(True, dtypes.bool_)
    choice = p.where(y.alu(ops.SIN), y)
    made = apply('a where(p, sin(x), y) -> where(p, 1, 0) ""', choice)
    assert made is p.where(const(1, F32), const(0, F32))


def test_arg_is_bound() -> None:
    x = param(F32, (2, 3))
    assert apply('a reduce[a](sin(x)) -> reduce[a](x) ""', x.alu(ops.SIN).sum((1,))) is x.sum((1,))


def test_scope() -> None:
    x, n = param(F32, ()), param(I32, ())
    text = 'dtype int\na x * 0 -> 0 ""'
    assert apply(text, x * 0) is x * 0
    assert apply(text, n * 0) is const(0, I32)


def test_gradient_rules_give_a_cotangent_per_source() -> None:
    text = (
        'mul x * y -> g * y, g * x ""\n'
        'where where(p, x, y) -> none, where(p, g, 0), where(p, 0, g) ""'
    )
    space: dict[str, object] = {}
    exec(compile_rules(parse(text, "here"), "here"), space)
    match = space["RULES"].match  # type: ignore[attr-defined]
    x, y, g, p = (param(d, ()) for d in (F32, F32, F32, dtypes.bool_))
    assert match[ops.MUL](x * y, g) == ((g * y, g * x), 0)
    assert match[ops.WHERE](p.where(x, y), g)[0] == (None, p.where(g, 0.0), p.where(0.0, g))
