"""Generated from rules/lowering.upat by `python -m anneal.uop.upat`: not to be edited."""

# ruff: noqa
# mypy: ignore-errors
from __future__ import annotations

import math

from anneal.uop import dtypes, ops
from anneal.uop.rewrite import Rule, RuleSet, build
from anneal.uop.uop import UOp


def _stop_gradient(out: UOp) -> tuple[UOp, int] | None:
    s0, = out.src
    # stop_gradient: stop_gradient(x) -> x
    x = s0
    return x, 0
    return None


def _after(out: UOp) -> tuple[UOp, int] | None:
    # after_constant: after(c) -> c
    s0 = out.src[0]
    if s0.op is ops.CONST:
        c = s0
        return c, 1
    return None


RULES = RuleSet(
    (
        Rule('stop_gradient', 'only derivatives stop', 'stop_gradient(x) -> x', 'rules/lowering.upat', 3, 'any', ()),
        Rule('after_constant', 'a constant is there whenever it is asked for', 'after(c) -> c', 'rules/lowering.upat', 4, 'any', ()),
    ),
    {ops.STOP_GRADIENT: _stop_gradient, ops.AFTER: _after},
)
