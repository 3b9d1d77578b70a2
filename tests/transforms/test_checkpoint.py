"""checkpoint: the same values and derivatives, of less memory and more work."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import Array, tree
from anneal.uop.call import inlined

_rng = np.random.default_rng(3)
DEVICES = pytest.mark.parametrize("name", ["interpreter", "webgpu", "cpu"])


def normal(*shape: int) -> Array:
    return anp.asarray(_rng.normal(size=shape).astype(np.float32) * np.float32(0.3))


def layer(p: tuple[Array, Array], x: Array) -> Array:
    return x + anp.tanh(anp.tanh(x @ p[0]) @ p[1])


def loss(layer: Callable[..., Any]) -> Callable[..., Any]:
    def of(params: list[Any], x: Array) -> Array:
        for p in params:
            x = layer(p, x)
        return (x * x).mean()

    return of


def layers(count: int, width: int) -> list[Any]:
    return [(normal(width, 4 * width), normal(4 * width, width)) for _ in range(count)]


def close(got: Any, want: Any) -> None:
    assert tree.structure(got) == tree.structure(want)
    for g, w in zip(tree.leaves(got), tree.leaves(want), strict=True):
        np.testing.assert_allclose(np.asarray(g), np.asarray(w), rtol=2e-5, atol=2e-6)


@DEVICES
def test_values_and_gradients_are_the_same(name: str) -> None:
    params, x = layers(3, 8), normal(4, 8)
    want = anneal.value_and_grad(loss(layer))(params, x)
    with anneal.default_device(name):
        close(anneal.value_and_grad(loss(anneal.checkpoint(layer)))(params, x), want)
        close(anneal.jit(anneal.value_and_grad(loss(anneal.checkpoint(layer))))(params, x), want)
        close(anneal.value_and_grad(anneal.checkpoint(loss(anneal.checkpoint(layer))))(params, x),
              want)  # fmt: skip


@DEVICES
def test_less_memory_for_more_work(name: str) -> None:
    params, x = layers(8, 64), normal(32, 64)
    with anneal.default_device(name):
        plain = anneal.jit(anneal.value_and_grad(loss(layer))).lower(params, x)
        again = anneal.jit(anneal.value_and_grad(loss(anneal.checkpoint(layer)))).lower(params, x)
        kept, less = (v.memory_analysis()["temp_size_in_bytes"] for v in (plain, again))
        assert less < 0.4 * kept
        assert 1.2 < again.cost_analysis()["flops"] / plain.cost_analysis()["flops"] < 1.5
        assert "recomputed: " in again.as_text("kernels")
        assert "recomputed: " not in plain.as_text("kernels")


def test_without_a_derivative_nothing_is_computed_again() -> None:
    params, x = layers(2, 8), normal(4, 8)
    with anneal.default_device("webgpu"):
        plain = anneal.jit(loss(layer)).lower(params, x)
        again = anneal.jit(loss(anneal.checkpoint(layer))).lower(params, x)
    assert [k.source for k in again.kernels] == [k.source for k in plain.kernels]


def test_several_results_are_computed_again_together() -> None:
    def pair(x: Array, k: Array) -> dict[str, Array]:
        h = anp.tanh(x) * k
        return {"a": h * h, "b": anp.exp(h), "places": anp.argmax(h), "x": x}

    def of(f: Callable[..., Any]) -> Callable[..., Any]:
        def sums(x: Array, k: Array) -> Array:
            out = f(x, k)
            return (out["a"] * out["b"] + out["x"]).sum() + out["places"] * 0.0

        return sums

    x, k = normal(5), anp.asarray([1, 2, 3, 4, 5])
    close(anneal.grad(of(anneal.checkpoint(pair)))(x, k), anneal.grad(of(pair))(x, k))
    text = repr(anneal.jit(anneal.grad(of(anneal.checkpoint(pair)))).lower(x, k).graph)
    assert text.count(" TANH") == 2  # forward, and once more for both results


def test_what_the_function_reads_from_outside_has_gradients() -> None:
    def of(mark: Callable[..., Any]) -> Callable[..., Any]:
        def f(w: Array, x: Array) -> Array:
            scaled = anp.exp(w)

            @mark
            def inner(x: Array) -> Array:
                return anp.tanh(x * scaled) * w + anp.arange(3)

            return inner(inner(x)).sum() + mark(lambda y: w)(x).sum()

        return f

    w, x = normal(3), normal(3)
    got = anneal.grad(of(anneal.checkpoint), argnums=(0, 1))(w, x)
    close(got, anneal.grad(of(lambda f: f), argnums=(0, 1))(w, x))


def test_derivatives_of_derivatives() -> None:
    def f(x: Array) -> Array:
        return anp.sin(x) * x

    again = anneal.checkpoint(f)
    for value in (0.5, 2.0):
        g, want = anneal.grad(anneal.grad(again)), anneal.grad(anneal.grad(f))
        np.testing.assert_allclose(float(g(value)), float(want(value)), rtol=1e-5)
        third = anneal.grad(anneal.checkpoint(anneal.grad(anneal.grad(again))))
        np.testing.assert_allclose(float(third(value)), float(anneal.grad(want)(value)), rtol=1e-5)


def test_arguments() -> None:
    def f(x: Array, kind: str, scale: float = 1.0, *, flip: Any = None) -> Array:
        out = anp.sin(x) if kind == "sin" else anp.cos(x)
        return out * scale if flip is None else -out * flip["by"]

    again = anneal.checkpoint(f, static_argnums=1)
    assert again.__name__ == "f"
    for args, kwargs in [((2.0, "sin"), {}), ((2.0, "cos", 3.0), {}), ((2.0,), {"kind": "sin"}),
                         ((2.0, "sin"), {"flip": {"by": 2.0}})]:  # fmt: skip
        got = anneal.grad(again)(*args, **kwargs)
        np.testing.assert_allclose(float(got), float(anneal.grad(f)(*args, **kwargs)), rtol=1e-6)

    @anneal.checkpoint
    def branch(x: Array) -> Array:
        return x * 3.0 if x > 0 else x * 5.0

    assert [float(anneal.grad(branch)(v)) for v in (1.0, -1.0)] == [3, 5]


def test_refusals() -> None:
    with pytest.raises(TypeError, match="expects a function, got int"):
        anneal.checkpoint(3)
    with pytest.raises(TypeError, match=r"argument p\['w'\] of .* is a str.*static"):
        anneal.checkpoint(lambda p: p)({"w": "text"})
    with pytest.raises(TypeError, match=r"returned str at output\[0\]"):
        anneal.checkpoint(lambda x: ["text"])(1.0)
    with pytest.raises(ValueError, match="static_argnums"):
        anneal.checkpoint(lambda x: x, static_argnums=4)
    kept: list[Array] = []
    anneal.checkpoint(lambda x: kept.append(x) or x)(1.0)  # type: ignore[func-returns-value]
    with pytest.raises(anneal.errors.UnexpectedTracerError, match="argument x of"):
        anneal.jit(lambda y: y + kept[0])(1.0)


def test_a_hundred_layers_in_two_levels() -> None:
    """A checkpoint of checkpoints: the square root of the memory of each level."""
    w, x = normal(16, 16), normal(4, 16)

    def one(x: Array, w: Array) -> Array:
        return anp.tanh(x @ w)

    def ten(x: Array, w: Array, one: Callable[..., Any] = one) -> Array:
        for _ in range(10):
            x = one(x, w)
        return x

    def hundred(ten: Callable[..., Any]) -> Callable[..., Any]:
        def f(x: Array, w: Array) -> Array:
            for _ in range(10):
                x = ten(x, w)
            return x.sum()

        return f

    outer = hundred(anneal.checkpoint(ten))
    with anneal.default_device("webgpu"):
        sizes = [anneal.jit(anneal.grad(f, 1)).lower(x, w).memory_analysis()["temp_size_in_bytes"]
                 for f in (hundred(ten), outer)]  # fmt: skip
        close(anneal.jit(anneal.grad(outer, 1))(x, w), anneal.grad(hundred(ten), 1)(x, w))
    assert sizes[1] < 0.35 * sizes[0]


# -- growth ----------------------------------------------------------------------------------------


def captured(layer: Callable[..., Any]) -> Callable[..., Any]:
    """The loss whose activations are captured, not given."""

    def of(params: list[Any], x: Array) -> Array:
        for p in params:
            x = anneal.checkpoint(_closed(layer, x))(p)
        return (x * x).mean()

    return of


def _closed(layer: Callable[..., Any], x: Array) -> Callable[..., Any]:
    return lambda p: layer(p, x)


def twice(layer: Callable[..., Any]) -> Callable[..., Any]:
    """A layer that is checkpointed and, inside, captures what an inner checkpoint returned."""

    def of(p: Any, x: Array) -> Array:
        y = anneal.checkpoint(layer)(p, x)
        return anneal.checkpoint(lambda p: layer(p, y))(p) + y

    return anneal.checkpoint(of)


def test_captured_activations_have_the_same_gradients() -> None:
    params, x = layers(2, 8), normal(4, 8)

    def plain_twice(p: Any, x: Array) -> Array:
        y = layer(p, x)
        return layer(p, y) + y

    with anneal.default_device("interpreter"):
        for f, plain in ((captured(layer), loss(layer)), (loss(twice(layer)), loss(plain_twice)),
                         (captured(twice(layer)), loss(plain_twice))):  # fmt: skip
            want = anneal.value_and_grad(plain)(params, x)
            close(anneal.value_and_grad(f)(params, x), want)
            close(anneal.jit(anneal.value_and_grad(f))(params, x), want)
            close(anneal.jit(second(f))(params, x), second(plain)(params, x))


def second(f: Callable[..., Any]) -> Callable[..., Any]:
    return anneal.grad(lambda params, x: anneal.grad(f, 1)(params, x).sum(), (0, 1))


GROWING = [loss(anneal.checkpoint(layer)), captured(layer), loss(twice(layer)),
           captured(twice(layer)), loss(layer), loss(anneal.jit(layer)),
           loss(lambda p, x: anneal.jit(lambda p: layer(p, x))(p))]  # fmt: skip


@pytest.mark.parametrize("f", GROWING)
def test_tracing_grows_with_the_number_of_layers(
    f: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes walked over, which takes the time, double with the layers: walking over all layers
    so far at each would make four times as many."""
    from anneal.uop import uop

    walked = 0
    toposort = uop.toposort

    def counted(*args: Any, **kwargs: Any) -> list[uop.UOp]:
        nonlocal walked
        found = toposort(*args, **kwargs)
        walked += len(found)
        return found

    for name, module in list(sys.modules.items()):
        if name.startswith("anneal") and getattr(module, "toposort", None) is toposort:
            monkeypatch.setattr(module, "toposort", counted)
    counts = []
    for count in (16, 32, 64):
        walked = 0
        graph = anneal.jit(anneal.grad(f)).lower(layers(count, 2), normal(2, 2)).graph
        graph.key()
        inlined(graph.outputs)
        counts.append(walked)
    assert counts[1] < 2.1 * counts[0] and counts[2] < 2.1 * counts[1]
