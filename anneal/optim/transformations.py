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


def _wide(x: Any) -> Array:
    """x, as float32 if it is of 16 bits: the dtype that averages and norms are kept in."""
    a = anp.asarray(x)
    return a.astype("float32") if a.dtype.is_float and a.dtype.bits == 16 else a


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

    The averages of 16-bit floats are kept in float32, where squares and `eps` are not 0.

    Source: D. P. Kingma and J. Ba, Adam: A Method for Stochastic Optimization, 2014.
    """

    def init(params: Any) -> Any:
        zeros = tree.map(lambda p: anp.zeros_like(_wide(p)), params)
        return ScaleByAdamState(anp.zeros((), "int32"), zeros, zeros)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        count = state.count + 1
        wide = tree.map(_wide, updates)
        mu = tree.map(lambda g, m: g * (1 - b1) + m * b1, wide, state.mu)
        nu = tree.map(lambda g, v: (g * g) * (1 - b2) + v * b2, wide, state.nu)
        steps = count.astype("float32")
        first, second = 1 - anp.power(b1, steps), 1 - anp.power(b2, steps)

        def step(g: Any, m: Array, v: Array) -> Array:
            size = v / second.astype(v.dtype)
            root = anp.sqrt(size + eps_root if eps_root else size)
            return (m / first.astype(m.dtype) / (root + eps)).astype(anp.asarray(g).dtype)

        return tree.map(step, updates, mu, nu), ScaleByAdamState(count, mu, nu)

    return GradientTransformation(init, update)


def scale_by_rms(decay: float = 0.9, eps: float = 1e-8,
                 initial_scale: float = 0.0) -> GradientTransformation:  # fmt: skip
    """Updates over the root of the average of their squares (T. Tieleman, G. Hinton, 2012); of
    16-bit floats the average is kept in float32, where squares and `eps` are not 0."""

    def init(params: Any) -> Any:
        return ScaleByRmsState(tree.map(lambda p: anp.full_like(_wide(p), initial_scale), params))

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        wide = tree.map(_wide, updates)
        nu = tree.map(lambda g, v: (g * g) * (1 - decay) + v * decay, wide, state.nu)

        def step(u: Any, g: Array, v: Array) -> Array:
            return (g / anp.sqrt(v + eps)).astype(anp.asarray(u).dtype)

        return tree.map(step, updates, wide, nu), ScaleByRmsState(nu)

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
        total = total + anp.sum(anp.square(_wide(leaf)))
    return anp.sqrt(total)


def clip_by_global_norm(max_norm: float) -> GradientTransformation:
    """Updates scaled down together, so that their global norm is at most max_norm."""

    def update(updates: Any, params: Any) -> Any:
        norm = global_norm(updates)

        def clipped(u: Any) -> Array:
            scaled = (_wide(u) / norm * max_norm).astype(anp.asarray(u).dtype)
            return anp.where(norm < max_norm, u, scaled)

        return tree.map(clipped, updates)

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
