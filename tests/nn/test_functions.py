"""Activations, losses and layers against float64 NumPy, at the extremes too."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import anneal
import anneal.numpy as anp
from anneal import lax, nn

RNG = np.random.default_rng(1)
INF = np.float32(np.inf)


def floats(*shape: int) -> Any:
    return RNG.standard_normal(shape).astype(np.float32)


def close(got: Any, want: Any, tolerance: float = 2e-6) -> None:
    got = np.asarray(got)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, want, tolerance, 1e-30)


def gelu(x: Any) -> Any:
    return np.array([v * 0.5 * math.erfc(-v / math.sqrt(2)) for v in x.tolist()])


def gelu_tanh(x: Any) -> Any:
    return x * 0.5 * (np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)) + 1)


ACTIVATIONS: list[tuple[Callable[[Any], Any], Callable[[Any], Any], float]] = [
    (nn.relu, lambda x: np.maximum(x, 0), 0),
    (nn.sigmoid, lambda x: 1 / (1 + np.exp(-x)), 1e-6),
    (nn.gelu, gelu_tanh, 1e-5),
    (lambda x: nn.gelu(x, approximate=False), gelu, 1e-5),
]


@pytest.mark.parametrize(("f", "reference", "tolerance"), ACTIVATIONS)
def test_activations_and_their_derivatives(f: Any, reference: Any, tolerance: float) -> None:
    x = np.array([-2.5, -1.0, -0.3, 0.2, 1.0, 2.5], np.float32)
    close(f(x), reference(x.astype(np.float64)), tolerance)
    h = 1e-5
    slope = (reference(x + np.float64(h)) - reference(x - np.float64(h))) / (2 * h)
    got = anneal.grad(lambda v: f(v).sum())(x)
    np.testing.assert_allclose(np.asarray(got), slope, 1e-4, 1e-6)


def test_relu_keeps_nan_and_is_flat_at_0() -> None:
    x = np.array([np.nan, -0.0, -INF, INF], np.float32)
    np.testing.assert_array_equal(np.asarray(nn.relu(x)), [np.nan, 0, 0, np.inf])
    assert anneal.grad(nn.relu)(0.0).item() == 0.0


def test_sigmoid_is_precise_in_both_tails() -> None:
    x = np.array([-80.0, -20.0, 0.0, 20.0, 80.0], np.float32)
    close(nn.sigmoid(x), 1 / (1 + np.exp(-x.astype(np.float64))))
    far = np.array([-INF, -1e4, 1e4, INF], np.float32)
    assert nn.sigmoid(far).tolist() == [0.0, 0.0, 1.0, 1.0]
    slopes = anneal.grad(lambda v: nn.sigmoid(v).sum())(np.array([-1e4, 0.0, 1e4], np.float32))
    assert slopes.tolist() == [0.0, 0.25, 0.0]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_softmax_and_log_softmax(axis: int) -> None:
    x = floats(4, 5) * 3
    e = np.exp(x.astype(np.float64))
    want = e / e.sum(axis, keepdims=True)
    close(nn.softmax(x, axis), want)
    np.testing.assert_allclose(np.asarray(nn.log_softmax(x, axis)), np.log(want), 1e-5, 1e-6)


def test_softmax_does_not_overflow() -> None:
    x = np.array([1e4, 0.0, -INF], np.float32)
    assert nn.softmax(x).tolist() == [1.0, 0.0, 0.0]
    assert nn.log_softmax(x).tolist() == [0.0, -1e4, -INF]


def test_the_gradient_of_softmax() -> None:
    x, g = floats(5), floats(5)
    s = np.exp(x.astype(np.float64))
    s /= s.sum()
    got = anneal.grad(lambda v: (nn.softmax(v) * g).sum())(x)
    np.testing.assert_allclose(np.asarray(got), s * (g - (s * g).sum()), 1e-4, 1e-6)


@pytest.mark.parametrize("axis", [None, 0, -1, (0, 1)])
@pytest.mark.parametrize("keepdims", [False, True])
def test_logsumexp(axis: Any, keepdims: bool) -> None:
    x = floats(3, 4) + 300
    want = np.log(np.exp(x.astype(np.float64)).sum(axis, keepdims=keepdims))
    got = nn.logsumexp(x, axis, keepdims)
    assert got.shape == want.shape
    close(got, want)


def test_logsumexp_of_infinities() -> None:
    x = np.array([[-INF, -INF], [INF, 1.0], [-INF, 2.0]], np.float32)
    assert nn.logsumexp(x, 1).tolist() == [-np.inf, np.inf, 2.0]


def test_logsumexp_of_nothing() -> None:
    assert nn.logsumexp(np.zeros((2, 0), np.float32), 1).tolist() == [-np.inf, -np.inf]
    assert nn.logsumexp(np.zeros((0, 2), np.float32), 1).shape == (0,)
    assert nn.logsumexp([]).item() == -np.inf
    assert anneal.grad(lambda x: nn.logsumexp(x, 1).sum())(anp.zeros((2, 0))).shape == (2, 0)


def test_one_hot() -> None:
    got = nn.one_hot(np.array([[1, 0], [3, -1]]), 3, dtype="int32", axis=1)
    assert got.dtype is anp.int32 and got.shape == (2, 3, 2)
    assert got.tolist() == [[[0, 1], [1, 0], [0, 0]], [[0, 0], [0, 0], [0, 0]]]


@pytest.mark.parametrize("dtype", ["int32", "uint32", "uint8", "int16", "float32", "bool"])
def test_one_hot_of_labels_of_every_dtype(dtype: str) -> None:
    labels = np.array([1, 0, 1], dtype)
    assert nn.one_hot(labels, 3).tolist() == [[0, 1, 0], [1, 0, 0], [0, 1, 0]]
    if dtype == "uint32":
        assert nn.one_hot(np.array([2**32 - 1, 2**31], dtype), 2).tolist() == [[0, 0], [0, 0]]


def test_cross_entropy_and_its_gradient() -> None:
    logits, labels = floats(6, 4), np.array([0, 3, 1, 1, 2, 0], np.int32)
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    loss, grad = anneal.value_and_grad(nn.cross_entropy)(logits, labels)
    np.testing.assert_allclose(loss.item(), -np.log(p[np.arange(6), labels]).mean(), 1e-5)
    np.testing.assert_allclose(np.asarray(grad), (p - np.eye(4)[labels]) / 6, 1e-4, 1e-6)


def test_dense_and_conv_layers() -> None:
    dense = {"w": floats(5, 3), "b": floats(3)}
    x = floats(2, 5)
    np.testing.assert_allclose(
        np.asarray(nn.dense(dense, x)), x @ dense["w"] + dense["b"], 1e-5, 1e-5)
    conv = {"w": np.zeros((2, 1, 3, 3), np.float32), "b": np.array([10, 20], np.float32)}
    conv["w"][:, 0, 1, 1] = 1, 2  # the middle of each window, once and twice
    image = floats(1, 1, 4, 6)
    want = np.concatenate([image + 10, image * 2 + 20], 1)
    close(nn.conv(conv, image), want)
    close(nn.conv(conv, image, strides=(2, 3), padding=[(1, 1), (1, 1)]), want[..., ::2, ::3])


@pytest.mark.parametrize(("shape", "size", "stride", "padding"), [
    ((2, 3, 4, 6), 2, None, "VALID"), ((5, 7), 2, None, "VALID"), ((1, 6, 6), 3, 1, "VALID"),
    ((2, 5, 5), 2, 2, "SAME"), ((2, 6, 5), 3, 2, "SAME")])  # fmt: skip
def test_pools(shape: Any, size: int, stride: int | None, padding: str) -> None:
    x = floats(*shape) - 5  # all below 0: padding with 0 would show in the maximum
    step = stride or size
    outer, pads = [], []
    for d in shape[-2:]:
        n = -(-d // step) if padding == "SAME" else (d - size) // step + 1
        total = max(0, (n - 1) * step + size - d) if padding == "SAME" else 0
        outer.append(n)
        pads.append((total // 2, total - total // 2))
    lead = [(0, 0)] * (x.ndim - 2)
    low = np.pad(x, lead + pads, constant_values=-np.inf)
    zero = np.pad(x, lead + pads)
    most, mean = (np.empty((*shape[:-2], *outer), np.float32) for _ in range(2))
    for i in range(outer[0]):
        for j in range(outer[1]):
            at = (..., slice(i * step, i * step + size), slice(j * step, j * step + size))
            most[..., i, j] = low[at].max((-2, -1))
            mean[..., i, j] = zero[at].mean((-2, -1))
    np.testing.assert_array_equal(np.asarray(nn.max_pool(x, size, stride, padding)), most)
    close(nn.avg_pool(x, size, stride, padding), mean, 1e-5)


def test_gradients_of_pools() -> None:
    x = np.arange(16, dtype=np.float32).reshape(4, 4)
    got = anneal.grad(lambda v: nn.max_pool(v).sum())(x)
    assert np.flatnonzero(np.asarray(got)).tolist() == [5, 7, 13, 15]
    assert np.asarray(anneal.grad(lambda v: nn.avg_pool(v, 2, 1).sum())(x))[1].tolist() == [
        0.5, 1.0, 1.0, 0.5]  # fmt: skip


def test_refused_pools() -> None:
    with pytest.raises(ValueError, match=r"max_pool: x \(3,\) needs two axes"):
        nn.max_pool(anp.ones(3))
    with pytest.raises(ValueError, match="window_strides needs 2 positive"):
        nn.avg_pool(anp.ones((4, 4)), 2, 0)
    with pytest.raises(ValueError, match="does not fit"):
        nn.max_pool(anp.ones((4, 4)), 5)


def test_layer_norm() -> None:
    x, scale, bias = floats(3, 8) * 4 + 100, floats(8), floats(8)
    wide = x.astype(np.float64)
    norm = (wide - wide.mean(1, keepdims=True)) / np.sqrt(wide.var(1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(np.asarray(nn.layer_norm(x)), norm, 1e-4, 1e-4)
    got = nn.layer_norm(x, scale, bias)
    np.testing.assert_allclose(np.asarray(got), norm * scale + bias, 1e-4, 1e-4)


def test_layer_norm_of_float16_does_not_overflow() -> None:
    x = anp.asarray(np.array([60000, -60000, 0, 0], np.float16))
    got = nn.layer_norm(x)
    assert got.dtype is anp.float16
    np.testing.assert_allclose(np.asarray(got), [math.sqrt(2), -math.sqrt(2), 0, 0], 1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("n", [3, 4096, 70001])
def test_softmax_and_logsumexp_of_halves_sum_in_float32(dtype: str, n: int) -> None:
    x = anp.asarray(np.random.default_rng(n).normal(size=n).astype(np.float32), dtype)
    wide = np.asarray(x.astype("float32")).astype(np.float64)
    total = np.exp(wide).sum()
    unit = {"float16": 1e-3, "bfloat16": 8e-3}[dtype]
    for f, want in [(nn.softmax, np.exp(wide) / total), (nn.logsumexp, np.log(total)),
                    (nn.log_softmax, wide - np.log(total))]:  # fmt: skip
        got = f(x)
        assert got.dtype is x.dtype
        np.testing.assert_allclose(np.asarray(got.astype("float32")), want, unit, 1e-7)


def test_functions_that_end_at_a_value_reach_it() -> None:
    x = np.array([4.0, -4.0, 3.9193, -3.9193, 5.0, 10.0, -1e10, np.inf, -np.inf], np.float32)
    np.testing.assert_array_equal(np.asarray(lax.erf(x)), np.sign(x) * 1.0)
    near = np.linspace(-6, 6, 20001).astype(np.float32)
    assert np.abs(np.asarray(lax.erf(near))).max() == 1
    far = np.array([-1e10, -20.0, -6.0, 1e10, 20.0], np.float32)
    np.testing.assert_array_equal(np.asarray(nn.gelu(far, approximate=False)), np.maximum(far, 0))
    assert np.isnan(np.asarray(lax.erf(np.float32(np.nan))))


def test_second_derivatives_of_activations_at_zero() -> None:
    def second(f: Any, x: float) -> float:
        return anneal.grad(anneal.grad(f))(x).item()

    for x in (0.0, 1.0, -3.0, 30.0):
        s = 1 / (1 + np.exp(-x))
        for f, want in [(nn.softplus, s * (1 - s)), (nn.log_sigmoid, -s * (1 - s)),
                        (nn.sigmoid, s * (1 - s) * (1 - 2 * s))]:  # fmt: skip
            assert abs(second(f, x) - want) < 1e-5
    assert abs(second(nn.silu, 0.0) - 0.5) < 1e-6
