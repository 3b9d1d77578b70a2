"""Inputs of random programs, by a number and a shape."""

from __future__ import annotations

from typing import Any

import numpy as np

Data = np.ndarray[Any, Any]


def normal(seed: int, *shape: int) -> Data:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def positive(seed: int, *shape: int) -> Data:
    """From 0.5 to 1.5: sums of these cancel nothing."""
    return (np.random.default_rng(seed).random(shape) + 0.5).astype(np.float32)


def spread(seed: int, *shape: int) -> Data:
    """From 0.5 to 1.5, evenly, in random order: the greatest and least are clear."""
    n = int(np.prod(shape))
    places = np.random.default_rng(seed).permutation(n).reshape(shape)
    return (0.5 + (places + 0.5) / max(n, 1)).astype(np.float32)


def quarters(seed: int, *shape: int, dtype: str = "float32") -> Data:
    """Multiples of 1/4 from -3 to 3: sums and products of few are exact."""
    return (np.random.default_rng(seed).integers(-12, 13, shape) / 4).astype(dtype)


def distinct(seed: int, *shape: int, dtype: str = "float32") -> Data:
    """0 to n - 1 in random order."""
    n = int(np.prod(shape))
    return np.random.default_rng(seed).permutation(n).reshape(shape).astype(dtype)


def integers(seed: int, low: int, high: int, *shape: int, dtype: str = "int32") -> Data:
    """From `low` to `high`."""
    return np.asarray(np.random.default_rng(seed).integers(low, high + 1, shape)).astype(dtype)


def bools(seed: int, *shape: int) -> Data:
    return integers(seed, 0, 1, *shape, dtype="bool")
