"""SGD, momentum and Adam; states are pytrees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import anneal.numpy as anp
from anneal import tree


class GradientTransformation(NamedTuple):
    """`init(params) -> state`; `update(grads, state, params=None) -> (updates, state)`."""

    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]


def apply_updates(params: Any, updates: Any) -> Any:
    """params + updates, leaf by leaf."""
    return tree.map(lambda p, u: p + u, params, updates)


def sgd(learning_rate: float) -> GradientTransformation:
    """Steps of -learning_rate * gradient."""

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return tree.map(lambda g: g * -learning_rate, grads), state

    return GradientTransformation(lambda params: (), update)


def momentum(learning_rate: float, decay: float = 0.9) -> GradientTransformation:
    """Steps along a decaying sum of gradients (B. T. Polyak, 1964)."""

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        trace = tree.map(lambda t, g: t * decay + g, state, grads)
        return tree.map(lambda t: t * -learning_rate, trace), trace

    return GradientTransformation(lambda params: tree.map(anp.zeros_like, params), update)


def adam(learning_rate: float, b1: float = 0.9, b2: float = 0.999,
         eps: float = 1e-8) -> GradientTransformation:  # fmt: skip
    """Adam with corrected bias (D. P. Kingma and J. Ba, 2014)."""

    def init(params: Any) -> Any:
        zeros = tree.map(anp.zeros_like, params)
        return {"count": anp.zeros((), "int32"), "mean": zeros, "square": zeros}

    def update(grads: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        count = state["count"] + 1
        mean = tree.map(lambda m, g: m * b1 + g * (1 - b1), state["mean"], grads)
        square = tree.map(lambda v, g: v * b2 + g * g * (1 - b2), state["square"], grads)
        steps = count.astype("float32")
        first, second = 1 - anp.power(b1, steps), 1 - anp.power(b2, steps)
        updates = tree.map(
            lambda m, v: m / first * -learning_rate / (anp.sqrt(v / second) + eps), mean, square)
        return updates, {"count": count, "mean": mean, "square": square}

    return GradientTransformation(init, update)
