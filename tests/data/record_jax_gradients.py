"""Records jax.numpy's gradients, at kinks, ties and ends too: `python record_jax_gradients.py` in
an environment with JAX writes jax_gradients.npz beside this file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

os.environ["JAX_PLATFORMS"] = "cpu"

X = np.array([[-3.0, -1.0, -0.5, 0.0], [0.25, 1.0, 1.0, 4.0]], np.float32)
POSITIVE = np.array([[0.1, 0.5, 1.0, 2.0], [3.0, 7.0, 7.0, 20.0]], np.float32)
M = np.array([[2.0, 1.0, 0.5, -1.0], [0.0, 3.0, -2.0, 1.5]], np.float32)

CASES: dict[str, tuple[Callable[..., Any], Any]] = {
    **{n: (lambda p, x, n=n: getattr(p, n)(x), X) for n in (
        "abs", "exp", "expm1", "sin", "cos", "tanh", "floor", "ceil", "round", "square", "sign",
        "sinh", "cosh", "tan", "cumsum", "cumprod", "sort", "ravel", "transpose", "diff",
        "triu", "negative", "prod", "max", "min", "mean", "var", "std", "sum", "ptp")},
    **{n: (lambda p, x, n=n: getattr(p, n)(x), POSITIVE) for n in (
        "log", "log1p", "sqrt", "log2", "reciprocal", "exp2", "log10")},
    "power 2": (lambda p, x: x**2, X), "power 5": (lambda p, x: x**5, X),
    "power 0": (lambda p, x: x**0, X), "power -1": (lambda p, x: x**-1, POSITIVE),
    "power 2.5": (lambda p, x: p.power(x, 2.5), POSITIVE),
    "power of 3": (lambda p, x: p.power(3.0, x), X),
    "power both": (lambda p, x: p.power(x, x), POSITIVE),
    "maximum": (lambda p, x: p.maximum(x, 0.0), X), "minimum": (lambda p, x: p.minimum(x, 1.0), X),
    "maximum of itself": (lambda p, x: p.maximum(x, x * 1.0), X),
    "clip": (lambda p, x: p.clip(x, -0.6, 2.0), X),
    "where": (lambda p, x: p.where(x > 0, x * x, -x), X),
    "max rows": (lambda p, x: p.max(x, 1), X), "min columns": (lambda p, x: p.min(x, 0), X),
    "std rows": (lambda p, x: p.std(x, 1, ddof=1), X),
    "matmul": (lambda p, x: x @ p.asarray(M).T, X), "outer": (lambda p, x: p.outer(x, x), X),
    "einsum": (lambda p, x: p.einsum("ij,kj->ik", x, x), X),
    "hypot": (lambda p, x: p.hypot(x, M), POSITIVE),
    "logaddexp": (lambda p, x: p.logaddexp(x, M), X),
    "remainder": (lambda p, x: p.remainder(x, 1.5), X + 0.1),
    "divide": (lambda p, x: M / x, POSITIVE),
    "pad": (lambda p, x: p.pad(x, 1, mode="edge"), X), "roll": (lambda p, x: p.roll(x, 3), X),
    "concatenate": (lambda p, x: p.concatenate([x, x[:1]], 0), X),
    "repeat": (lambda p, x: p.repeat(x, 3, 1), X), "tile": (lambda p, x: p.tile(x, (2, 2)), X),
    "index": (lambda p, x: x[p.asarray([0, 1, 1]), p.asarray([3, 0, 0])], X),
    "slices": (lambda p, x: x[::-1, 1::2], X),
    "at add": (lambda p, x: x.at[0, 1:3].add(x[1, 1:3]), X),
    "at set": (lambda p, x: x.at[:, p.asarray([0, 2])].set(x[:, 1:3]), X),
    "take_along_axis": (lambda p, x: p.take_along_axis(x, p.asarray([[1], [1]]), 1), X),
    "diagonal": (lambda p, x: p.diagonal(x, 1), X), "astype": (lambda p, x: x.astype(int), X),
}  # fmt: skip


def gradient(p: Any, grad: Any, name: str) -> np.ndarray:
    """Of the sum of f(x) times 1, 2, 3, ..."""
    f, x = CASES[name]

    def weighted(v: Any) -> Any:
        out = f(p, v)
        return (out * p.arange(1.0, out.size + 1.0).reshape(out.shape)).sum()

    return np.asarray(grad(weighted)(p.asarray(x)))


def main() -> None:
    import jax
    import jax.numpy as jnp

    out = {name: gradient(jnp, jax.grad, name) for name in CASES}
    path = Path(__file__).with_name("jax_gradients.npz")
    np.savez_compressed(path, **out)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
