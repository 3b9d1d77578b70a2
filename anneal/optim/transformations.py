"""Gradient transformations in optax's form, to be chained: each is `init(params) -> state` and
`update(updates, state, params) -> (updates, state)`; states are pytrees.

Source: https://optax.readthedocs.io, whose names, defaults and results these have.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import anneal.numpy as anp
from anneal import tree
from anneal.array import Array

Schedule = Callable[[Any], Any]


class GradientTransformation(NamedTuple):
    """`init(params) -> state`; `update(grads, state, params=None) -> (updates, state)`."""

    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]


class EmptyState(NamedTuple):
    """Nothing to remember."""


class TraceState(NamedTuple):
    """The decaying sum of updates."""

    trace: Any


class ScaleByAdamState(NamedTuple):
    """Steps taken, averages of the gradients and of their squares."""

    count: Any
    mu: Any
    nu: Any


class ScaleByRmsState(NamedTuple):
    """The average of the squared gradients."""

    nu: Any


class ScaleByScheduleState(NamedTuple):
    """Steps taken."""

    count: Any


def _stateless(update: Callable[[Any, Any], Any]) -> GradientTransformation:
    def apply(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return update(updates, params), state

    return GradientTransformation(lambda params: EmptyState(), apply)


def identity() -> GradientTransformation:
    """Updates as they are."""
    return _stateless(lambda updates, params: updates)


def scale(step_size: float) -> GradientTransformation:
    """Updates times a number."""
    return _stateless(lambda updates, params: tree.map(lambda u: u * step_size, updates))


def scale_by_schedule(step_size_fn: Schedule) -> GradientTransformation:
    """Updates times `step_size_fn(count)`, count from 0."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        size = step_size_fn(state.count)
        scaled = tree.map(lambda u: u * anp.asarray(size).astype(u.dtype), updates)
        return scaled, ScaleByScheduleState(state.count + 1)

    return GradientTransformation(lambda params: ScaleByScheduleState(anp.zeros((), "int32")),
                                  update)  # fmt: skip


def scale_by_learning_rate(learning_rate: float | Schedule) -> GradientTransformation:
    """Updates times minus the rate: a number, or a function of the step count."""
    if callable(learning_rate):
        schedule = learning_rate
        return scale_by_schedule(lambda count: -schedule(count))
    return scale(-learning_rate)


def trace(decay: float, nesterov: bool = False) -> GradientTransformation:
    """The decaying sum of updates (B. T. Polyak, 1964); with `nesterov`, one step ahead."""

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        def add(g: Any, t: Any) -> Any:
            return g + t * decay

        total = tree.map(add, updates, state.trace)
        return (tree.map(add, updates, total) if nesterov else total), TraceState(total)

    return GradientTransformation(lambda params: TraceState(tree.map(anp.zeros_like, params)),
                                  update)  # fmt: skip


def scale_by_adam(b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8,
                  eps_root: float = 0.0) -> GradientTransformation:  # fmt: skip
    """Averages of gradients over the roots of those of their squares, bias corrected.

    Source: D. P. Kingma and J. Ba, Adam: A Method for Stochastic Optimization, 2014.
    """

    def init(params: Any) -> Any:
        zeros = tree.map(anp.zeros_like, params)
        return ScaleByAdamState(anp.zeros((), "int32"), zeros, zeros)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        count = state.count + 1
        mu = tree.map(lambda g, m: g * (1 - b1) + m * b1, updates, state.mu)
        nu = tree.map(lambda g, v: (g * g) * (1 - b2) + v * b2, updates, state.nu)
        steps = count.astype("float32")
        first, second = 1 - anp.power(b1, steps), 1 - anp.power(b2, steps)

        def step(m: Array, v: Array) -> Array:
            size = v / second.astype(v.dtype)
            root = anp.sqrt(size + eps_root if eps_root else size)
            return m / first.astype(m.dtype) / (root + eps)

        return tree.map(step, mu, nu), ScaleByAdamState(count, mu, nu)

    return GradientTransformation(init, update)


def scale_by_rms(decay: float = 0.9, eps: float = 1e-8,
                 initial_scale: float = 0.0) -> GradientTransformation:  # fmt: skip
    """Updates over the root of the average of their squares (T. Tieleman, G. Hinton, 2012)."""

    def init(params: Any) -> Any:
        return ScaleByRmsState(tree.map(lambda p: anp.full_like(p, initial_scale), params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        nu = tree.map(lambda g, v: (g * g) * (1 - decay) + v * decay, updates, state.nu)
        return tree.map(lambda g, v: g / anp.sqrt(v + eps), updates, nu), ScaleByRmsState(nu)

    return GradientTransformation(init, update)


def add_decayed_weights(weight_decay: float) -> GradientTransformation:
    """Updates plus weight_decay times the parameters. `update` needs params: ValueError."""

    def update(updates: Any, params: Any) -> Any:
        if params is None:
            raise ValueError("add_decayed_weights: pass params to update(grads, state, params)")
        return tree.map(lambda g, p: g + p * weight_decay, updates, params)

    return _stateless(update)


def global_norm(updates: Any) -> Array:
    """The square root of the sum of the squares of all elements of all leaves."""
    total: Any = 0.0
    for leaf in tree.leaves(updates):
        total = total + anp.sum(anp.square(leaf))
    return anp.sqrt(total)


def clip_by_global_norm(max_norm: float) -> GradientTransformation:
    """Updates scaled down together, so that their global norm is at most max_norm."""

    def update(updates: Any, params: Any) -> Any:
        norm = global_norm(updates)
        return tree.map(lambda u: anp.where(norm < max_norm, u, u / norm.astype(u.dtype)
                                            * max_norm), updates)  # fmt: skip

    return _stateless(update)


def clip(max_delta: float) -> GradientTransformation:
    """Every element of the updates between -max_delta and max_delta."""
    return _stateless(lambda updates, params: tree.map(
        lambda u: anp.clip(u, -max_delta, max_delta), updates))  # fmt: skip


def chain(*transformations: GradientTransformation) -> GradientTransformation:
    """Transformations one after another; the state is the tuple of theirs."""

    def init(params: Any) -> Any:
        return tuple(t.init(params) for t in transformations)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if len(state) != len(transformations):
            raise ValueError(f"chain: the state has {len(state)} parts for "
                             f"{len(transformations)} transformations; make it with init")
        states = []
        for t, s in zip(transformations, state, strict=True):
            updates, s = t.update(updates, s, params)
            states.append(s)
        return updates, tuple(states)

    return GradientTransformation(init, update)


def apply_updates(params: Any, updates: Any) -> Any:
    """params + updates, leaf by leaf, in the parameters' dtypes."""
    return tree.map(lambda p, u: (p + u).astype(p.dtype), params, updates)
