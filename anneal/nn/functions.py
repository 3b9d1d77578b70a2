"""Activations, losses and layers' `apply`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anneal.numpy as anp
from anneal import lax
from anneal.array import Array, asarray
from anneal.numpy.axes import integer
from anneal.numpy.special import erf
from anneal.uop import dtypes
from anneal.uop.dtypes import DType
from anneal.uop.uop import show_shape


def relu(x: Any) -> Array:
    """max(x, 0); its derivative at 0 is 0."""
    a = asarray(x)
    return anp.where(a <= 0, 0, a)  # not a > 0: a NaN stays NaN


def sigmoid(x: Any) -> Array:
    """1 / (1 + exp(-x)), to full precision on both sides of 0, without overflow.

    >>> sigmoid(0.0).item()
    0.5
    """
    a = asarray(x)
    e = anp.exp(anp.where(a < 0, a, -a))
    return anp.where(a < 0, e, 1) / (1 + e)


def gelu(x: Any, approximate: bool = True) -> Array:
    """x times the normal distribution's mass below x, by the tanh formula if `approximate`.

    Source: D. Hendrycks and K. Gimpel, Gaussian Error Linear Units, 2016.
    """
    a = asarray(x)
    if not approximate:
        return a * 0.5 * (erf(a * math.sqrt(0.5)) + 1.0)
    return a * 0.5 * (anp.tanh(math.sqrt(2 / math.pi) * (a + 0.044715 * a * a * a)) + 1.0)


def _wide(x: Any) -> tuple[Array, DType]:
    """x in the dtype that sums of exponentials are computed in, and the dtype of the result:
    16-bit floats would lose what they add."""
    a = asarray(x)
    dtype = a.dtype if a.dtype.is_float else dtypes.float32
    return (a.astype("float32"), dtype) if dtype.bits == 16 else (a, dtype)


def logsumexp(x: Any, axis: int | tuple[int, ...] | None = None,
              keepdims: bool = False) -> Array:  # fmt: skip
    """log(sum(exp(x))) over `axis` (None: all) without overflow; -inf of -inf alone or of nothing.

    >>> logsumexp([[-anp.inf, -anp.inf], [-anp.inf, 0.0]], axis=1).tolist()
    [-inf, 0.0]
    """
    a, dtype = _wide(x)
    top = lax.stop_gradient(a.max(axis, keepdims=True, initial=-anp.inf))
    top = anp.where(anp.isfinite(top), top, 0)  # an infinite one would give inf - inf
    out = (anp.log(anp.exp(a - top).sum(axis, keepdims=True)) + top).astype(dtype)
    return out if keepdims else anp.squeeze(out, axis)


def log_softmax(x: Any, axis: int = -1) -> Array:
    """x - logsumexp(x)."""
    a, dtype = _wide(x)
    shifted = a - lax.stop_gradient(a.max(axis, keepdims=True))
    return (shifted - anp.log(anp.exp(shifted).sum(axis, keepdims=True))).astype(dtype)


def softmax(x: Any, axis: int = -1) -> Array:
    """exp(x) / sum(exp(x))."""
    a, dtype = _wide(x)
    e = anp.exp(a - lax.stop_gradient(a.max(axis, keepdims=True)))
    return (e / e.sum(axis, keepdims=True)).astype(dtype)


def one_hot(x: Any, num_classes: int, *, dtype: Any = "float32", axis: int = -1) -> Array:
    """A 1 at each label along a new axis of `num_classes`; zeros for a label outside.

    >>> one_hot([2, 0], 3).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    labels = asarray(x)
    num_classes = integer("one_hot", "num_classes", num_classes)
    classes = anp.arange(num_classes, dtype="uint32" if labels.dtype == anp.uint32 else None)
    rows = (anp.expand_dims(labels, -1) == classes).astype(dtype)
    return rows if axis == -1 else anp.moveaxis(rows, -1, axis)


def cross_entropy(logits: Any, labels: Any) -> Array:
    """The mean of -log softmax(logits)[label]; logits (n, classes), labels (n,) of ints."""
    rows, labels = log_softmax(logits), anp.expand_dims(asarray(labels), -1)
    return -anp.mean(anp.take_along_axis(rows, labels, -1, mode="clip"))


def dense(params: Mapping[str, Any], x: Any) -> Array:
    """x @ w + b."""
    out: Array = anp.matmul(x, params["w"]) + params["b"]
    return out


def conv(params: Mapping[str, Any], x: Any, padding: str | Sequence[tuple[int, int]] = "SAME",
         strides: tuple[int, int] = (1, 1)) -> Array:  # fmt: skip
    """A 2-D convolution: x (n, c, h, w), w (out, c, kh, kw), b (out,)."""
    b = anp.reshape(params["b"], (1, -1, 1, 1))
    return lax.conv_general_dilated(x, params["w"], strides, padding) + b


def max_pool(x: Any, size: int = 2, stride: int | None = None, padding: str = "VALID") -> Array:
    """The greatest of each size x size window of the last two axes, `stride` (None: size) apart.

    Ties share the gradient equally.

    >>> max_pool([[1.0, 2.0], [3.0, 4.0]]).tolist()
    [[4.0]]
    """
    a = asarray(x)
    least = -anp.inf if a.dtype.is_float else a.dtype.min
    return _pool("max_pool", a, anp.maximum, least, size, stride, padding)


def avg_pool(x: Any, size: int = 2, stride: int | None = None, padding: str = "VALID") -> Array:
    """The mean of each size x size window of the last two axes; padding counts as zeros.

    >>> avg_pool([[1.0, 2.0], [3.0, 4.0]]).tolist()
    [[2.5]]
    """
    return _pool("avg_pool", asarray(x), anp.add, 0, size, stride, padding) / (size * size)


def _pool(name: str, a: Array, combine: Callable[[Any, Any], Array], identity: float, size: int,
          stride: int | None, padding: str) -> Array:  # fmt: skip
    if a.ndim < 2:
        raise ValueError(f"{name}: x {show_shape(a.shape)} needs two axes or more")
    *lead, h, w = a.shape
    size = integer(name, "size", size)
    step = size if stride is None else integer(name, "stride", stride)
    if size == step > 0 and h % size == w % size == 0:  # blocks that tile: a plain reduction
        blocks = a.reshape(*lead, h // size, size, w // size, size)
        return blocks.max((-3, -1)) if combine is anp.maximum else blocks.sum((-3, -1))
    ones = (1,) * len(lead)
    return lax.reduce_window(a, identity, combine, (*ones, size, size), (*ones, step, step),
                             padding)  # fmt: skip


def layer_norm(x: Any, scale: Any = None, bias: Any = None, axis: int | tuple[int, ...] = -1,
               epsilon: float = 1e-5) -> Array:  # fmt: skip
    """(x - mean) / sqrt(var + epsilon) over `axis`, times `scale`, plus `bias`.

    Computed in float32 for 16-bit floats. Source: J. L. Ba et al., Layer Normalization, 2016.
    """
    a = asarray(x)
    wide = a.astype("float32")
    centred = wide - wide.mean(axis, keepdims=True)
    out = centred / anp.sqrt(wide.var(axis, keepdims=True) + epsilon)
    out = out.astype(a.dtype) if a.dtype.is_float else out
    if scale is not None:
        out = out * scale
    return out if bias is None else out + bias
