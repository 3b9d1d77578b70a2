"""Activations, losses and layers' `apply`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import anneal.numpy as anp
from anneal import lax
from anneal.array import Array, asarray


def relu(x: Any) -> Array:
    """max(x, 0); its derivative at 0 is 0."""
    a = asarray(x)
    return anp.where(a > 0, a, 0)


def sigmoid(x: Any) -> Array:
    """1 / (1 + exp(-x))."""
    return anp.tanh(asarray(x) * 0.5) * 0.5 + 0.5


def gelu(x: Any) -> Array:
    """x times the normal distribution's mass below x, by the tanh formula.

    Source: D. Hendrycks and K. Gimpel, Gaussian Error Linear Units, 2016.
    """
    a = asarray(x)
    return a * 0.5 * (anp.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a * a * a)) + 1.0)


def logsumexp(x: Any, axis: int = -1, keepdims: bool = False) -> Array:
    """log(sum(exp(x))) without overflow."""
    a = asarray(x)
    top = lax.stop_gradient(a.max(axis, keepdims=True))
    out = anp.log(anp.exp(a - top).sum(axis, keepdims=True)) + top
    return out if keepdims else anp.squeeze(out, axis)


def log_softmax(x: Any, axis: int = -1) -> Array:
    """x - logsumexp(x)."""
    a = asarray(x)
    shifted = a - lax.stop_gradient(a.max(axis, keepdims=True))
    return shifted - anp.log(anp.exp(shifted).sum(axis, keepdims=True))


def softmax(x: Any, axis: int = -1) -> Array:
    """exp(x) / sum(exp(x))."""
    a = asarray(x)
    e = anp.exp(a - lax.stop_gradient(a.max(axis, keepdims=True)))
    return e / e.sum(axis, keepdims=True)


def one_hot(x: Any, num_classes: int) -> Array:
    """float32 rows with a 1 at each label."""
    labels = anp.expand_dims(asarray(x), -1)
    return (labels == anp.arange(num_classes)).astype("float32")


def cross_entropy(logits: Any, labels: Any) -> Array:
    """The mean of -log softmax(logits)[label]; logits (n, classes), labels (n,) of ints."""
    rows, labels = log_softmax(logits), anp.expand_dims(asarray(labels), -1)
    return -anp.mean(anp.take_along_axis(rows, labels, -1, mode="clip"))


def dense(params: Mapping[str, Any], x: Any) -> Array:
    """x @ w + b."""
    out: Array = anp.matmul(x, params["w"]) + params["b"]
    return out


def conv(params: Mapping[str, Any], x: Any, padding: str = "SAME") -> Array:
    """A 2-D convolution: x (n, c, h, w), w (out, c, kh, kw), b (out,)."""
    b = anp.reshape(params["b"], (1, -1, 1, 1))
    return lax.conv_general_dilated(x, params["w"], (1, 1), padding) + b


def max_pool(x: Any, size: int = 2) -> Array:
    """The greatest of each size x size block of the last two axes, whose lengths it divides."""
    a = asarray(x)
    *lead, h, w = a.shape
    if h % size or w % size:
        raise ValueError(f"max_pool: a block of {size} does not divide {h} x {w}")
    return a.reshape(*lead, h // size, size, w // size, size).max((-3, -1))
