"""Optimizers in optax's form: `init(params) -> state`, `update(grads, state, params)`."""

from anneal.optim.optimizers import adam, adamw, momentum, rmsprop, sgd
from anneal.optim.schedules import (
    constant_schedule,
    cosine_decay_schedule,
    exponential_decay,
    linear_schedule,
    warmup_cosine_decay_schedule,
)
from anneal.optim.transformations import (
    GradientTransformation,
    add_decayed_weights,
    apply_updates,
    chain,
    clip,
    clip_by_global_norm,
    global_norm,
    identity,
    scale,
    scale_by_adam,
    scale_by_learning_rate,
    scale_by_rms,
    scale_by_schedule,
    trace,
)

__all__ = [
    "GradientTransformation", "adam", "adamw", "add_decayed_weights", "apply_updates", "chain",
    "clip", "clip_by_global_norm", "constant_schedule", "cosine_decay_schedule",
    "exponential_decay", "global_norm", "identity", "linear_schedule", "momentum", "rmsprop",
    "scale", "scale_by_adam", "scale_by_learning_rate", "scale_by_rms", "scale_by_schedule", "sgd",
    "trace", "warmup_cosine_decay_schedule",
]  # fmt: skip
