"""Records jax.nn's activations: `python record_jax_nn.py` in an environment with JAX writes
jax_nn.npz beside this file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

os.environ["JAX_PLATFORMS"] = "cpu"

NAMES = ("relu", "relu6", "leaky_relu", "elu", "selu", "softplus", "log_sigmoid", "silu",
         "soft_sign", "hard_tanh", "hard_sigmoid", "sigmoid", "gelu", "softmax", "log_softmax",
         "glu", "standardize", "logsumexp")  # fmt: skip
X = np.array([[-30.0, -7.5, -3.0, -1.0, -0.3, -1e-4, 0.0, 1e-4], [0.2, 0.9, 1.0, 2.5, 6.0, 6.5,
              20.0, 90.0]], np.float32)  # fmt: skip


def main() -> None:
    import jax

    out = {}
    for name in NAMES:
        f = getattr(jax.nn, name)
        out[name] = np.asarray(f(X))
        out["grad/" + name] = np.asarray(jax.grad(lambda x, f=f: (f(x) ** 2).sum())(X))
    np.savez_compressed(Path(__file__).with_name("jax_nn.npz"), **out)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
