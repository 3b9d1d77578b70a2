"""Movement of rows, and of products, goes to their operands: the same values, a kernel less."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

import anneal
import anneal.numpy as anp
from anneal import nn
from anneal.interpret import evaluate
from anneal.lowering.limits import Limits
from anneal.lowering.plan import Plan, lower
from anneal.lowering.sink import sunk
from anneal.uop import ops
from anneal.uop.uop import toposort
from tests import programs
from tests.random_graphs import Example, examples
from tests.test_differential import _SETTINGS

_rng = np.random.default_rng(0)


def normal(*shape: int) -> Any:
    return _rng.standard_normal(shape).astype(np.float32)


def ln(x: Any) -> Any:
    centred = x - x.mean(-1, keepdims=True)
    return centred / anp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def plan(f: Any, *args: Any) -> Plan:
    return lower(anneal.jit(f).lower(*args).graph, Limits(32), frozenset())


ROWS: dict[str, Callable[[Any], Any]] = {
    "reversed": lambda x: ln(x)[::-1], "both reversed": lambda x: ln(x)[::-1, ::-1],
    "from the second on": lambda x: ln(x)[1:], "a part of each": lambda x: ln(x)[2:9, 3:40],
    "one": lambda x: ln(x)[5:6],
    "heads": lambda x: ln(x).reshape(8, 8, 4, 16).transpose(0, 2, 1, 3),
    "split columns": lambda x: nn.softmax(x).reshape(64, 2, 32), "transposed": lambda x: ln(x).T,
    "a part, reversed and split": lambda x: nn.log_softmax(x)[:32][::-1].reshape(4, 8, 64),
    "of the other axis": lambda x: nn.softmax(x, 0)[:, 5:],
    "scaled": lambda x: (ln(x) * 3)[1:] + 1,
}  # fmt: skip


@pytest.mark.parametrize("name", ROWS)
def test_rows_are_one_kernel(name: str) -> None:
    x = normal(64, 64)
    assert len(plan(ROWS[name], x).launches) == 1
    programs.agree(ROWS[name], x)


def test_rows_beyond_65536() -> None:
    x = normal(65_537, 3)
    for f in (lambda x: nn.softmax(x)[1:], lambda x: nn.softmax(x)[::-1]):
        assert len(plan(f, x).launches) == 1
        programs.agree(f, x)


def test_a_sum_of_all_is_a_scalar() -> None:
    """Which an EXPAND takes as it is."""
    f = lambda x: (x - nn.logsumexp(x, (0, 1)))[::-1, 3:].reshape(16, 4, 61)  # noqa: E731
    programs.agree(f, normal(64, 64))
    x = normal(3, 4)
    programs.agree(lambda x: x.at[:, anp.argmax(x, 0)].add(1.0), x)


def test_columns_against_the_direction_of_their_sums() -> None:
    programs.agree(lambda x: nn.softmax(x, 0)[::-1, 5:], normal(64, 64))


def test_two_that_are_joined_are_two_kernels() -> None:
    x, y = normal(64, 64), normal(64, 64)
    for f in (lambda x, y: anp.concatenate([ln(x), ln(y)]),
              lambda x, y: anp.stack([nn.softmax(x), nn.softmax(y)])):  # fmt: skip
        assert len(plan(f, x, y).launches) <= 2
        programs.agree(f, x, y)


def test_what_others_want_stays() -> None:
    """Rows that are a result, too, are computed once."""
    graph = anneal.jit(lambda x: (ln(x), ln(x)[::-1])).lower(normal(6, 7)).graph
    assert sunk(graph.outputs, lambda a, b: None) == list(graph.outputs)
    f = anneal.jit(lambda x: (ln(x), ln(x)[1:])).lower(normal(64, 64))
    one = anneal.jit(ln).lower(normal(64, 64)).cost_analysis()["flops"]
    assert f.cost_analysis()["flops"] < 1.1 * one


def heads(x: Any, w: Any) -> Any:
    """Queries, keys and values of four heads, from one product."""
    parts = (x @ w).reshape(x.shape[0], 3, 4, -1)
    return tuple([parts[:, i].transpose(1, 0, 2) for i in range(3)])


def test_parts_of_one_product_are_products() -> None:
    x, w = normal(64, 64), normal(64, 192)
    made = plan(heads, x, w)
    assert len(made.launches) == 1
    assert sum(k.kernel.flops for k in made.launches) == 2 * 64 * 64 * 192
    programs.agree(heads, x, w)
    programs.agree(anneal.grad(lambda w, x: sum((h**3).sum() for h in heads(x, w))), w, x)
    programs.agree(lambda x, w: anp.split(x @ w, 4, 1)[::-1], x, w)
    programs.agree(lambda x: (x.sum(0)[5:], x.max(1)[:3], (x**2).sum(1).reshape(8, 8)[::-1]), x)


def test_no_element_of_a_product_is_computed_twice() -> None:
    x, w = normal(64, 64), normal(64, 96)
    for f in (lambda x, w: ((x @ w)[:40], (x @ w)[20:]), lambda x, w: ((x @ w)[:40], x @ w),
              lambda x, w: ((x @ w)[:40], (x @ w)[40:] * 2)):  # fmt: skip
        made = plan(f, x, w)
        assert sum(k.kernel.flops for k in made.launches) < 1.02 * 2 * 64 * 64 * 96
        programs.agree(f, x, w)


def test_lengths_of_one_and_none() -> None:
    for shape in ((1, 5), (5, 1), (1, 1), (0, 3)):
        x = normal(*shape)
        for f in (lambda x: nn.softmax(x)[::-1], lambda x: nn.softmax(x)[:0],
                  lambda x: nn.softmax(x)[-1:], lambda x: nn.softmax(x)[:, :1],
                  lambda x: nn.softmax(x).reshape(x.shape[0], 1, 1, x.shape[1])):  # fmt: skip
            programs.agree(f, x)


@settings(parent=_SETTINGS, max_examples=200)
@given(examples("exact"))
def test_values_are_the_same_to_the_bit(example: Example) -> None:
    """Also where all that can move does, normalised or not."""
    graph = example.graph
    data = dict(zip(graph.inputs, example.data, strict=True))
    want = evaluate(graph.outputs, data)
    for got, expected in zip(evaluate(sunk(graph.outputs, lambda a, b: None), data), want,
                             strict=True):  # fmt: skip
        np.testing.assert_array_equal(got, expected)


def test_all_that_moves_by_axes_can_sink(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anneal.lowering.sink._normalises", bool)
    seen = 0

    @settings(parent=_SETTINGS, max_examples=300)
    @given(examples("exact"))
    def check(example: Example) -> None:
        nonlocal seen
        test_values_are_the_same_to_the_bit.hypothesis.inner_test(example)  # type: ignore[attr-defined]
        made = sunk(example.graph.outputs, lambda a, b: None)
        seen += made != list(example.graph.outputs)

    check()
    assert seen > 5
    assert ops.FLIP in {u.op for u in toposort(sunk(
        anneal.jit(lambda x: (x + 1)[::-1]).lower(normal(3)).graph.outputs, lambda a, b: None))}
