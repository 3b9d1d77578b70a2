"""What a program costs and why its buffers exist, before it runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import nn
from anneal.device import DeviceError
from anneal.lowering import passes
from anneal.lowering.limits import Limits
from anneal.lowering.passes import Step
from anneal.lowering.plan import lower
from tests import programs


def test_flops_of_products() -> None:
    x, w = np.zeros((8, 32), np.float32), np.zeros((32, 16), np.float32)
    lowered = anneal.jit(lambda x, w: x @ w).lower(x, w)
    assert lowered.cost_analysis()["flops"] == 2 * 8 * 32 * 16
    assert lowered.cost_analysis()["bytes accessed"] == 4 * (8 * 32 + 32 * 16 + 8 * 16)


def test_a_guarded_bias_gradient_counts_once() -> None:
    def loss(w: anneal.Array, b: anneal.Array, x: anneal.Array) -> anneal.Array:
        return ((x @ w + b) ** 2).sum()

    args = (np.zeros((300, 200), "f"), np.zeros(200, "f"), np.zeros((100, 300), "f"))
    flops = anneal.jit(anneal.grad(loss, argnums=(0, 1))).lower(*args).cost_analysis()["flops"]
    products = 2 * 2 * 100 * 300 * 200
    assert products <= flops <= products * 1.02


def test_the_sum_is_that_of_the_kernels() -> None:
    params = programs.mlp_params(20, 30, 10)
    x, y = programs.normal(8, 20), programs.labels(10, 8)
    lowered = anneal.jit(programs.sgd_step(programs.mlp_loss)).lower(params, x, y)
    cost = lowered.cost_analysis()
    assert cost["flops"] == sum(k["flops"] for k in cost["kernels"])
    assert [k["name"] for k in cost["kernels"]] == [k.name for k in lowered.kernels]


def test_memory_of_a_donating_step() -> None:
    step = anneal.jit(lambda w, g: w - 0.1 * g, donate_argnums=0)
    kept = anneal.jit(lambda w, g: w - 0.1 * g)
    w = np.zeros(1000, np.float32)
    ours = step.lower(w, w).memory_analysis()
    theirs = kept.lower(w, w).memory_analysis()
    assert ours["alias_size_in_bytes"] == 4000
    assert ours["peak_memory_in_bytes"] == 8000
    assert theirs["peak_memory_in_bytes"] == 12000


def test_text_of_kernels_tells_lines_and_reasons() -> None:
    def f(x: anneal.Array) -> anneal.Array:
        h = anp.tanh(x) * 2
        return nn.softmax(h)

    text = anneal.jit(f).lower(np.zeros((64, 100), np.float32)).as_text("kernels")
    first = f.__code__.co_firstlineno
    assert f"test_lowered.py:{first + 1}, {first + 2}" in text
    assert "a result" in text


@pytest.mark.parametrize("where", ["cpu", "webgpu"])
def test_text_of_kernels_gives_every_opt_its_reason(where: str) -> None:
    with anneal.default_device(where):
        lowered = anneal.jit(lambda x, w: x @ w).lower(np.zeros((64, 64), "f"),
                                                       np.zeros((64, 64), "f"))  # fmt: skip
        (nest,) = lowered.kernels[0].nests
        lines = [line.strip() for line in lowered.as_text("kernels").splitlines()]
    header = next(line for line in lines if line.startswith("kernel "))
    assert header.startswith(f"kernel {nest.key[:6]}(")
    assert header.endswith(") " + " ".join(["", *[opts for opts, _ in nest.reasons]]))
    assert len(nest.reasons) >= 2
    assert lines[-len(nest.reasons) :] == [f"{opts}: {why}" for opts, why in nest.reasons]


def test_backward_lines_are_told_apart() -> None:
    value = anneal.jit(anneal.grad(lambda x: anp.sin(x).sum()))
    text = value.lower(np.zeros(8, np.float32)).as_text("kernels")
    assert "backward: " in text


def test_an_unknown_text() -> None:
    with pytest.raises(ValueError, match='"passes", "nests", "kernels" and "source"'):
        anneal.jit(lambda x: x + 1).lower(1.0).as_text("hlo")


def test_passes_are_told_with_what_they_leave() -> None:
    with anneal.default_device("cpu"):
        f = anneal.jit(lambda x: anp.exp(anneal.lax.stop_gradient(x) * 1 + 0).sum(0))
        text = f.lower(np.zeros((30, 40), np.float32)).as_text("passes")
    names = [line.split()[0] for line in text.splitlines() if not line.startswith("  ")]
    graph = [one.__name__.strip("_") for one in passes.GRAPH]
    assert names == ["pass", *graph, "place", "group", "nest", "shape", "cut", "write"]
    assert "stop_gradient 1" in text
    assert "mul_one 1" in text


def test_an_observer_sees_every_pass_before_and_after() -> None:
    graph = anneal.jit(lambda x: (anp.sin(x * 2), x.sum())).lower(np.ones(9, np.float32)).graph
    steps: list[Step] = []
    plan = lower(graph, Limits(32), frozenset(), steps.append)
    assert plan == lower(graph, Limits(32), frozenset())
    assert steps[0].before == list(graph.outputs)
    for a, b in zip(steps, steps[1:], strict=False):
        if b.name not in ("group", "nest"):  # which are given a part, or several things
            assert a.after is b.before
    assert all(s.doc and s.seconds >= 0 for s in steps)


def test_kernels_are_for_the_device_that_was_in_force(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which is opened when they are asked for, not for the graph."""
    x = np.ones(3, np.float32)
    with anneal.default_device("webgpu"):
        there = anneal.jit(lambda x: x + 1).lower(x)
    with anneal.default_device("cpu"):
        here = anneal.jit(lambda x: x + 1).lower(x)
        assert "@compute" in there.as_text("source")
    assert "define void" in here.as_text("source")

    def closed(*args: Any) -> Any:
        raise DeviceError("no device is wanted")

    monkeypatch.setattr("anneal.device.current", closed)
    lowered = anneal.jit(lambda x: x + 1).lower(x)
    assert "ADD" in lowered.as_text("graph")
    with pytest.raises(DeviceError, match="wanted"):
        lowered.as_text("kernels")
