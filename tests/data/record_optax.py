"""Records what optax does: `python record_optax.py` in an environment with JAX and optax writes
optax.npz beside this file. tests/optim compares anneal.optim with it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

os.environ["JAX_PLATFORMS"] = "cpu"

OPTIMIZERS = {
    "sgd": lambda o: o.sgd(0.1),
    "momentum": lambda o: o.sgd(0.1, 0.9),
    "nesterov": lambda o: o.sgd(0.1, momentum=0.8, nesterov=True),
    "adam": lambda o: o.adam(0.05),
    "adam options": lambda o: o.adam(0.05, b1=0.8, b2=0.9, eps=1e-3, eps_root=1e-4),
    "adamw": lambda o: o.adamw(0.05, weight_decay=0.1),
    "rmsprop": lambda o: o.rmsprop(0.01),
    "clipped": lambda o: o.chain(o.clip_by_global_norm(0.5), o.sgd(0.3)),
    "clip": lambda o: o.chain(o.clip(0.3), o.sgd(0.3)),
    "cosine": lambda o: o.adam(o.cosine_decay_schedule(0.1, 6, 0.1)),
    "warmup": lambda o: o.sgd(o.warmup_cosine_decay_schedule(0.01, 0.2, 3, 8, 0.02)),
    "exponential": lambda o: o.sgd(o.exponential_decay(0.2, 2, 0.5)),
    "linear": lambda o: o.sgd(o.linear_schedule(0.2, 0.1, 4)),
}  # fmt: skip


def descend(optim: Any, grad: Any, array: Any, name: str) -> list[np.ndarray]:
    """Ten steps down a valley; both parameters after every step, side by side."""
    optimizer = OPTIMIZERS[name](optim)
    params = {"w": array([1.0, -2.0, 0.5]), "b": array(3.0)}

    def loss(p: Any) -> Any:
        return (p["w"] ** 2 * array([1.0, 3.0, 0.1])).sum() + (p["b"] - p["w"][0]) ** 2

    state, out = optimizer.init(params), []
    for _ in range(10):
        updates, state = optimizer.update(grad(loss)(params), state, params)
        params = optim.apply_updates(params, updates)
        out.append(np.append(np.asarray(params["w"]), np.asarray(params["b"])))
    return out


def main() -> None:
    import jax
    import jax.numpy as jnp
    import optax

    out = {name: descend(optax, jax.grad, jnp.asarray, name) for name in OPTIMIZERS}
    np.savez_compressed(Path(__file__).with_name("optax.npz"), **out)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
