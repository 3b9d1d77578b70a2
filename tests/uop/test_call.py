"""Bodies, and CALLs of them: interned, verified, inlined, evaluated, printed, freed."""

from __future__ import annotations

import gc
import threading
from typing import Any

import numpy as np
import pytest

from anneal.interpret import evaluate
from anneal.uop import dtypes, ops, uop
from anneal.uop.call import (
    all_nodes,
    bodies,
    body_of,
    call,
    inlined,
    live_bodies,
    pruned,
    results_read,
)
from anneal.uop.show import show
from anneal.uop.spec import SpecError, verify
from anneal.uop.symbolic import simplify
from anneal.uop.uop import (
    Graph,
    UOp,
    const,
    live_nodes,
    param,
    slot,
    structural_key,
    substitute,
    toposort,
    var,
)

f32 = dtypes.float32
X, Y = slot(0, f32, (3,)), slot(1, f32, (3,))
DATA = np.array([1.0, 2.0, 3.0], np.float32)


def both() -> Any:
    """A body of two results: x * y, and x + 1."""
    return body_of((X, Y), (X * Y, X + 1.0))


def test_equal_graphs_are_one_body_and_equal_calls_one_node() -> None:
    x, y = param(f32, (3,)), param(f32, (3,))
    assert both() is both()
    assert call(both(), (x, y))[0] is call(both(), (x, y))[0]
    assert call(both(), (x, y))[0] is not call(both(), (x, y), recompute=True)[0]
    assert slot(0, f32, (3,)) is X and X.traced == 0
    assert call(both(), (x, y))[1].traced == y.arg[0]


def test_a_body_is_freed_with_its_last_call() -> None:
    def sizes() -> tuple[int, int]:
        gc.collect()
        return live_bodies(), live_nodes()

    before = sizes()
    x = param(f32, (3,))
    inner = body_of((X,), (X * 7.5,))
    outer = body_of((X,), (call(inner, (X + 3.25,))[0],))
    result = call(outer, (x,))
    del inner, outer
    assert sizes()[0] == before[0] + 2
    del result, x
    assert sizes() == before


