"""The engine: fixpoints, order, provenance, depth, cycles."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from anneal.rules._symbolic import RULES
from anneal.uop import dtypes, ops
from anneal.uop.rewrite import Fired, RewriteError, RuleSet, rewrite
from anneal.uop.symbolic import bounds, simplified_with, simplify, simplify_dim
from anneal.uop.uop import UOp, const, param, rebuild, substitute, toposort, var
from anneal.uop.upat import load, parse

F32 = dtypes.float32


def rules(text: str) -> RuleSet:
    return load(parse(text, "here.upat"))


def test_runs_to_a_fixpoint_and_shares_work() -> None:
    x = param(F32, (4,))
    assert rewrite([(x * 1) * 1 - 0.0, x], RULES) == [x, x]


def test_replacement_is_rewritten_too() -> None:
    x = param(F32, ())
    both = rules('a sin(x) -> cos(x) "" \nb cos(x) -> exp(x) ""')
    assert rewrite([x.alu(ops.SIN)], both) == [x.alu(ops.EXP)]


def test_records_what_fired() -> None:
    x = param(F32, (4,))
    fired: list[Fired] = []
    simplify([x * 1], record=fired.append)
    assert [(f.rule.name, f.before, f.after) for f in fired] == [("mul_one", x * 1, x)]
    assert fired[0].rule.file == "rules/symbolic.upat" and fired[0].rule.line > 0


def test_keeps_the_shape() -> None:
    (zero,) = simplify([param(dtypes.int32, (4,)) * 0])
    assert zero.shape == (4,)


def test_says_what_stands_for_every_node() -> None:
    x = param(dtypes.int32, (4,))
    stands: dict[UOp, UOp] = {}
    one, product = x * 1, (x * 1) * 0
    total = product + one + 7
    simplify([total], carry=stands.__setitem__)
    assert stands[one] is x and stands[total] is x + 7
    assert stands[product] is const(0, dtypes.int32).expand((4,))


def _counting(text: str) -> tuple[RuleSet, list[UOp]]:
    """Rules, and the nodes that they were asked about."""
    asked: list[UOp] = []

    def noted(op: ops.Op) -> Callable[[UOp], tuple[UOp, int] | None]:
        def match(u: UOp) -> tuple[UOp, int] | None:
            asked.append(u)
            return made.match[op](u) if op in made.match else None

        return match

    made = rules(text)
    asks = {op: noted(op) for op in (ops.SIN, ops.COS, ops.EXP, ops.ADD)}
    return RuleSet(made.rules, asks), asked


def test_what_rules_have_left_is_not_asked_again() -> None:
    both, asked = _counting('a sin(x) -> cos(x) ""')
    x = param(F32, ())
    y = x.alu(ops.SIN).alu(ops.EXP) + x
    (first,) = rewrite([y], both)
    asked.clear()
    assert rewrite([first], both) == [first] and asked == []
    (more,) = rewrite([first.alu(ops.SIN)], both)
    assert more is first.alu(ops.COS)
    assert [u.op for u in asked] == [ops.SIN, ops.COS]
    others, asked_too = _counting('b cos(x) -> exp(x) ""')
    assert rewrite([first], others) == [x.alu(ops.EXP).alu(ops.EXP) + x] and asked_too


def test_all_nodes_are_told_of_where_nothing_changes() -> None:
    y = (param(F32, ()) + 2.5).alu(ops.EXP)
    simplify([y])
    stands: dict[UOp, UOp] = {}
    simplify([y], carry=stands.__setitem__)
    assert stands == {u: u for u in toposort([y])}


def test_a_substitution_while_rewriting_is_one_before_it() -> None:
    rng = random.Random(0)
    for _ in range(200):
        i, j, n = var("i", 0, 63), var("j", 0, 7), var("n", 1, 9)
        found = [i, j, n, i * n, const(3, dtypes.index)]
        for _ in range(12):
            a, b = rng.choice(found), rng.choice(found)
            c = rng.randint(1, 16)
            found.append(rng.choice([a + b, a * c + b, a // c, a % c, a - b]))
        (whole,) = simplify([found[-1]])
        below: dict[UOp, bool] = {}
        for u in toposort([whole]):
            below[u] = u is i or any(below[s] for s in u.src)
        value = rng.choice([const(rng.randint(0, 63), dtypes.index), j * 8 + 1])
        got = simplified_with(whole, {i: value}, below.__getitem__)
        assert got is simplify(substitute([whole], {i: value}))[0]


def test_cycle_is_named() -> None:
    ping = rules('ping sin(x) -> cos(x) ""\npong cos(x) -> sin(x) ""')
    with pytest.raises(RewriteError, match="ping.*pong|pong.*ping"):
        rewrite([param(F32, ()).alu(ops.SIN)], ping)


def test_growth_is_named() -> None:
    grow = rules('grow sin(x) -> sin(sin(x)) ""')
    with pytest.raises(RewriteError, match="grow"):
        rewrite([param(F32, ()).alu(ops.SIN)], grow)


def test_dtype_must_stay() -> None:
    wrong = rules('wrong x < y -> x ""')
    with pytest.raises(RewriteError, match="wrong"):
        rewrite([param(F32, ()) < param(F32, ())], wrong)


@pytest.mark.parametrize("factor", [1.0, 1.5])
def test_deep_chain(factor: float) -> None:
    x = u = param(F32, (4,))
    for _ in range(50_000):
        u = u * factor
    (new,) = simplify([u])
    assert new is (x if factor == 1.0 else u)


def test_deep_chain_whose_sources_change() -> None:
    x = param(F32, (4,))
    u = x * 1
    for _ in range(50_000):
        u = rebuild(u.alu(ops.SIN), (u,)).alu(ops.SIN)
    assert len(toposort(simplify([u]))) == 50_001 * 2 - 1


def test_sets_concatenate_and_lose_rules() -> None:
    x = param(F32, ())
    first, second = rules('a sin(x) -> cos(x) ""'), rules('b exp(x) -> log(x) ""')
    both = first + second
    assert [r.name for r in both.rules] == ["a", "b"]
    assert rewrite([x.alu(ops.SIN).alu(ops.EXP)], both) == [x.alu(ops.COS).alu(ops.LOG)]
    fired: list[Fired] = []
    rewrite([x.alu(ops.EXP)], both, record=fired.append)
    assert fired[0].rule.name == "b"
    less = both.without("a")
    assert rewrite([x.alu(ops.SIN)], less) == [x.alu(ops.SIN)]
    with pytest.raises(KeyError, match="nothing"):
        both.without("nothing")


def test_bounds() -> None:
    n = var("n", 1, 8)
    i = UOp(ops.RANGE, dtypes.index, (n,), (0, "loop"))
    assert bounds(i * 4 + 3) == (3, 31)
    assert bounds(i % 3) == (0, 2)
    assert bounds((i - 4).maximum(0).minimum(2)) == (0, 2)
    assert bounds(i.cast(dtypes.int32).cast(dtypes.index)) == (0, 7)
    assert bounds(param(dtypes.uint8, (3,)).cast(dtypes.int32) + 1) == (1, 256)
    assert bounds(param(dtypes.int32, ()) + 1) == (-(2**31), 2**31 - 1)
    assert bounds((i < n * 9) & (i < 3)) == (0, 1)


def test_bounds_of_a_deep_chain() -> None:
    u = var("n", 0, 1)
    for _ in range(50_000):
        u = u.maximum(const(0, dtypes.index)) + 1
    assert bounds(u) == (50_000, 50_001)


def test_simplify_dim() -> None:
    n = var("n", 1, 8)
    assert simplify_dim(7) == 7
    assert simplify_dim(n) is n
    assert simplify_dim((n * 4 + 4) // 4 - n) == 1
