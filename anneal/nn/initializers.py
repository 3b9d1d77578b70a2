"""Initial parameters, with the names and variances of jax.nn.initializers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import anneal.numpy as anp
from anneal import random
from anneal.array import Array


def he_normal(key: Array, shape: Sequence[int], fan_in: int) -> Array:
    """Normal numbers of variance 2 / fan_in (K. He et al., 2015), for layers before a relu."""
    return random.normal(key, shape) * math.sqrt(2 / fan_in)


def glorot_uniform(key: Array, shape: Sequence[int], fan_in: int, fan_out: int) -> Array:
    """Uniform numbers of variance 2 / (fan_in + fan_out) (X. Glorot and Y. Bengio, 2010)."""
    bound = math.sqrt(6 / (fan_in + fan_out))
    return random.uniform(key, shape, minval=-bound, maxval=bound)


def dense_init(key: Array, inputs: int, outputs: int) -> dict[str, Array]:
    """Parameters of `dense`: w (inputs, outputs), b (outputs,)."""
    return {"w": he_normal(key, (inputs, outputs), inputs), "b": anp.zeros(outputs)}


def conv_init(key: Array, inputs: int, outputs: int, size: int) -> dict[str, Array]:
    """Parameters of `conv`: w (outputs, inputs, size, size), b (outputs,)."""
    shape = (outputs, inputs, size, size)
    return {"w": he_normal(key, shape, inputs * size * size), "b": anp.zeros(outputs)}