def test_threads_find_one_body() -> None:
    found: list[Any] = []
    start = threading.Barrier(4)

    def make() -> None:
        start.wait()
        found.append([body_of((X,), (X * float(n + 1000),)) for n in range(300)])

    threads = [threading.Thread(target=make) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(a is b for one in found for a, b in zip(one, found[0], strict=True))


def test_walks_do_not_enter_bodies_unless_asked() -> None:
    x = param(f32, (3,))
    inner = body_of((X,), (X * 2.0,))
    outer = body_of((X,), (call(inner, (X,))[0] + 1.0,))
    (result,) = call(outer, (x,))
    assert [u.op for u in toposort([result])] == [ops.PARAM, ops.CALL, ops.GET]
    assert bodies(toposort([result])) == [inner, outer]
    counted = all_nodes(Graph((x,), (result,)))
    assert len(counted) == len(set(counted)) and {*inner.nodes, *outer.nodes} <= {*counted}


def test_inlining_and_evaluating_agree() -> None:
    x, y = param(f32, (3,)), param(f32, (3,))
    product, more = call(both(), (x, y))
    again, _ = call(both(), (product, more))
    assert inlined([again, more]) == [(x * y) * (x + 1.0), x + 1.0]
    got = evaluate([again, more], {x: DATA, y: DATA * 2})
    np.testing.assert_array_equal(got[0], (DATA * DATA * 2) * (DATA + 1))
    np.testing.assert_array_equal(got[1], DATA + 1)


def test_a_result_that_is_not_read_is_neither_computed_nor_inlined() -> None:
    x = param(f32, (3,))
    bad = UOp(ops.CONTIGUOUS, f32, (X,), "no such thing")
    body = body_of((X,), (X * 2.0, bad))
    twice, _ = call(body, (x,))
    seen: list[UOp] = []
    inlined([twice], lambda old, new: seen.append(old))
    assert bad not in seen
    assert [u.arg for u in results_read(toposort([twice]))[twice.src[0]]] == [0]


def test_results_that_are_not_read_are_pruned_and_what_they_need() -> None:
    x, y = param(f32, (3,)), param(f32, (3,))
    product, more = call(both(), (x, y))
    seen: dict[UOp, UOp] = {}
    (less,) = pruned([more * 2.0], seen.setdefault)
    (made,) = [u for u in toposort([less]) if u.op is ops.CALL]
    assert made.src == (x,) and made.arg[0].outputs == (X + 1.0,)
    assert seen[more] is less.src[0] and seen[more.src[0]] is made
    assert inlined([less]) == inlined([more * 2.0])
    verify([less], "tensor")
    (second,) = call(body_of((X, Y), (call(both(), (Y, X))[0],)), (product, y))
    assert pruned([second], seen.setdefault)[0].src[0].src[0].src[0].arg[0].inputs == (X, Y)
    assert pruned([product, more], seen.setdefault) == [product, more]


def test_substitution_and_simplification_reach_operands() -> None:
    x, y = param(f32, (3,)), param(f32, (3,))
    (got, _) = call(both(), (x * 1.0, y))
    assert simplify([got])[0] is call(both(), (x, y))[0]
    assert substitute([got], {y: x})[0] is call(both(), (x * 1.0, x))[0]
    half = const(0.5, f32)
    scalar = body_of((slot(0, f32, ()),), (slot(0, f32, ()).expand((3,)) + X.const_like(1),))
    (got,) = call(scalar, (half,))
    np.testing.assert_array_equal(evaluate(inlined([got]), {})[0], [1.5] * 3)


def test_thousands_of_calls_in_calls_are_no_deeper_than_one() -> None:
    body = body_of((X,), (X + 1.0,))
    for _ in range(5000):
        body = body_of((X,), (call(body, (X,))[0] + 1.0,))
    x = param(f32, (3,))
    (got,) = call(body, (x,))
    np.testing.assert_array_equal(evaluate([got], {x: DATA})[0], DATA + 5001)
    assert len(toposort(inlined([got]))) == 5003
    verify([got], "tensor")
    assert len(bodies(toposort([got]))) == 5001
    assert "... 4981 more ..." in show(got) and show(got).count("return") == 21


def test_a_key_counts_a_body_once(monkeypatch: pytest.MonkeyPatch) -> None:
    long = X
    for n in range(2000):
        long = long * 2.0 + float(n)
    body = body_of((X,), (long,))
    x, y = param(f32, (3,)), param(f32, (3,))
    u = x
    for _ in range(128):
        (u,) = call(body, (u,))
    (v,) = substitute([u], {x: y})
    walked: list[int] = []

    def counted(*args: Any, **kwargs: Any) -> list[UOp]:
        walked.append(len(found := toposort(*args, **kwargs)))
        return found

    monkeypatch.setattr(uop, "toposort", counted)
    assert structural_key([u], [x]) == structural_key([v], [y])
    assert walked == [257, 257]


def test_a_key_is_of_the_bodies_and_of_what_derivatives_do() -> None:
    x = param(f32, (3,))
    first, second = body_of((X,), (X * 2.0,)), body_of((X,), (X * 3.0,))
    made = [call(first, (x,)), call(second, (x,)), call(first, (x,), recompute=True)]
    assert len({structural_key(results, [x]) for results in made}) == 3


def test_shapes_within_follow_the_operands() -> None:
    n, m = var("N", 1, 64), var("M", 1, 64)
    rows = slot(0, f32, (n, 4))
    body = body_of((rows, n), ((rows * 2.0).sum((1,)),))
    x = param(f32, (m, 4))
    (got,) = call(body, (x, m))
    assert got.shape == (m,)
    verify([got], "tensor")
    (bound,) = substitute([got], {m: const(5, dtypes.index), x: param(f32, (5, 4))})
    assert bound.shape == (5,)
    verify([bound], "tensor")
    assert inlined([bound])[0].shape == (5,)
    value = np.ones((5, 4), np.float32)
    done = evaluate([got], {x: value, m: np.asarray(5)})
    np.testing.assert_array_equal(done[0], [8.0] * 5)


@pytest.mark.parametrize(("make", "said"), [
    (lambda x: call(both(), (x,))[0], "2 operands"),
    (lambda x: call(both(), (x, x.cast(dtypes.int32)))[0], "operand 1 of dtype float32"),
    (lambda x: call(both(), (x, x.reshape((3, 1))))[0], r"operand 1 .* shape \(3,\)"),
    (lambda x: call(body_of((X,), (X * param(f32, (3,)),)), (x,))[0], "without a PARAM"),
    (lambda x: call(body_of((X,), (X * var("B", 1, 3).cast(f32).expand((3,)),)), (x,))[0],
     "without a VAR"),
    (lambda x: call(body_of((X,), (X.alu(ops.NOT),)), (x,))[0], "NOT of float32"),
    (lambda x: UOp(ops.GET, dtypes.int32, call(both(), (x, x))[0].src, 0), "dtype of that result"),
    (lambda x: UOp(ops.CONTIGUOUS, dtypes.void, call(both(), (x, x))[0].src), "only a GET reads"),
    (lambda x: call(both(), (x, x))[0].src[0], "a CALL is no value"),
])  # fmt: skip
def test_what_is_wrong_is_named(make: Any, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        verify([make(param(f32, (3,)))], "tensor")


def test_a_body_prints_once_by_name() -> None:
    x = param(f32, (3,))
    graph = Graph((x,), (call(both(), (call(both(), (x, x))[0], x), recompute=True)[1],))
    name = both().name
    assert repr(graph).splitlines() == [
        f"{name}(%in0: float32[3], %in1: float32[3])",
        "  %0 = MUL(%in0, %in1): float32[3]",
        "  %1 = ADD(%in0, 1.0): float32[3]",
        "  return %0, %1",
        "graph(%in0: float32[3])",
        f"  %0 = CALL[{name}](%in0, %in0)",
        "  %1 = GET[0](%0): float32[3]",
        f"  %2 = CALL[{name}, recompute](%1, %in0)",
        "  %3 = GET[1](%2): float32[3]",
        "  return %3",
    ]
