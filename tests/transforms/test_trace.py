"""Tracing: what Python may do with a traced value, under `jit` and outside, and how it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import anneal
from anneal import errors
from anneal.array import Array, asarray, make
from anneal.transforms import trace
from anneal.tree import structure
from anneal.uop import dtypes, ops


def branch(x: Array) -> Any:
    return 1 if x else 2


@pytest.mark.parametrize(
    ("use", "error", "fragments"),
    [
        (branch, errors.TracerBoolConversionError, ["bool[]", "Python bool", "where"]),
        (lambda x: [5, 6][x.astype("int32")], errors.TracerIntegerConversionError, ["Python int"]),
        (lambda x: float(x), errors.ConcretizationTypeError, ["Python float", "static_argnums"]),
        (lambda x: np.asarray(x), errors.TracerArrayConversionError, ["anneal.numpy"]),
        (lambda x: x.item(), errors.ConcretizationTypeError, ["scalar"]),
        (lambda x: x.tolist(), errors.TracerArrayConversionError, ["p['w'] of f"]),
    ],
)
def test_values_are_not_there_under_jit(
    use: Callable[[Array], Any], error: type[Exception], fragments: list[str]
) -> None:
    def f(p: dict[str, Array]) -> Any:
        return use(make(p["w"].uop < 1.0))

    f.__qualname__ = "f"
    j = anneal.jit(f)
    with pytest.raises(error) as e:
        j({"w": asarray(2.0)})
    for fragment in [*fragments, "argument p['w'] of f", "test_trace.py:"]:
        assert fragment in str(e.value)
    assert isinstance(e.value, TypeError)
    assert float(anneal.jit(lambda x: x)(1.0)) == 1


def test_traced_values_print() -> None:
    shown: list[str] = []

    def f(x: Array) -> Array:
        shown.append(f"{x} {x.shape}")
        return x

    anneal.jit(f)(asarray([1.0, 2.0]))
    assert shown == ["Array(traced, float32[2]) (2,)"]
    anneal.grad(lambda x: f(make(x.uop * 2.0)))(1.5)
    assert shown[1].startswith("Array(3")


def test_trace_gives_a_graph() -> None:
    specs = [trace.Spec(dtypes.float32, (2,), False), trace.Spec(dtypes.int32, (), True)]
    in_tree = structure(((0,), {"n": 0}))
    traced = trace.trace(lambda x, n: {"x": x, "n": n}, specs, in_tree, ["x", "n"])
    assert [p.op for p in traced.graph.inputs] == [ops.PARAM, ops.PARAM]
    assert traced.graph.outputs == traced.graph.inputs[::-1]
    assert traced.out_tree == structure({"x": 0, "n": 0})
    assert traced.out_weak == (True, False)


def test_names_of_arguments() -> None:
    def f(params: Any, /, x: Any, *rest: Any, key: Any = None) -> None: ...

    found = trace.paths_of(f, ({"w": (1, 2)}, 3, 4, 5), {"key": [6]})
    assert found == ["params['w'][0]", "params['w'][1]", "x", "args[2]", "args[3]", "key[0]"]
    assert trace.argument_names(int, 1) == ["args[0]"] or trace.argument_names(int, 1)


def test_a_chain_of_50000_under_jit() -> None:
    def long(x: Array) -> Array:
        u = x.uop
        for _ in range(50_000):
            u = u * 1.00001
        return make(u)

    lowered = anneal.jit(anneal.grad(long)).lower(1.0)
    assert lowered.graph.outputs[0].dtype is dtypes.float32
