"""Kernel counts, and that fusion changes no result: fused, unfused, few buffers, interpreted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import device, nn
from tests import programs
from tests.programs import Program

SMALL, LARGE = programs.small(), programs.large()


@pytest.mark.parametrize("p", LARGE, ids=lambda p: p.name)
def test_at_most_so_many_kernels(p: Program) -> None:
    with anneal.default_device("webgpu"):
        assert len(anneal.jit(p.function).lower(*p.args).kernels) <= p.ceiling


@pytest.mark.parametrize("p", SMALL, ids=lambda p: p.name)
def test_fused_agrees_with_the_interpreter(p: Program) -> None:
    programs.agree(p.function, *p.args)


@pytest.mark.parametrize("p", SMALL[-8:], ids=lambda p: p.name)
def test_eight_buffers_are_enough(p: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNEAL_MAX_BUFFERS", "8")
    with anneal.default_device("webgpu"):
        kernels = anneal.jit(p.function).lower(*p.args).kernels
    assert max(len(k.params) for k in kernels) <= 8
    programs.agree(p.function, *p.args)


@pytest.mark.parametrize("p", SMALL, ids=lambda p: p.name)
def test_unfused_agrees_with_the_interpreter(p: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    want = programs.run(p.function, p.args, "interpreter")
    monkeypatch.setenv("ANNEAL_FUSE", "0")
    programs.close(programs.run(p.function, p.args, "webgpu"), want)


def test_identical_layers_are_compiled_once() -> None:
    def step(layers: int) -> set[str]:
        params = programs.gpt_params(layers, 32, 16, 50)
        tokens = programs.labels(50, 2, 16)
        args = (params, programs.adam_state(params), tokens, tokens)
        with anneal.default_device("webgpu"):
            lowered = anneal.jit(programs.adam_step(programs.gpt_loss)).lower(*args)
            return {k.source for k in lowered.kernels}

    assert len(step(6)) <= len(step(3))


@pytest.mark.parametrize("buffers", ["4", "8", "32"])
def test_limits_store_small_things(buffers: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A weight that twenty layers share, and a long expression that a sum repeats: what a limit
    stores is a partial sum or what is repeated, never a product in full."""
    monkeypatch.setenv("ANNEAL_MAX_BUFFERS", buffers)

    def recurrent(w: Any, x: Any) -> Any:
        for _ in range(20):
            x = anp.tanh(x @ w)
        return (x * x).sum()

    def outer(rows: list[Any]) -> Any:
        s = rows[0]
        for a in rows[1:]:
            s = s * anp.sin(a) + a
        return (s[:, None, :] * s[None, :, :]).sum(-1)

    w, x = programs.normal(16, 16, scale=0.25), programs.normal(32, 16)
    rows = [programs.normal(8, 16) for _ in range(40)]
    for f, args in ((anneal.grad(recurrent), (w, x)), (outer, (rows,))):
        with anneal.default_device("webgpu"):
            lowered = anneal.jit(f).lower(*args)
        assert max(len(k.params) for k in lowered.kernels) <= int(buffers)
        assert max(s.size for s in lowered.plan.slots if s.kind == "temp") <= x.size
        programs.agree(f, *args)


def test_fewer_than_four_buffers_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNEAL_MAX_BUFFERS", "3")
    with pytest.raises(ValueError, match="ANNEAL_MAX_BUFFERS.*at least 4, got '3'"):
        device.limits()


def test_a_value_used_twice_in_a_kernel_is_computed_once() -> None:
    def f(x: Any) -> Any:
        for _ in range(60):
            x = (x * 1.01 + 0.5) * x - x
        return x

    with anneal.default_device("webgpu"):
        assert len(anneal.jit(f).lower(programs.normal(1000)).kernels) == 1


def test_long_chains_are_cut_where_drivers_would_take_long() -> None:
    def f(x: Any) -> Any:
        for _ in range(2500):
            x = anp.sin(x) + 0.5
        return x

    with anneal.default_device("webgpu"):
        kernels = anneal.jit(f).lower(programs.normal(1000)).kernels
    assert 5000 / 512 <= len(kernels) <= 5000 / 256
    assert max(k.source.count("sin(") for k in kernels) <= 256


def hidden_of(activation: Callable[[Any], Any]) -> int:
    """How many arrays of a hidden layer's size a step with it stores, after its results are seen to
    be right."""

    def loss(params: Any, x: Any) -> Any:
        (w, b), (v, c) = params
        return ((activation(x @ w + b) @ v + c) ** 2).mean()

    params, x = programs.mlp_params(64, 256, 40), programs.normal(128, 64)
    step = anneal.value_and_grad(loss)
    programs.agree(step, params, x)
    kernels = anneal.jit(step).lower(params, x).kernels
    return sum(p.size == 128 * 256 for k in kernels for p in k.outputs)


RECTIFIERS: dict[str, Callable[[Any], Any]] = {
    "relu": nn.relu,
    "maximum": lambda x: anp.maximum(x, 0),
    "where >": lambda x: anp.where(x > 0, x, 0),
    "where >=": lambda x: anp.where(x >= 0, x, 0),
    "clip": lambda x: anp.clip(x, 0),
    "leaky_relu": nn.leaky_relu,
    "relu6": nn.relu6,
}


@pytest.mark.parametrize("device", ["webgpu", "cpu"])
@pytest.mark.parametrize("name", RECTIFIERS)
def test_an_activation_is_kept_once(name: str, device: str) -> None:
    """One array for the activation and its slope, and the cotangent before it."""
    with anneal.default_device(device):
        assert hidden_of(RECTIFIERS[name]) == 2


@pytest.mark.parametrize("activation", [nn.gelu, nn.silu])
def test_an_activation_and_its_derivative_come_from_one_buffer(activation: Any) -> None:
    """Their derivatives have many parts; what is kept for them is what the activation was computed
    from. A product computes it again where a panel of it serves many results."""
    with anneal.default_device("webgpu"):
        assert hidden_of(activation) == 3  # the activation, too
    with anneal.default_device("cpu"):
        assert hidden_of(activation) == 2


@pytest.mark.parametrize("name", RECTIFIERS)
def test_an_activation_and_its_mask_keep_special_values(name: str) -> None:
    activation = RECTIFIERS[name]
    special = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-30, -1e-30, 2, -3, 6, 7], np.float32)
    programs.agree(lambda x: (activation(x), anp.where(x > 0, 1.0, 2.0), x <= 0), special)
    programs.agree(anneal.grad(lambda x: (activation(x) * 3).sum()), special)


@pytest.mark.parametrize("zero", [0.0, -0.0])
def test_a_mask_beside_another_zero_is_a_mask(zero: float) -> None:
    def f(x: Any) -> Any:
        return anp.where(x <= 0, 1.0, 2.0), anp.where(x <= 0, zero, x), anp.where(x > 0, x, zero)

    programs.agree(f, np.array([-1, 0, 2], np.float32))
