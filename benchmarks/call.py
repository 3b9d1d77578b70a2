"""What a jitted call costs in Python, above the device's own cost: µs, the best of five.

`python benchmarks/call.py`. Encoding and submitting are left out: they are the device's.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

import anneal
from anneal.wgsl import device as webgpu


def microseconds(call: Callable[[], Any], times: int = 1000) -> float:
    call()
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(times):
            call()
        best = min(best, (time.perf_counter() - start) / times * 1e6)
    return best


def _nothing(self: webgpu.Loaded, buffers: list[Any], log: list[Any]) -> None:
    log.append(None)


def above_the_device(call: Callable[[], Any]) -> tuple[float, float]:
    """µs of a call, and of what of it is not encoding and submitting."""
    whole = microseconds(call)
    submit, webgpu.Loaded._submit = webgpu.Loaded._submit, _nothing  # type: ignore[method-assign]
    try:
        return whole, microseconds(call)
    finally:
        webgpu.Loaded._submit = submit  # type: ignore[method-assign]


def main() -> None:
    with anneal.default_device("webgpu"):
        place = anneal.jit(lambda x: x + 1)
        for n in (4, 100):
            arrays = [place(np.full(4, i, np.float32)) for i in range(n)]
            total = anneal.jit(lambda xs: sum(xs[1:], xs[0]))
            whole, python = above_the_device(lambda f=total, xs=arrays: f(xs))  # type: ignore[misc]
            print(f"{n:4d} arrays: {whole:6.1f} µs a call, {python:5.1f} above the device")
        update = anneal.jit(lambda xs: [x * 0.5 for x in xs], donate_argnums=0)
        state = [arrays]

        def step() -> None:
            state[0] = update(state[0])

        whole, python = above_the_device(step)
        print(f" 100 updated: {whole:5.1f} µs a call, {python:5.1f} above the device")


if __name__ == "__main__":
    main()
