"""Initial parameters: jax.nn.initializers' functions, and the layers' `init`.

An initializer is a function `(key, shape, dtype) -> Array`; the functions here make them, and give
the numbers that JAX's give for the same key, to rounding.

Sources: X. Glorot and Y. Bengio, 2010; Y. LeCun et al., Efficient BackProp, 1998; K. He et al.,
Delving Deep into Rectifiers, 2015.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import anneal.numpy as anp
from anneal import random
from anneal.array import Array
from anneal.numpy.axes import integers
from anneal.uop.uop import show_shape

Initializer = Callable[..., Array]


def zeros(key: Any, shape: Sequence[int], dtype: Any = "float32") -> Array:
    """Zeros; the key is not used."""
    return anp.zeros(shape, dtype)


def ones(key: Any, shape: Sequence[int], dtype: Any = "float32") -> Array:
    """Ones; the key is not used."""
    return anp.ones(shape, dtype)


def constant(value: Any, dtype: Any = "float32") -> Initializer:
    """One value everywhere."""

    def init(key: Any, shape: Sequence[int], dtype: Any = dtype) -> Array:
        return anp.full(shape, value, dtype)

    return init


def uniform(scale: float = 1e-2, dtype: Any = "float32") -> Initializer:
    """Uniform numbers from 0 to below `scale`."""

    def init(key: Any, shape: Sequence[int], dtype: Any = dtype) -> Array:
        return random.uniform(key, shape, dtype) * scale

    return init


def normal(stddev: float = 1e-2, dtype: Any = "float32") -> Initializer:
    """Normal numbers of mean 0."""

    def init(key: Any, shape: Sequence[int], dtype: Any = dtype) -> Array:
        return random.normal(key, shape, dtype) * stddev

    return init


def truncated_normal(stddev: float = 1e-2, dtype: Any = "float32", lower: float = -2.0,
                     upper: float = 2.0) -> Initializer:  # fmt: skip
    """Normal numbers of mean 0 between lower and upper times stddev."""

    def init(key: Any, shape: Sequence[int], dtype: Any = dtype) -> Array:
        return random.truncated_normal(key, lower, upper, shape, dtype) * stddev

    return init


# The standard deviation of normal numbers given that they lie between -2 and 2.
_TRUNCATED = 0.87962566103423978


def variance_scaling(scale: float, mode: str, distribution: str,
                     in_axis: int | Sequence[int] = -2, out_axis: int | Sequence[int] = -1,
                     batch_axis: int | Sequence[int] = (),
                     dtype: Any = "float32") -> Initializer:  # fmt: skip
    """Numbers of variance scale / n, n the "fan_in", "fan_out" or "fan_avg" of the shape.

    `distribution`: "truncated_normal", "normal" or "uniform". Raises ValueError for another mode
    or distribution, and for shapes without the axes.
    """
    if mode not in ("fan_in", "fan_out", "fan_avg"):
        raise ValueError(f"variance_scaling: mode must be 'fan_in', 'fan_out' or 'fan_avg', got "
                         f"{mode!r}")  # fmt: skip
    if distribution not in ("truncated_normal", "normal", "uniform"):
        raise ValueError(f"variance_scaling: distribution must be 'truncated_normal', 'normal' or "
                         f"'uniform', got {distribution!r}")  # fmt: skip

    def init(key: Any, shape: Sequence[int], dtype: Any = dtype) -> Array:
        fan_in, fan_out = _fans(shape, in_axis, out_axis, batch_axis)
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[mode]
        stddev = math.sqrt(scale / max(n, 1e-30))
        if distribution == "normal":
            return random.normal(key, shape, dtype) * stddev
        if distribution == "uniform":
            return random.uniform(key, shape, dtype, -1.0) * (math.sqrt(3) * stddev)
        return random.truncated_normal(key, -2.0, 2.0, shape, dtype) * (stddev / _TRUNCATED)

    return init


def _fans(shape: Sequence[int], in_axis: int | Sequence[int], out_axis: int | Sequence[int],
          batch_axis: int | Sequence[int]) -> tuple[float, float]:  # fmt: skip
    def product(axes: int | Sequence[int]) -> int:
        try:
            return math.prod(shape[i] for i in integers("initializers", "axis", axes))
        except IndexError:
            raise ValueError(f"initializers: shape {show_shape(tuple(shape))} has no axis "
                             f"{axes}; weights need an axis in and one out") from None

    inputs, outputs = product(in_axis), product(out_axis)
    window = math.prod(shape) / max(inputs * outputs * product(batch_axis), 1)
    return inputs * window, outputs * window


def glorot_uniform(in_axis: int | Sequence[int] = -2, out_axis: int | Sequence[int] = -1,
                   batch_axis: int | Sequence[int] = (),
                   dtype: Any = "float32") -> Initializer:  # fmt: skip
    """Uniform, variance 2 / (fan_in + fan_out).

    >>> glorot_uniform()(random.key(0), (3, 4)).shape
    (3, 4)
    """
    return variance_scaling(1.0, "fan_avg", "uniform", in_axis, out_axis, batch_axis, dtype)


def glorot_normal(in_axis: int | Sequence[int] = -2, out_axis: int | Sequence[int] = -1,
                  batch_axis: int | Sequence[int] = (),
                  dtype: Any = "float32") -> Initializer:  # fmt: skip
    """Truncated normal, variance 2 / (fan_in + fan_out)."""
    return variance_scaling(1.0, "fan_avg", "truncated_normal", in_axis, out_axis, batch_axis,
                            dtype)  # fmt: skip


def lecun_uniform(in_axis: int | Sequence[int] = -2, out_axis: int | Sequence[int] = -1,
                  batch_axis: int | Sequence[int] = (),
                  dtype: Any = "float32") -> Initializer:  # fmt: skip
    """Uniform, variance 1 / fan_in."""
    return variance_scaling(1.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


def lecun_normal(in_axis: int | Sequence[int] = -2, out_axis: int | Sequence[int] = -1,
                 batch_axis: int | Sequence[int] = (),
                 dtype: Any = "float32") -> Initializer:  # fmt: skip
    """Truncated normal, variance 1 / fan_in."""
    return variance_scaling(1.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis,
                            dtype)  # fmt: skip


def he_uniform(in_axis: int | Sequence[int] = -2, out_axis: int | Sequence[int] = -1,
               batch_axis: int | Sequence[int] = (),
               dtype: Any = "float32") -> Initializer:  # fmt: skip
    """Uniform, variance 2 / fan_in: for layers before a relu."""
    return variance_scaling(2.0, "fan_in", "uniform", in_axis, out_axis, batch_axis, dtype)


def he_normal(in_axis: int | Sequence[int] = -2, out_axis: int | Sequence[int] = -1,
              batch_axis: int | Sequence[int] = (),
              dtype: Any = "float32") -> Initializer:  # fmt: skip
    """Truncated normal, variance 2 / fan_in: for layers before a relu."""
    return variance_scaling(2.0, "fan_in", "truncated_normal", in_axis, out_axis, batch_axis,
                            dtype)  # fmt: skip


xavier_uniform, xavier_normal = glorot_uniform, glorot_normal
kaiming_uniform, kaiming_normal = he_uniform, he_normal

_before_relu = variance_scaling(2.0, "fan_in", "normal")
_before_relu_conv = variance_scaling(2.0, "fan_in", "normal", in_axis=1, out_axis=0)


def dense_init(key: Any, inputs: int, outputs: int) -> dict[str, Array]:
    """Parameters of `dense`: w (inputs, outputs), b (outputs,)."""
    return {"w": _before_relu(key, (inputs, outputs)), "b": anp.zeros(outputs)}


def conv_init(key: Any, inputs: int, outputs: int, size: int) -> dict[str, Array]:
    """Parameters of `conv`: w (outputs, inputs, size, size), b (outputs,)."""
    return {"w": _before_relu_conv(key, (outputs, inputs, size, size)), "b": anp.zeros(outputs)}


def layer_norm_init(features: int) -> dict[str, Array]:
    """Parameters of `layer_norm`: scale and bias, (features,) each."""
    return {"scale": anp.ones(features), "bias": anp.zeros(features)}
