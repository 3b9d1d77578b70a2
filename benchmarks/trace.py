"""How tracing and differentiating grow with the number of layers: seconds for each doubling, and
how many times those of half the layers; 2.0 is linear.

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


CASES: dict[str, Callable[..., Any]] = {
    "layers": given(layer),
    "their gradient": anneal.grad(given(layer)),
    "checkpointed layers": given(anneal.checkpoint(layer)),
    "their gradient, checkpointed": anneal.grad(given(anneal.checkpoint(layer))),
    "activations captured": anneal.grad(captured),
}


def seconds(function: Callable[..., Any], count: int) -> float:
    """The best of three traces."""
    weights = [np.ones((8, 8), np.float32) for _ in range(count)]
    x = np.ones((4, 8), np.float32)
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        _ = anneal.jit(function).lower(weights, x).graph
        best = min(best, time.perf_counter() - start)
    return best


def main() -> None:
    print(f"{'layers':29s}" + "".join(f"{n:>15d}" for n in SIZES))
    with anneal.default_device("interpreter"):
        for name, function in CASES.items():
            line, before = f"{name:29s}", 0.0
            for count in SIZES:
                found = seconds(function, count)
                growth = f"x{found / before:4.1f}" if before else "     "
                line += f"{found:8.3f} s{growth}"
                before = found
            print(line, flush=True)


if __name__ == "__main__":
    main()
