"""Optimizers in optax's form: `init(params) -> state`, `update(grads, state, params)`."""

from anneal.optim.optimizers import GradientTransformation, adam, apply_updates, momentum, sgd

__all__ = ["GradientTransformation", "adam", "apply_updates", "momentum", "sgd"]
