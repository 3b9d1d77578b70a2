"""Random graphs, and their gradients, on WebGPU against the interpreter: fused, unfused, and with
few buffers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from anneal import device
from anneal.interpret import evaluate
from anneal.lowering import kernels, rangeify, schedule, split
from anneal.lowering.limits import Limits
from anneal.transforms.grad import gradient
from anneal.uop import dtypes
from anneal.uop.spec import verify
from anneal.uop.uop import Graph, const, param
from tests.random_graphs import Example, examples, with_calls

LIMITS = [Limits(), Limits(max_buffers=4), Limits(fuse=False)]
_SETTINGS = settings(deadline=None, derandomize=True, max_examples=60,
                     suppress_health_check=list(HealthCheck))  # fmt: skip


def run(example: Example, limits: Limits) -> list[np.ndarray[Any, Any]]:
    webgpu = device.get("webgpu")
    execute = webgpu.compile(example.graph, frozenset(), limits)
    # What the program does not write is not zero by chance.
    old = [webgpu.upload(np.full(u.shape, 3, np.int32)) for u in example.graph.outputs * 2]
    del old
    outputs = execute([webgpu.upload(x) for x in example.data])
    return [webgpu.read(s) for s in outputs]


def compare(example: Example, limits: Limits, close: float | None) -> None:
    graph = example.graph
    verify(graph.outputs, "tensor")
    want = evaluate(graph.outputs, dict(zip(graph.inputs, example.data, strict=True)))
    for got, expected in zip(run(example, limits), want, strict=True):
        got = got.reshape(expected.shape)
        assert got.dtype == expected.dtype
        if close is None:
            np.testing.assert_array_equal(got, expected)
        else:
            scale = max(1.0, float(np.max(np.abs(expected), initial=0.0)))
            np.testing.assert_allclose(got, expected, rtol=close, atol=close * scale)


@_SETTINGS
@given(examples("exact"), st.sampled_from(LIMITS))
def test_exact_graphs_agree_to_the_bit(example: Example, limits: Limits) -> None:
    compare(example, limits, None)


@settings(parent=_SETTINGS, max_examples=120)
@given(examples("exact", steps=3, lookups=3), st.sampled_from(LIMITS))
def test_graphs_with_computed_indices_agree(example: Example, limits: Limits) -> None:
    compare(example, limits, None)


@_SETTINGS
@given(examples("smooth"), st.sampled_from(LIMITS))
def test_smooth_graphs_agree_closely(example: Example, limits: Limits) -> None:
    compare(example, limits, 1e-4)


def differentiated(example: Example) -> Example:
    """The graph's outputs, and the gradients of their sum with respect to its inputs."""
    graph = example.graph
    floats = [u for u in dict.fromkeys(graph.outputs) if u.dtype.is_float]
    wrt = [p for p in graph.inputs if p.dtype.is_float]
    slopes = gradient(floats, wrt, [const(1, u.dtype).expand(u.shape) for u in floats])
    return Example(Graph(graph.inputs, (*graph.outputs, *slopes)), example.data)


def is_tame(example: Example) -> bool:
    """Whether rounding is not what decides: all values are finite and not large."""
    graph = example.graph
    found = evaluate(graph.outputs, dict(zip(graph.inputs, example.data, strict=True)))
    return all(bool(np.all(np.abs(v) < 1e5)) for v in found if v.dtype.kind == "f")


@_SETTINGS
@given(examples("smooth"), st.sampled_from(LIMITS))
def test_gradients_of_smooth_graphs_agree_closely(example: Example, limits: Limits) -> None:
    example = differentiated(example)
    assume(is_tame(example))
    compare(example, limits, 1e-3)


@pytest.mark.parametrize("family", ["exact", "smooth"])
@settings(parent=_SETTINGS, max_examples=200)
@given(st.data())
def test_parts_of_graphs_as_calls_change_nothing(family: str, data: st.DataObject) -> None:
    """Evaluated as they are, and on WebGPU and the CPU as kernels; gradients too."""
    plain = data.draw(examples(family))
    called = Example(data.draw(with_calls(plain.graph)), plain.data)
    exact = family == "exact"
    _equal(called, plain, None if exact else 1e-6)
    compare(called, data.draw(st.sampled_from(LIMITS)), None if exact else 1e-4)
    for _ in range(0 if exact else 2):
        called, plain = differentiated(called), differentiated(plain)
        if not is_tame(plain):
            break
        _equal(called, plain, 1e-3)
        compare(called, LIMITS[0], 1e-3)


def _equal(called: Example, plain: Example, close: float | None) -> None:
    verify(called.graph.outputs, "tensor")
    found = [evaluate(e.graph.outputs, dict(zip(e.graph.inputs, e.data, strict=True)))
             for e in (called, plain)]  # fmt: skip
    for got, want in zip(*found, strict=True):
        scale = max(1.0, float(np.max(np.abs(want), initial=0.0))) if close else 0
        np.testing.assert_allclose(got, want, rtol=close or 0, atol=(close or 0) * scale)


@pytest.fixture
def short_loops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits so low that small graphs meet what is meant for large ones."""
    for module in (split, schedule, rangeify):
        monkeypatch.setattr(module, "MOST_ITERATIONS", 7)
    for name, value in (("_LONG", 4), ("_FEWEST_PARTS", 2), ("_MOST_ZEROS", 0),
                        ("_MOST_ZEROS_EACH", 0)):  # fmt: skip
        monkeypatch.setattr(split, name, value)
    monkeypatch.setattr(kernels, "_FEW_COMPARISONS", 0)


@pytest.mark.parametrize("family", ["exact", "smooth"])
@_SETTINGS
@given(st.data(), st.sampled_from(LIMITS))
def test_split_graphs_agree(
    short_loops: None, family: str, data: st.DataObject, limits: Limits
) -> None:
    example = data.draw(examples(family))
    compare(example, limits, None if family == "exact" else 1e-4)
    if family == "smooth" and is_tame(example := differentiated(example)):
        compare(example, limits, 1e-3)


@pytest.mark.parametrize("fuse", [True, False])
@settings(parent=_SETTINGS, max_examples=15)
@given(example=examples("exact", steps=40))
def test_large_graphs_agree(example: Example, fuse: bool) -> None:
    compare(example, Limits(fuse=fuse), None)


def test_an_output_padded_from_another_covers_all_its_elements() -> None:
    """The pool's memory is not zero: what no invocation writes would show."""
    x = param(dtypes.float32, (3, 5))
    y = x * 2.0
    z = y.pad([(0, 2), (0, 1)]) + 1.0
    with_old_data = device.get("webgpu").upload(np.full((5, 6), 7, np.float32))
    del with_old_data
    compare(Example(Graph((x,), (z, y)), (np.ones((3, 5), np.float32),)), LIMITS[0], None)


def test_outputs_of_parts_of_one_input_are_whole() -> None:
    x = param(dtypes.float32, (8, 6))
    part = x.shrink([(0, 3), (0, 6)]) * 2.0
    graph = Graph((x,), (part, x * 3.0))
    data = np.arange(48, dtype=np.float32).reshape(8, 6)
    compare(Example(graph, (data,)), LIMITS[0], None)
