"""The same work by anneal and by others, in turns: milliseconds, and the others' time over ours.

`python -m benchmarks.peers [--ours cpu] [--others jax torch numpy] [--python PATH] [NAME ...]`

Each library runs in a process of its own, which sleeps while another is timed: workers that spin
after a call would take half of the machine from who comes next. `--python`: an interpreter that has
the others. A time is the median of rounds of the best call each; the first call, with tracing and
compiling, is told apart. Waiting for an Array of WebGPU reads it, which counts as our time.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

Call = Callable[[], None]
Work = dict[str, tuple[Callable[..., Any], tuple[Any, ...]]]
ROUNDS, SECONDS = 7, 0.15
MLP = (784, 512, 512, 10)


def data(*shape: int) -> Any:
    seed = np.random.default_rng(sum(shape))
    return (seed.standard_normal(shape) * (0.05 if len(shape) == 2 else 1)).astype(np.float32)


def layers() -> list[Any]:
    return [data(a, b) for a, b in zip(MLP, MLP[1:], strict=False)]


LABELS = np.arange(128, dtype=np.int32) % 10


# -- the work, as those with NumPy's names write it ------------------------------------------------


def like_numpy(xp: Any, nn: Any, value_and_grad: Any) -> Work:
    def layernorm(x: Any) -> Any:
        centred = x - x.mean(-1, keepdims=True)
        return centred / xp.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)

    def loss(params: Any, x: Any, y: Any) -> Any:
        a, b, c = params
        logits = nn.relu(nn.relu(x @ a) @ b) @ c
        picked = xp.take_along_axis(nn.log_softmax(logits), y[:, None], 1)
        return -picked.mean()

    def sgd(params: Any, x: Any, y: Any) -> Any:
        value, grads = value_and_grad(loss)(params, x, y)
        return [p - 0.01 * g for p, g in zip(params, grads, strict=True)], value

    return {
        **{f"matmul {n}": (lambda a, b: a @ b, (data(n, n), data(n, n)))
           for n in (512, 1000, 1024, 2048)},
        "matmul transposed 1024": (lambda a, b: a.T @ b, (data(1024, 1024), data(1024, 1024))),
        "matmul thin 8x4096x4096": (lambda a, b: a @ b, (data(8, 4096), data(4096, 4096))),
        "gelu chain 4M": (lambda x, y, z: nn.gelu(x) * y + z, (data(1 << 22),) * 3),
        "softmax 4096x1024": (lambda x: nn.softmax(x), (data(4096, 1024),)),
        "layernorm 4096x1024": (layernorm, (data(4096, 1024),)),
        "sum 16M": (lambda x: x.sum(), (data(1 << 24),)),
        "MLP step": (sgd, (layers(), data(128, 784), LABELS)),
        "tiny call": (lambda x: x + 1, (data(4),)),
    }  # fmt: skip


def anneal(device: str) -> Callable[[str], Call]:
    import anneal
    import anneal.numpy as anp
    from anneal import nn

    anneal.default_device(device)
    work = like_numpy(anp, nn, anneal.value_and_grad)

    def make(name: str) -> Call:
        f, args = work[name]
        jitted, held = anneal.jit(f), anneal.tree.map(anp.asarray, args)

        def call() -> None:
            for leaf in anneal.tree.leaves(jitted(*held)):
                leaf.block_until_ready()

        return call

    return make


def jax(device: str) -> Callable[[str], Call]:
    import jax

    work = like_numpy(jax.numpy, jax.nn, jax.value_and_grad)

    def make(name: str) -> Call:
        f, args = work[name]
        jitted, held = jax.jit(f), jax.tree.map(jax.numpy.asarray, args)

        def call() -> None:
            jax.block_until_ready(jitted(*held))

        return call

    return make


def numpy(device: str) -> Callable[[str], Call]:
    def make(name: str) -> Call:
        f, args = like_numpy(np, None, None)[name]
        return lambda: f(*args)

    return make


def torch(device: str) -> Callable[[str], Call]:
    import torch
    from torch.nn import functional

    torch.set_num_threads(2)

    def sgd(params: Any, x: Any, y: Any) -> None:
        a, b, c = params
        hidden = functional.relu(functional.relu(x @ a) @ b)
        functional.cross_entropy(hidden @ c, y).backward()
        with torch.no_grad():
            for p in params:
                p -= 0.01 * p.grad
                p.grad = None

    work: Work = {
        **{f"matmul {n}": (torch.matmul, (data(n, n), data(n, n)))
           for n in (512, 1000, 1024, 2048)},
        "matmul transposed 1024": (lambda a, b: a.T @ b, (data(1024, 1024), data(1024, 1024))),
        "matmul thin 8x4096x4096": (torch.matmul, (data(8, 4096), data(4096, 4096))),
        "gelu chain 4M": (lambda x, y, z: functional.gelu(x, approximate="tanh") * y + z,
                          (data(1 << 22),) * 3),
        "softmax 4096x1024": (lambda x: functional.softmax(x, -1), (data(4096, 1024),)),
        "layernorm 4096x1024": (lambda x: functional.layer_norm(x, (1024,)), (data(4096, 1024),)),
        "sum 16M": (lambda x: x.sum(), (data(1 << 24),)),
        "tiny call": (lambda x: x + 1, (data(4),)),
    }  # fmt: skip

    def make(name: str) -> Call:
        if name == "MLP step":
            params = [torch.from_numpy(w).requires_grad_() for w in layers()]
            x, y = torch.from_numpy(data(128, 784)), torch.from_numpy(LABELS).long()
            return lambda: sgd(params, x, y)
        f, args = work[name]
        held = [torch.from_numpy(a) for a in args]
        return lambda: f(*held)

    return make


def tinygrad(device: str) -> Callable[[str], Call]:
    from tinygrad import Device, Tensor, TinyJit

    Device.DEFAULT = device.upper()
    work: Work = {
        **{f"matmul {n}": (lambda a, b: a @ b, (data(n, n), data(n, n)))
           for n in (512, 1000, 1024, 2048)},
        "matmul transposed 1024": (lambda a, b: a.T @ b, (data(1024, 1024), data(1024, 1024))),
        "matmul thin 8x4096x4096": (lambda a, b: a @ b, (data(8, 4096), data(4096, 4096))),
        "gelu chain 4M": (lambda x, y, z: x.gelu() * y + z, (data(1 << 22),) * 3),
        "softmax 4096x1024": (lambda x: x.softmax(-1), (data(4096, 1024),)),
        "layernorm 4096x1024": (lambda x: x.layernorm(), (data(4096, 1024),)),
        "sum 16M": (lambda x: x.sum(), (data(1 << 24),)),
        "tiny call": (lambda x: x + 1, (data(4),)),
    }

    def make(name: str) -> Call:
        f, args = work[name]
        held = [Tensor(a).realize() for a in args]
        jitted = TinyJit(lambda *x: f(*x).realize())

        def call() -> None:
            jitted(*held)
            Device[Device.DEFAULT].synchronize()

        for _ in range(2):
            call()  # the third call is the captured one
        return call

    return make


LIBRARIES = {f.__name__: f for f in (anneal, jax, torch, numpy, tinygrad)}


# -- in turns --------------------------------------------------------------------------------------


def serve(library: str, device: str) -> None:
    """Reads `make NAME` and `run`, answers with seconds, or what is wrong."""
    make = LIBRARIES[library](device)
    call: Call = lambda: None  # noqa: E731
    for line in sys.stdin:
        what, _, name = line.strip().partition(" ")
        start = time.perf_counter()
        try:
            if what == "make":
                call = make(name)
                call()
                print(time.perf_counter() - start, flush=True)
                continue
            best = float("inf")
            while time.perf_counter() - start < SECONDS:
                before = time.perf_counter()
                call()
                best = min(best, time.perf_counter() - before)
            print(best, flush=True)
        except Exception as e:  # noqa: BLE001  (said in the table)
            print(f"- {type(e).__name__}", flush=True)


class Peer:
    """A library in a process of its own."""

    def __init__(self, python: str, library: str, device: str) -> None:
        self.name = library
        self.process = subprocess.Popen(
            [python, "-m", "benchmarks.peers", "--serve", library, "--device", device],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip

    def ask(self, line: str) -> float | None:
        """Seconds; None where it cannot."""
        assert self.process.stdin
        assert self.process.stdout
        try:
            self.process.stdin.write(line + "\n")
            self.process.stdin.flush()
            return float(self.process.stdout.readline())
        except (ValueError, BrokenPipeError):
            return None


def compare(peers: list[Peer], name: str) -> str:
    """A line of the table: ours first."""
    compiled = [p.ask(f"make {name}") for p in peers]
    times: list[list[float]] = [[] for _ in peers]
    for _ in range(ROUNDS):
        for n, p in enumerate(peers):
            seconds = p.ask("run") if compiled[n] is not None else None
            times[n] += [seconds] if seconds is not None else []
    middle = [statistics.median(t) if t else None for t in times]
    cells = [f"{name:26}"]
    for n, (first, seconds) in enumerate(zip(compiled, middle, strict=True)):
        if seconds is None or first is None:
            cells.append(f"{'-':>26}")
            continue
        ratio = f"{seconds / middle[0]:6.2f}x" if n and middle[0] else " " * 7
        cells.append(f"{seconds * 1e3:9.3f} {ratio} {first:7.2f}s")
    return " ".join(cells)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help="beginnings of the work's names; all without")
    parser.add_argument("--ours", default="cpu", help="our device: cpu or webgpu")
    parser.add_argument("--others", nargs="*", default=["jax", "torch", "numpy"],
                        help="of jax, torch, numpy, tinygrad")
    parser.add_argument("--python", default=sys.executable, help="the others' interpreter")
    parser.add_argument("--tinygrad", default="cpu", help="its device: cpu, llvm or webgpu")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cpu", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        return serve(given.serve, given.device)
    names = [n for n in NAMES if not given.names or any(map(n.startswith, given.names))]
    peers = [Peer(sys.executable, "anneal", given.ours)]
    peers += [Peer(given.python, o, given.tinygrad if o == "tinygrad" else "cpu")
              for o in given.others]  # fmt: skip
    print(" ".join([f"{'ms, over ours, first call':26}", *[f"{p.name:>26}" for p in peers]]))
    for name in names:
        print(compare(peers, name), flush=True)
    for p in peers:
        p.process.kill()
    return None


NAMES = ("matmul 512", "matmul 1000", "matmul 1024", "matmul 2048", "matmul transposed 1024",
         "matmul thin 8x4096x4096", "gelu chain 4M", "softmax 4096x1024", "layernorm 4096x1024",
         "sum 16M", "MLP step", "tiny call")


if __name__ == "__main__":
    main()
