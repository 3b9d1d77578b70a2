"""Kernels on WebGPU against the interpreter: values, gradients, donation, submissions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import nn, optim, random, tree


@pytest.fixture(autouse=True)
def webgpu() -> Iterator[None]:
    with anneal.default_device("webgpu"):
        yield


def _mlp() -> Any:
    keys = [random.fold_in(random.key(0), i) for i in range(3)]
    sizes = [(16, 24), (24, 12), (12, 5)]
    return [nn.dense_init(k, a, b) for k, (a, b) in zip(keys, sizes, strict=True)]


def _forward(params: Any, x: Any) -> Any:
    for p in params[:-1]:
        x = nn.relu(nn.dense(p, x))
    return nn.dense(params[-1], x)


def _loss(params: Any, x: Any, y: Any) -> Any:
    return nn.cross_entropy(_forward(params, x), y)


def _data() -> tuple[Any, Any]:
    x = np.random.default_rng(0).standard_normal((8, 16)).astype(np.float32)
    return x, np.arange(8, dtype=np.int32) % 5


def _train(device: str, donate: tuple[int, ...], steps: int) -> list[Any]:
    with anneal.default_device(device):
        optimizer = optim.adam(1e-2)

        def step(params: Any, state: Any, x: Any, y: Any) -> Any:
            loss, grads = anneal.value_and_grad(_loss)(params, x, y)
            updates, state = optimizer.update(grads, state, params)
            return optim.apply_updates(params, updates), state, loss

        jitted = anneal.jit(step, donate_argnums=donate)
        params = tree.map(lambda a: anp.asarray(np.array(a)), _mlp())
        state = optimizer.init(params)
        for _ in range(steps):
            params, state, loss = jitted(params, state, *_data())
        return [np.asarray(v) for v in tree.leaves((params, state, loss))]


@pytest.mark.parametrize("donate", [(), (0,), (0, 1)])
def test_training_agrees_with_the_interpreter(donate: tuple[int, ...]) -> None:
    for ours, theirs in zip(_train("webgpu", donate, 5), _train("interpreter", (), 5),
                            strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-5)


def test_three_layers_forward_are_three_kernels() -> None:
    sizes = [(784, 512), (512, 512), (512, 10)]
    params = [{"w": np.zeros(s, np.float32), "b": np.zeros(s[1], np.float32)} for s in sizes]
    x = np.zeros((128, 784), np.float32)
    assert len(anneal.jit(_forward).lower(params, x).kernels) == 3


def test_a_convolution_with_bias_and_relu_is_one_kernel() -> None:
    p = nn.conv_init(random.key(1), 3, 4, 3)
    x = np.random.default_rng(1).standard_normal((2, 3, 8, 8)).astype(np.float32)
    f = anneal.jit(lambda p, x: nn.relu(nn.conv(p, x)))
    assert len(f.lower(p, x).kernels) == 1
    with anneal.default_device("interpreter"):
        want = np.asarray(nn.relu(nn.conv(p, x)))
    np.testing.assert_allclose(np.asarray(f(p, x)), want, rtol=1e-4, atol=1e-5)


def test_a_call_is_one_submission_and_compiles_nothing() -> None:
    f = anneal.jit(lambda p, x: _forward(p, x))
    params, (x, _) = _mlp(), _data()
    x = anp.asarray(x)
    f(params, x)
    before = anneal.stats()
    f(params, x)
    after = anneal.stats()
    assert after["submissions"] - before["submissions"] == 1
    for counter in ("traces", "schedules", "kernels_compiled", "pipelines"):
        assert after[counter] == before[counter]


def test_a_sum_of_forty_arrays_with_eight_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANNEAL_MAX_BUFFERS", "8")
    xs = [np.full(4, i, np.float32) for i in range(40)]
    f = anneal.jit(lambda xs: sum(xs[1:], xs[0]))
    assert max(len(k.params) for k in f.lower([anp.asarray(x) for x in xs]).kernels) <= 8
    np.testing.assert_allclose(np.asarray(f([anp.asarray(x) for x in xs])), np.full(4, 780.0))


def test_a_sum_that_is_padded_along_an_axis_of_length_one() -> None:
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    with anneal.default_device("webgpu"):
        got = anp.pad(anp.sum(x[:1], 2), ((0, 1), (0, 0)))[:, :, None] + x
        want = np.pad(x[:1].sum(2), ((0, 1), (0, 0)))[:, :, None] + x
        np.testing.assert_array_equal(np.asarray(got), want)
