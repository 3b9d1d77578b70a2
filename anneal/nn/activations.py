"""More activations, with the names and values of jax.nn."""

from __future__ import annotations

from typing import Any

import anneal.numpy as anp
from anneal import random
from anneal.array import Array, asarray
from anneal.nn.functions import layer_norm, sigmoid


def relu6(x: Any) -> Array:
    """x, not below 0 nor above 6."""
    a = asarray(x)
    return anp.where(a <= 0, 0, anp.where(a >= 6, 6, a))


def leaky_relu(x: Any, negative_slope: Any = 1e-2) -> Array:
    """x, times negative_slope below 0."""
    a = asarray(x)
    return anp.where(a >= 0, a, a * negative_slope)


def elu(x: Any, alpha: Any = 1.0) -> Array:
    """x, and below 0 alpha * (exp(x) - 1)."""
    a = asarray(x)
    return anp.where(a > 0, a, alpha * anp.expm1(anp.where(a > 0, 0, a)))


def selu(x: Any) -> Array:
    """elu, scaled so that variances stay (G. Klambauer et al., 2017)."""
    return 1.0507009873554804934193349852946 * elu(x, 1.6732632423543772848170429916717)


def softplus(x: Any) -> Array:
    """log(1 + exp(x)) without overflow."""
    return anp.logaddexp(x, 0.0)


def log_sigmoid(x: Any) -> Array:
    """log(sigmoid(x)) without underflow."""
    return -softplus(-asarray(x))


def silu(x: Any) -> Array:
    """x * sigmoid(x)."""
    a = asarray(x)
    return a * sigmoid(a)


swish = silu


def soft_sign(x: Any) -> Array:
    """x / (1 + |x|)."""
    a = asarray(x)
    return a / (anp.abs(a) + 1)


def hard_tanh(x: Any) -> Array:
    """x, not below -1 nor above 1."""
    a = asarray(x)
    return anp.where(a > 1, 1, anp.where(a < -1, -1, a))


def hard_sigmoid(x: Any) -> Array:
    """relu6(x + 3) / 6."""
    return relu6(asarray(x) + 3.0) / 6.0


def glu(x: Any, axis: int = -1) -> Array:
    """The first half along an axis times the sigmoid of the second."""
    a = asarray(x)
    if a.shape[axis] % 2:
        raise ValueError(f"glu: axis {axis} must have an even length, got {a.shape[axis]}")
    first, second = anp.split(a, 2, axis)
    return first * sigmoid(second)


def standardize(x: Any, axis: Any = -1, epsilon: float = 1e-5) -> Array:
    """(x - mean) / sqrt(var + epsilon)."""
    return layer_norm(x, axis=axis, epsilon=epsilon)


def dropout(key: Any, rate: float, x: Any) -> Array:
    """x with each element 0 with probability `rate`, the others scaled by 1 / (1 - rate)."""
    if not 0 <= rate < 1:
        raise ValueError(f"dropout: rate must be at least 0 and below 1, got {rate}")
    a = asarray(x)
    if rate == 0:
        return a.copy()
    keep = 1.0 - rate
    return anp.where(random.bernoulli(key, keep, a.shape), a / keep, 0)
