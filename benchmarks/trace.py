"""How tracing and differentiating, and then lowering, grow with the number of layers: seconds for
each doubling, and how many times those of half the layers; 2.0 is linear.

`python -m benchmarks.trace`, from the project's root.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import anneal
import anneal.numpy as anp

SIZES = (32, 64, 128, 256)


def layer(w: Any, x: Any) -> Any:
    return x + anp.tanh(anp.tanh(x @ w) @ w)


def given(layer: Callable[..., Any]) -> Callable[..., Any]:
    def loss(weights: list[Any], x: Any) -> Any:
        for w in weights:
            x = layer(w, x)
        return x.sum()

    return loss


def closed(x: Any) -> Callable[..., Any]:
    return lambda w: layer(w, x)


def captured(weights: list[Any], x: Any) -> Any:
    for w in weights:
        x = anneal.checkpoint(closed(x))(w)
    return x.sum()


# Makers: who has traced a function before finds it traced.
CASES: dict[str, Callable[[], Callable[..., Any]]] = {
    "layers": lambda: given(layer),
    "their gradient": lambda: anneal.grad(given(layer)),
    "checkpointed layers": lambda: given(anneal.checkpoint(layer)),
    "their gradient, checkpointed": lambda: anneal.grad(given(anneal.checkpoint(layer))),
    "activations captured": lambda: anneal.grad(captured),
    "jitted layers": lambda: given(anneal.jit(layer)),
    "their gradient, jitted": lambda: anneal.grad(given(anneal.jit(layer))),
}


def seconds(make: Callable[[], Callable[..., Any]], count: int, kernels: bool) -> float:
    """The best of three traces; with `kernels` lowered, too."""
    weights = [np.ones((8, 8), np.float32) for _ in range(count)]
    x = np.ones((4, 8), np.float32)
    best = float("inf")
    for _ in range(3):
        function = make()
        start = time.perf_counter()
        lowered = anneal.jit(function).lower(weights, x)
        _ = lowered.kernels if kernels else lowered.graph.key()
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    with anneal.default_device("cpu"):
        for what, kernels in (("traced", False), ("lowered for the CPU", True)):
            print(f"{what:29s}" + "".join(f"{n:>15d}" for n in SIZES))
            for name, make in CASES.items():
                line, before = f"{name:29s}", 0.0
                for count in SIZES:
                    found = seconds(make, count, kernels)
                    growth = f"x{found / before:4.1f}" if before else "     "
                    line += f"{found:8.3f} s{growth}"
                    before = found
                print(line, flush=True)


if __name__ == "__main__":
    main()
