"""Learning rates as functions of the step count, which is a Python number or a traced int32."""

from __future__ import annotations

import math
from typing import Any

import anneal.numpy as anp
from anneal.optim.transformations import Schedule


def constant_schedule(value: float) -> Schedule:
    """The same at every step."""
    return lambda count: value


def _steps(count: Any) -> Any:
    return anp.asarray(count).astype("float32")


def linear_schedule(init_value: float, end_value: float, transition_steps: int) -> Schedule:
    """From init_value to end_value in a straight line, then end_value.

    >>> linear_schedule(0.0, 1.0, 4)(1).item()
    0.25
    """
    if transition_steps <= 0:
        raise ValueError(f"linear_schedule: transition_steps must be positive, got "
                         f"{transition_steps}")  # fmt: skip

    def schedule(count: Any) -> Any:
        left = 1.0 - anp.clip(_steps(count), 0, transition_steps) / transition_steps
        return left * (init_value - end_value) + end_value

    return schedule


def exponential_decay(init_value: float, transition_steps: int, decay_rate: float) -> Schedule:
    """init_value * decay_rate ** (count / transition_steps)."""
    if transition_steps <= 0:
        raise ValueError(f"exponential_decay: transition_steps must be positive, got "
                         f"{transition_steps}")  # fmt: skip
    return lambda count: anp.power(decay_rate, _steps(count) / transition_steps) * init_value


def cosine_decay_schedule(init_value: float, decay_steps: int, alpha: float = 0.0) -> Schedule:
    """Half a cosine from init_value to alpha * init_value (I. Loshchilov, F. Hutter, 2016)."""
    if decay_steps <= 0:
        raise ValueError(f"cosine_decay_schedule: decay_steps must be positive, got {decay_steps}")

    def schedule(count: Any) -> Any:
        done = anp.minimum(_steps(count), decay_steps)
        wave = 0.5 * (1.0 + anp.cos(math.pi * done / decay_steps))
        return init_value * ((1.0 - alpha) * wave + alpha)

    return schedule


def warmup_cosine_decay_schedule(init_value: float, peak_value: float, warmup_steps: int,
                                 decay_steps: int, end_value: float = 0.0) -> Schedule:
    """A line up to peak_value in warmup_steps, then half a cosine to end_value at decay_steps."""
    rise = linear_schedule(init_value, peak_value, warmup_steps)
    alpha = end_value / peak_value if peak_value else 0.0
    fall = cosine_decay_schedule(peak_value, decay_steps - warmup_steps, alpha)

    def schedule(count: Any) -> Any:
        n = _steps(count)
        return anp.where(n < warmup_steps, rise(n), fall(n - warmup_steps))

    return schedule
