"""What compiling costs before the driver's part: tracing, scheduling, rendering. Seconds, each in a
process of its own, the best of three; from disk, plans that another process stored. Then how the
time to lower grows with the size of a program: where twice the size takes much more than twice as
long, something is not linear.

`python -m benchmarks.compile`, from the project's root; with `growth`, only that.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import anneal
import anneal.numpy as anp
from anneal import device
from anneal.lowering import cache
from anneal.lowering.limits import Limits
from anneal.lowering.plan import lower
from tests import programs


def gpt(layers: int) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    params = programs.gpt_params(layers, 128, 64, 96)
    tokens = programs.labels(96, 8, 64)
    args = (params, programs.adam_state(params), tokens, programs.labels(96, 8, 64))
    return programs.adam_step(programs.gpt_loss), args


def chain(length: int) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    def f(x: Any) -> Any:
        for _ in range(length // 2):
            x = anp.sin(x) + 0.5
        return x

    return f, (np.ones(1000, np.float32),)


CASES: dict[str, Callable[[], Any]] = {
    "GPT, 4 layers, Adam step": lambda: gpt(4),
    "GPT, 8 layers, Adam step": lambda: gpt(8),
    "5,000 elementwise operations": lambda: chain(5000),
}


def parameters(count: int) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """An Adam step of parameters of different shapes."""
    params = {f"p{i}": np.zeros((i % 37 + 2, i + 3), np.float32) for i in range(count)}

    def loss(params: Any, x: Any) -> Any:
        return sum((v * x).sum() for v in params.values())

    return programs.adam_step(loss), (params, programs.adam_state(params), np.float32(1.5))


GROWING: dict[str, tuple[Callable[[int], Any], tuple[int, ...]]] = {
    "parameters, a donated Adam step": (parameters, (100, 200, 400, 800)),
    "elementwise operations": (chain, (2500, 5000, 10000)),
}


def growth() -> None:
    """Prints seconds to lower, of processor time, and how they grew since half the size."""
    for name, (program, sizes) in GROWING.items():
        before: float | None = None
        for size in sizes:
            function, args = program(size)
            with anneal.default_device("webgpu"):
                graph = anneal.jit(function).lower(*args).graph
            donate = frozenset(range(len(graph.inputs) - 1))
            start = time.process_time()
            lower(graph, Limits(32), donate)
            seconds = time.process_time() - start
            grown = f" ({seconds / before:.1f} times)" if before else ""
            print(f"{size:6d} {name}: {seconds:5.2f} s{grown}")
            before = seconds


def measure(name: str) -> dict[str, float]:
    """In this process: seconds to a plan, stored on disk where a folder is given."""
    function, args = CASES[name]()
    with anneal.default_device("webgpu"):
        anneal.jit(lambda x: x + 1).lower(np.ones(3, np.float32)).plan  # noqa: B018  (imports)
        start = time.perf_counter()
        lowered = anneal.jit(function).lower(*args)
        traced = time.perf_counter() - start
        limits = device.limits()
        key = cache.key_of(lowered.graph, limits, [])
        plan = cache.load(lowered.graph, key)
        if plan is None:
            plan = lowered.plan
            cache.store(key, plan)
        seconds = time.perf_counter() - start
    kernels = [launch.kernel for launch in plan.launches]
    return {"trace": traced, "seconds": seconds, "kernels": len(kernels),
            "distinct": len({k.source for k in kernels})}  # fmt: skip


def fresh(name: str, folder: str) -> dict[str, float]:
    environment = {**os.environ, "ANNEAL_CACHE_DIR": folder}
    command = [sys.executable, "-m", "benchmarks.compile", name]
    texts = [subprocess.check_output(command, env=environment) for _ in range(3)]
    found: list[dict[str, float]] = [json.loads(text) for text in texts]
    return min(found, key=lambda f: f["seconds"])


def main() -> None:
    if sys.argv[1:] == ["growth"]:
        growth()
        return
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1])))
        return
    first: float | None = None
    for name in CASES:
        cold = fresh(name, "")
        with tempfile.TemporaryDirectory() as folder:
            warm = fresh(name, folder)
        first = first or cold["seconds"]
        print(f"{name:29s} cold {cold['seconds']:5.2f} s ({cold['seconds'] / first:4.2f}; tracing "
              f"{cold['trace']:4.2f}), from disk {warm['seconds']:5.2f} s; {cold['kernels']} "
              f"kernels, {cold['distinct']} distinct")  # fmt: skip
    growth()


if __name__ == "__main__":
    main()
